#!/usr/bin/env python3
"""Windows of trajectories, each with the future as its label: windows.py OUT.csv [OPTIONS] TRAJECTORY:TABLE...

TABLE (CSV, gzipped or not) has a row for each frame of TRAJECTORY. The label of a window is, over the
--next frames after it, the mean of --column, or with --is VALUE the share of frames in which the column
says so: the fraction of helix that comes next, or how likely the molecule is found in a basin (a quantity
like a committor, with a horizon). OUT.csv is a manifest for `holosig prepare trajectories` with
`--segments 1x1`; windows of one trajectory stay in one fold. Windows without a whole future are left out."""

import argparse
import csv
import gzip
import os
import pathlib
import sys


def column(path, name):
    """The values of a column, one for each frame."""
    with (gzip.open if path.endswith(".gz") else open)(path, "rt", newline="") as file:
        table = csv.DictReader(file)
        if name not in (table.fieldnames or []):
            sys.exit(f"{path}: no column {name!r}; it has {', '.join(table.fieldnames or [])}")
        return [row[name] for row in table]


def numbers(path, texts, value):
    """What is averaged: 1 where the column says `value` and 0 elsewhere, or numbers as they are."""
    if value is not None:
        if value not in texts:
            sys.exit(f"{path}: no frame says {value!r}; there are {', '.join(sorted(set(texts))[:8])}")
        return [float(text == value) for text in texts]
    try:
        return [float(text) for text in texts]
    except ValueError as error:
        sys.exit(f"{path}: {error}; --is VALUE counts frames of a class")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("runs", nargs="+", metavar="TRAJECTORY:TABLE")
    parser.add_argument("--topology", required=True)
    parser.add_argument("--column", required=True)
    parser.add_argument("--is", dest="value")
    parser.add_argument("--window", type=int, default=50, help="frames")
    parser.add_argument("--next", type=int, default=50, help="frames after it")
    parser.add_argument("--step", type=int, default=100, help="frames from one window to the next")
    args = parser.parse_args()
    if min(args.window, args.next, args.step) < 1:
        parser.error("--window, --next and --step must be positive")

    folder = args.out.parent
    local = lambda path: os.path.relpath(path, folder)
    rows = []
    for run in args.runs:
        trajectory, _, table = run.rpartition(":")
        if not trajectory:
            parser.error(f"{run}: TRAJECTORY:TABLE is needed")
        values = numbers(table, column(table, args.column), args.value)
        for start in range(0, len(values) - args.window - args.next + 1, args.step):
            end = start + args.window
            label = sum(values[end : end + args.next]) / args.next
            rows.append((local(trajectory), local(args.topology), f"{start}:{end}", f"{label:.4g}"))
    if not rows:
        sys.exit("no window has a whole future; choose a smaller --window or --next")
    with args.out.open("w", newline="") as file:
        csv.writer(file).writerows([("trajectory", "topology", "frames", "label"), *rows])


if __name__ == "__main__":
    main()
