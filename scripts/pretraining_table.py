#!/usr/bin/env python3
"""Errors after pretraining beside those without, as Markdown: scripts/pretraining.sh table.

A gain is beyond noise where the difference of the means is more than twice its standard error over
the seeds."""

import json
import math
import sys
from pathlib import Path


def points(folder):
    """Scores of each task: name -> (mean, deviation, runs), of mean absolute errors on the test."""
    found = {}
    for file in sorted(folder.glob("*/results.json")):
        results = json.loads(file.read_text())
        for point in results["points"]:
            task = " ".join([file.parent.name, *point["settings"]])
            for name, score in point["scores"].items():
                if name.startswith("test.") and name.endswith(".mae"):
                    what = f"{task} {name.split('.')[1]}" if "forces" in name else task
                    found[what] = (score["mean"], score["deviation"], score["runs"])
    return found


def gain(own, none):
    """In percent of the error without pretraining, with a word on noise."""
    (mean, deviation, runs), (mean0, deviation0, runs0) = own, none
    change = 100 * (mean0 - mean) / mean0
    if deviation is None or deviation0 is None:
        return f"{change:+.1f} % (one seed)"
    error = math.sqrt(deviation**2 / runs + deviation0**2 / runs0)
    beyond = "" if abs(mean0 - mean) > 2 * error else " (noise)"
    return f"{change:+.1f} %{beyond}"


def number(score):
    mean, deviation, _ = score
    return f"{mean:.4g}" if deviation is None else f"{mean:.4g} ± {deviation:.2g}"


def main(out):
    for network in sorted(p for p in Path(out).iterdir() if p.is_dir()):
        none = points(network / "none") if (network / "none").is_dir() else {}
        others = {p.name: points(p) for p in sorted(network.iterdir()) if p.is_dir() and p.name != "none"}
        tasks = sorted(set(none).union(*others.values()))
        print(f"\n## {network.name}\n")
        print("| task | none | " + " | ".join(others) + " |")
        print("|---|---|" + "---|" * len(others))
        for task in tasks:
            cells = [task, number(none[task]) if task in none else ""]
            for scores in others.values():
                own = scores.get(task)
                if own is None:
                    cells.append("")
                elif task in none:
                    cells.append(f"{number(own)}; {gain(own, none[task])}")
                else:
                    cells.append(number(own))
            print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: pretraining_table.py FOLDER")
    main(sys.argv[1])
