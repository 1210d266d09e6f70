#!/usr/bin/env python3
"""Which residues know the class? A linear classifier on holographic signatures: motion_linear.py M.h5

M.h5 is a file of `holosig motion` whose trajectories have two labels and one segment each. For every
residue, and for all together, a ridge regression on the log-signatures is trained on four fifths of the
trajectories and tested on the rest (5 folds, dealt anew for each of 20 seeds, both classes spread evenly);
beside it the control, whose labels were shuffled within every fold. Features are scaled by the training
trajectories; the ridge is chosen among them, by the error of leaving one out. Needs numpy and h5py."""

import sys

import h5py
import numpy as np

FOLDS, SEEDS = 5, 20
RIDGES = 10.0 ** np.arange(-1, 6)


def fit(x, y):
    """Weights with a bias, of the ridge that leaves the least error when one trajectory is left out."""
    u, s, v = np.linalg.svd(x - x.mean(0), full_matrices=False)
    centred, best = y - y.mean(), None
    for ridge in RIDGES:
        shrink = s**2 / (s**2 + ridge)
        leverage = (u**2 * shrink).sum(1) + 1 / len(y)
        error = (((centred - u @ (shrink * (u.T @ centred))) / (1 - leverage)) ** 2).mean()
        if best is None or error < best[0]:
            weights = v.T @ (s / (s**2 + ridge) * (u.T @ centred))
            best = error, weights, y.mean() - x.mean(0) @ weights
    return best[1:]


def accuracy(x, y, fold):
    """Share of trajectories that are named right when their fold is held out."""
    right = 0
    for held in range(FOLDS):
        train, test = fold != held, fold == held
        mean, deviation = x[train].mean(0), x[train].std(0) + 1e-12
        weights, bias = fit((x[train] - mean) / deviation, y[train])
        right += (((x[test] - mean) / deviation @ weights + bias > 0) == (y[test] > 0)).sum()
    return right / len(y)


def scores(x, y):
    """Accuracies with true and with shuffled labels, [seeds, 2]."""
    rows = []
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        fold, dealt = np.empty(len(y), int), y.copy()
        for label in (-1, 1):
            members = rng.permutation(np.flatnonzero(y == label))
            fold[members] = np.arange(len(members)) % FOLDS
        for held in range(FOLDS):
            dealt[fold == held] = rng.permutation(y[fold == held])
        rows.append((accuracy(x, y, fold), accuracy(x, dealt, fold)))
    return np.array(rows)


def main():
    if len(sys.argv) != 2:
        sys.exit("motion_linear.py M.h5, of holosig motion")
    with h5py.File(sys.argv[1]) as file:
        labels = [label.decode() for label in file["trajectory/label"][:]]
        names = sorted(set(labels))
        if len(names) != 2:
            sys.exit(f"{sys.argv[1]}: {len(names)} labels, where two classes are needed")
        parts = [file[f"log_signature/{i:06}"][:] for i in range(len(labels))]
    if any(len(part) != 1 for part in parts):
        sys.exit(f"{sys.argv[1]}: trajectories of one segment each are needed; prepare with --segments 1x1")
    signatures = np.concatenate(parts).astype(float)
    y = np.where(np.array(labels) == names[1], 1.0, -1.0)
    print("| residue | accuracy | labels shuffled | difference, in deviations of the control |\n|---|---|---|---|")
    residues = [(str(r + 1), signatures[:, r]) for r in range(signatures.shape[1])]
    for name, x in [*residues, ("all", signatures.reshape(len(y), -1))]:
        true, control = scores(x, y).T
        words = [f"{s.mean():.3f} ± {s.std(ddof=1):.3f}" for s in (true, control)]
        print(f"| {name} | {words[0]} | {words[1]} | {(true.mean() - control.mean()) / control.std(ddof=1):+.1f} |")


if __name__ == "__main__":
    main()
