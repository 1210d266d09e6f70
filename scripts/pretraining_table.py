#!/usr/bin/env python3
"""What pretraining is worth, as Markdown: scripts/pretraining.sh table.

The first row has mean absolute errors on the test without pretraining, with their deviation over the
seeds; the others what an objective gains against them, in percent, with the standard error of the
difference. A gain or loss of more than three of these is in bold: with three seeds each, chance alone
does so in one cell of 25 (Student's t, four degrees of freedom)."""

import json
import math
import sys
from pathlib import Path

BEYOND = 3


def points(folder):
    """Scores of each task: name -> (mean, deviation, runs), of mean absolute errors on the test."""
    found = {}
    for file in sorted(folder.glob("*/results.json")):
        results = json.loads(file.read_text())
        for point in results["points"]:
            setting = [word.removeprefix("data.target=") for word in point["settings"]]
            task = " ".join([file.parent.name, *setting])
            for name, score in point["scores"].items():
                if name.startswith("test.") and name.endswith(".mae"):
                    what = name.split(".")[1]
                    name = task if what in setting else f"{task} {what}"
                    found[name] = (score["mean"], score["deviation"], score["runs"])
    return found


def seconds(folder):
    """Time that pretraining took, or None."""
    file = folder / "pretrain" / "metrics.jsonl"
    if not file.exists():
        return None
    times, begun = 0.0, None
    for line in file.read_text().splitlines():
        record = json.loads(line)
        if record["event"] == "start":
            begun = record["time"]
        # A run that was stopped began again.
        elif record["event"] == "end":
            times += record["time"] - begun
    return times


def gain(own, none):
    """In percent of the error without pretraining."""
    (mean, deviation, runs), (mean0, deviation0, runs0) = own, none
    change = 100 * (mean0 - mean) / mean0
    if deviation is None or deviation0 is None:
        return f"{change:+.1f} (one seed)"
    error = 100 * math.sqrt(deviation**2 / runs + deviation0**2 / runs0) / mean0
    text = f"{change:+.1f} ± {error:.1f}"
    return f"**{text}**" if abs(change) > BEYOND * error else text


def number(score):
    mean, deviation, _ = score
    return f"{mean:.3g}" if deviation is None else f"{mean:.3g} ± {deviation:.1g}"


def row(cells):
    print("| " + " | ".join(cells) + " |")


def main(out):
    for network in sorted(p for p in Path(out).iterdir() if p.is_dir()):
        folders = {p.name: p for p in sorted(network.iterdir()) if p.is_dir()}
        none = points(folders.pop("none")) if "none" in folders else {}
        others = {name: points(folder) for name, folder in folders.items()}
        tasks = sorted(set(none).union(*others.values()))
        print(f"\n**{network.name}**\n")
        row(["objective", "pretraining, s", *tasks])
        print("|---" * (2 + len(tasks)) + "|")
        row(["none", "", *(number(none[t]) if t in none else "" for t in tasks)])
        for name, scores in others.items():
            cells = []
            for task in tasks:
                known = task in scores and task in none
                cells.append(gain(scores[task], none[task]) if known else "")
            took = seconds(folders[name])
            row([name, "" if took is None else f"{took:.0f}", *cells])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: pretraining_table.py FOLDER")
    main(sys.argv[1])
