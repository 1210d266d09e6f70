"""Neighborhoods as a data set of PyTorch."""

from __future__ import annotations

import os

import torch
from torch.utils.data import Dataset as TorchDataset

from .dataset import Dataset, Neighborhood


class Neighborhoods(TorchDataset):
    """The neighborhoods of a dataset or of one of its splits.

    Each process that loads data opens the file for itself, so it works with any number of workers.
    Options are those of :meth:`holosig.Dataset.neighborhood`.
    """

    def __init__(self, path: os.PathLike | str, split: str | None = None, **options):
        self.path, self.options = os.fspath(path), options
        with Dataset(path) as dataset:
            self.centres = dataset.centres(split)
        self._open: tuple[int, Dataset] | None = None

    def _dataset(self) -> Dataset:
        # HDF5 cannot share an open file with a forked process.
        if self._open is None or self._open[0] != os.getpid():
            self._open = (os.getpid(), Dataset(self.path))
        return self._open[1]

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_open": None}

    def __len__(self) -> int:
        return len(self.centres)

    def __getitem__(self, index: int) -> Neighborhood:
        return self._dataset().neighborhood(int(self.centres[index]), **self.options)


def collate(batch: list[Neighborhood]) -> dict:
    """Point clouds one after another: ``positions`` [N, 3] (Å), ``elements`` [N], ``batch`` [N] (the
    cloud of each atom), and ``residues``, a list."""
    sizes = torch.tensor([len(n.elements) for n in batch])
    return {
        "positions": torch.cat([torch.from_numpy(n.positions) for n in batch]),
        "elements": torch.cat([torch.from_numpy(n.elements.astype("int64")) for n in batch]),
        "batch": torch.repeat_interleave(torch.arange(len(batch)), sizes),
        "residues": [n.residue for n in batch],
    }
