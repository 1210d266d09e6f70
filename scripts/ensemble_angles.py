#!/usr/bin/env python3
"""What psi alone tells of the classes of an ensemble: ensemble_angles.py FOLDER, of ensembles.py.

For every residue, the area under the ROC curve of numbers that a trajectory has: the mean squared
step of psi from frame to frame, and how near psi is to that of a helix, in one frame and on average;
0.5 is chance, 0 and 1 are certainty. It is a yardstick that knows where to look: what a model could
learn, and which residue should decide. Needs numpy."""

import csv
import pathlib
import struct
import sys

import numpy as np

HELIX = np.radians(-40.0)


def frames(path):
    """Coordinates of a DCD file, [frames, atoms, 3] in Å."""
    data, at, records = path.read_bytes(), 0, []
    while at < len(data):
        (size,) = struct.unpack_from("<i", data, at)
        records.append(data[at + 4 : at + 4 + size])
        at += size + 8
    atoms = struct.unpack("<i", records[2])[0]
    axes = [np.frombuffer(r, "<f4") for r in records[3:] if len(r) == 4 * atoms]
    return np.array(axes, float).reshape(-1, 3, atoms).transpose(0, 2, 1)


def dihedral(a, b, c, d):
    """Radians, for points [frames, 3]."""
    axis = (c - b) / np.linalg.norm(c - b, axis=1, keepdims=True)
    before, after = a - b, d - c
    before = before - np.sum(before * axis, axis=1, keepdims=True) * axis
    return np.arctan2(np.sum(np.cross(axis, before) * after, axis=1), np.sum(before * after, axis=1))


def area(one, other):
    """How often a number of `other` is the larger one, per residue; [trajectories, residues] each."""
    return (other[None] > one[:, None]).mean((0, 1))


def main():
    if len(sys.argv) != 2:
        sys.exit("ensemble_angles.py FOLDER, of ensembles.py")
    folder = pathlib.Path(sys.argv[1])
    lines = (folder / "topology.pdb").read_text().splitlines()
    atoms = [(int(l[22:26]), l[12:16].strip()) for l in lines if l.startswith(("ATOM", "HETATM"))]
    place = {atom: i for i, atom in enumerate(atoms)}
    numbers = sorted({number for number, _ in atoms})[1:-1]
    classes = {}
    for row in csv.DictReader((folder / "manifest.csv").open()):
        x = frames(folder / row["trajectory"])
        of = lambda number, name: x[:, place[number, name]]
        psi = [dihedral(of(k, "N"), of(k, "CA"), of(k, "C"), of(k + 1, "N")) for k in numbers]
        classes.setdefault(row["label"], []).append(psi)
    if len(classes) != 2:
        sys.exit(f"{folder}: {len(classes)} labels, where two classes are needed")
    names = sorted(classes)
    one, other = (np.array(classes[name]) for name in names)
    measures = {
        "squared step": lambda psi: (np.diff(np.unwrap(psi)) ** 2).mean(2),
        "helix, first frame": lambda psi: np.cos(psi[:, :, 0] - HELIX),
        "helix, last frame": lambda psi: np.cos(psi[:, :, -1] - HELIX),
        "helix, on average": lambda psi: np.cos(psi - HELIX).mean(2),
    }
    print(f"area under the ROC curve, {names[1]} against {names[0]}, per residue")
    for name, measure in measures.items():
        print(f"{name:20}", *(f"{value:.2f}" for value in area(measure(one), measure(other))))


if __name__ == "__main__":
    main()
