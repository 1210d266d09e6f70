"""Datasets of structures, and the neighborhoods of their residues."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .files import Error, File, dataset, strings


@dataclass(frozen=True)
class Residue:
    """Where a residue stands: entry, chain, number, insertion code and name."""

    structure: str
    chain: str
    number: int
    icode: str
    name: str


@dataclass(frozen=True)
class Neighborhood:
    """The atoms around one residue's CA."""

    residue: Residue
    #: Å, relative to the CA, float32 [n, 3].
    positions: np.ndarray
    #: Atomic numbers, uint8 [n].
    elements: np.ndarray
    #: Numbers of the atoms in the dataset, [n].
    atoms: np.ndarray


class Dataset(File):
    """What ``holosig prepare structures`` wrote: every atom once, and the centres of neighborhoods.

    ``len()`` is the number of neighborhoods. Arrays are read when they are asked for.
    """

    KIND = "dataset"

    @cached_property
    def ids(self) -> np.ndarray:
        """The name of each structure."""
        return strings(self.h5["structures"], "id")

    @cached_property
    def splits(self) -> np.ndarray:
        """``train``, ``validation`` or ``test`` of each structure."""
        return strings(self.h5["structures"], "split")

    @cached_property
    def atom_offsets(self) -> np.ndarray:
        """The atoms of structure ``s`` are ``atom_offsets[s]:atom_offsets[s + 1]``."""
        return dataset(self.h5["structures"], "atom_offsets")[:].astype(np.int64)

    @cached_property
    def residue_offsets(self) -> np.ndarray:
        """The residues of structure ``s`` are ``residue_offsets[s]:residue_offsets[s + 1]``."""
        return dataset(self.h5["structures"], "residue_offsets")[:].astype(np.int64)

    @cached_property
    def coordinates(self) -> np.ndarray:
        """Å, float32 [atoms, 3]."""
        return dataset(self.h5["atoms"], "coordinates")[:]

    @cached_property
    def elements(self) -> np.ndarray:
        """Atomic numbers, uint8 [atoms]."""
        return dataset(self.h5["atoms"], "element")[:]

    @cached_property
    def residue_of(self) -> np.ndarray:
        """The residue of each atom, counted from the first of its structure."""
        return dataset(self.h5["atoms"], "residue")[:]

    @cached_property
    def _residues(self) -> tuple[np.ndarray, ...]:
        group = self.h5["residues"]
        texts = [strings(group, name) for name in ("chain", "icode", "name")]
        return (*texts, dataset(group, "number")[:])

    @cached_property
    def _centres(self) -> tuple[np.ndarray, np.ndarray]:
        group = self.h5["centres"]
        return dataset(group, "structure")[:], dataset(group, "atom")[:]

    def __len__(self) -> int:
        return len(self._centres[0])

    def centres(self, split: str | None = None) -> np.ndarray:
        """Numbers of the neighborhoods, all or those of ``train``, ``validation`` or ``test``.

        :raises Error: another word.
        """
        if split is None:
            return np.arange(len(self))
        if split not in ("train", "validation", "test"):
            raise Error(f"split {split!r}: train, validation or test is needed")
        return np.flatnonzero(self.splits[self._centres[0]] == split)

    def residue(self, centre: int) -> Residue:
        """The residue of a neighborhood."""
        structure, atom = (int(a[centre]) for a in self._centres)
        # An atom's residue counts from the structure's first.
        residue = self.residue_offsets[structure] + self.residue_of[self.atom_offsets[structure] + atom]
        chain, icode, name, number = self._residues
        return Residue(
            self.ids[structure], chain[residue], int(number[residue]), icode[residue], name[residue]
        )

    def neighborhood(
        self,
        centre: int,
        radius: float = 10.0,
        *,
        central_residue: bool = True,
        surroundings: bool = True,
    ) -> Neighborhood:
        """The atoms within ``radius`` Å of a residue's CA, itself left out, in the order of the file.

        :param central_residue: keep the other atoms of the residue itself.
        :param surroundings: keep the atoms of other residues.
        """
        structure, atom = (int(a[centre]) for a in self._centres)
        first, end = self.atom_offsets[structure : structure + 2]
        middle = first + atom
        positions = self.coordinates[first:end] - self.coordinates[middle]
        near = np.einsum("ni,ni->n", positions, positions, dtype=np.float64) <= radius * radius
        own = self.residue_of[first:end] == self.residue_of[middle]
        keep = near & np.where(own, central_residue, surroundings)
        keep[middle - first] = False
        return Neighborhood(
            self.residue(centre), positions[keep], self.elements[first:end][keep], first + np.flatnonzero(keep)
        )
