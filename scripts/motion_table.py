#!/usr/bin/env python3
"""The table of a study of motion: motion_table.py FOLDER, as motion_study.sh left it.

Means and standard deviations over folds and seeds of the test scores; beside each method its control,
whose labels were dealt anew within every fold, and the difference of the two accuracies in standard
deviations of the control. Below it, what so many trajectories can show: with every trajectory tested
once, the accuracy of a coin has the deviation 1 / (2 sqrt(n)), so that a method which names the class of
a share p of all trajectories is told from it, by three deviations and in nine studies of ten, from
n = ((3/2 + 1.28 sqrt(p (1 - p))) / (p - 1/2))^2 trajectories on."""

import csv
import math
import pathlib
import statistics
import sys

DEVIATIONS, POWER = 3.0, statistics.NormalDist().inv_cdf(0.9)


def needed(p):
    """Trajectories from which an accuracy of p is told from that of a coin."""
    return ((DEVIATIONS / 2 + POWER * math.sqrt(p * (1 - p))) / (p - 0.5)) ** 2


def seen(n):
    """The least accuracy that n trajectories tell from that of a coin."""
    low, high = 0.5, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if needed(middle) > n else (low, middle)
    return high


def spread(rows, score):
    values = [float(row[score]) for row in rows]
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else math.nan


def shown(rows, score):
    return "{:.3f} ± {:.3f}".format(*spread(rows, score))


def line(cells):
    return "| " + " | ".join(cells) + " |"


def read(path):
    """The finished runs of a sweep; none where it was not begun."""
    return list(csv.DictReader(path.open())) if path.exists() else []


def comparisons(folder, features):
    """Name, runs, and runs of the control of every method."""
    runs = read(folder / f"{features}-methods/results.csv")
    for method in dict.fromkeys(row["model.method"] for row in runs):
        own = [row for row in runs if row["model.method"] == method]
        true, dealt = ([r for r in own if r["data.shuffle_labels"] == s] for s in ("false", "true"))
        yield f"`{method}`", true, dealt
    runs = read(folder / f"{features}-beads/results.csv")
    for beads in dict.fromkeys(row["model.coarse_graining"] for row in runs):
        yield f"`deep-signature`, beads `{beads}`", [r for r in runs if r["model.coarse_graining"] == beads], []


def table(folder):
    yield line(["features", "method", "accuracy", "F1", "AUROC", "runs", "accuracy, labels dealt", "difference"])
    yield "|---" * 8 + "|"
    for features in ("holographic", "coordinates"):
        for name, true, dealt in comparisons(folder, features):
            if not true:
                continue
            control = difference = ""
            if dealt:
                control = shown(dealt, "test.accuracy")
                (mean, _), (chance, deviation) = spread(true, "test.accuracy"), spread(dealt, "test.accuracy")
                difference = f"{(mean - chance) / deviation:+.1f}" if deviation > 0 else ""
            scores = [shown(true, f"test.{s}") for s in ("accuracy", "f1", "auroc")]
            yield line([features, name, *scores, str(len(true)), control, difference])


def main():
    if len(sys.argv) != 2:
        sys.exit("motion_table.py FOLDER, of motion_study.sh")
    folder = pathlib.Path(sys.argv[1])
    lines = list(table(folder))
    if len(lines) == 2:
        sys.exit(f"{folder}: no finished runs; scripts/motion_study.sh makes them")
    print("\n".join(lines))
    with (folder / "ensemble/manifest.csv").open() as manifest:
        n = sum(1 for _ in csv.DictReader(manifest))
    print(f"\n{n} trajectories tell an accuracy from {seen(n):.2f} on from chance; accuracies need")
    print(", ".join(f"{p:.2f}: {math.ceil(needed(p))}" for p in (0.55, 0.6, 0.65, 0.7, 0.8)), "trajectories.")


if __name__ == "__main__":
    main()
