"""Embeddings of residues and of pockets."""

from __future__ import annotations

from functools import cached_property

import h5py
import numpy as np

from .dataset import Residue
from .files import File, dataset, strings


def _residues(group: h5py.Group, structure: np.ndarray) -> list[Residue]:
    chain, icode, name = (strings(group, key) for key in ("chain", "icode", "name"))
    number = dataset(group, "number")[:]
    return [Residue(*row) for row in zip(structure, chain, map(int, number), icode, name)]


class Embeddings(File):
    """What ``holosig embed --dataset`` wrote, a row for each residue."""

    KIND = "embeddings"

    @cached_property
    def invariants(self) -> np.ndarray:
        """float32 [n, z]: the same for any rotation of a structure."""
        return dataset(self.h5, "invariants")[:]

    @cached_property
    def frames(self) -> np.ndarray:
        """float32 [n, 3, 3], rows x, y, z: they rotate with the structure."""
        return dataset(self.h5, "frames")[:]

    @cached_property
    def residues(self) -> list[Residue]:
        """The residue of each row."""
        group = self.h5["residues"]
        return _residues(group, strings(group, "structure"))

    @property
    def attributes(self) -> dict:
        """How the file was made: checkpoint, channels, degrees, units."""
        return dict(self.h5.attrs)

    def __len__(self) -> int:
        return dataset(self.h5, "invariants").shape[0]


class Pockets(File):
    """What ``holosig pockets`` wrote, a row for each complex."""

    KIND = "pockets"

    @cached_property
    def ids(self) -> np.ndarray:
        return strings(self.h5, "ids")

    @cached_property
    def embeddings(self) -> np.ndarray:
        """float32 [n, z]: sums over the pocket's residues."""
        return dataset(self.h5, "pocket")[:]

    @cached_property
    def affinities(self) -> np.ndarray | None:
        """float64 [n] where the file has them; NaN where unknown."""
        return dataset(self.h5, "affinity")[:] if "affinity" in self.h5 else None

    def residues(self, pocket: int) -> list[Residue]:
        """The residues of a pocket."""
        group = self.h5["residues"]
        first, end = (int(o) for o in dataset(group, "offsets")[pocket : pocket + 2])
        texts = {key: strings(group, key)[first:end] for key in ("chain", "icode", "name")}
        number = dataset(group, "number")[first:end]
        rows = zip(texts["chain"], map(int, number), texts["icode"], texts["name"])
        return [Residue(self.ids[pocket], *row) for row in rows]

    def invariants(self, pocket: int) -> np.ndarray:
        """float32 [residues of the pocket, z]."""
        group = self.h5["residues"]
        first, end = (int(o) for o in dataset(group, "offsets")[pocket : pocket + 2])
        return dataset(group, "invariants")[first:end]

    def __len__(self) -> int:
        return dataset(self.h5, "pocket").shape[0]
