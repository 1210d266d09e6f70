"""Datasets of molecules and crystals with energies, forces and other targets, and predictions of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .files import Error, File, dataset, strings


@dataclass(frozen=True)
class System:
    """Some atoms, and what is known of them."""

    id: str
    #: What systems of one origin share: a trajectory, a file.
    group: str
    split: str
    #: Atomic numbers, uint8 [atoms].
    numbers: np.ndarray
    #: Å, float64 [atoms, 3].
    positions: np.ndarray
    #: Vectors of the cell in rows, Å, float64 [3, 3]; None in free space.
    cell: np.ndarray | None
    #: In which directions the cell repeats, bool [3].
    periodic: np.ndarray
    #: Pairs of bound atoms, [bonds, 2].
    bonds: np.ndarray
    #: Of each bond: 1, 2, 3, or 4 where aromatic.
    orders: np.ndarray
    #: By name, in :attr:`Systems.units`; without those that are unknown.
    targets: dict[str, float]
    #: In :attr:`Systems.force_unit`, float64 [atoms, 3]; None where unknown.
    forces: np.ndarray | None
    #: Derivative of the energy by a strain over the volume, the unit of energy of the forces per Å^3,
    #: float64 [3, 3]; None where unknown.
    stress: np.ndarray | None

    def atoms(self):
        """The system as ``ase.Atoms``, its targets in ``info`` and its forces in ``arrays``, in the
        units of the file."""
        from ase import Atoms

        atoms = Atoms(numbers=self.numbers, positions=self.positions, cell=self.cell, pbc=self.periodic)
        atoms.info.update(id=self.id, **self.targets)
        if self.forces is not None:
            atoms.arrays["forces"] = self.forces.copy()
        if self.stress is not None:
            atoms.info["stress"] = self.stress.copy()
        return atoms


class Systems(File):
    """What ``holosig prepare systems`` wrote. ``len()`` counts systems."""

    KIND = "systems"

    def __init__(self, path):
        super().__init__(path)
        group = self.h5["systems"]
        self._atoms = dataset(group, "atom_offsets")[:].astype(np.int64)
        self._bonds = dataset(group, "bond_offsets")[:].astype(np.int64)

    @cached_property
    def ids(self) -> np.ndarray:
        return strings(self.h5["systems"], "id")

    @cached_property
    def groups(self) -> np.ndarray:
        return strings(self.h5["systems"], "group")

    @cached_property
    def splits(self) -> np.ndarray:
        """``train``, ``validation`` or ``test``."""
        return strings(self.h5["systems"], "split")

    @cached_property
    def targets(self) -> dict[str, np.ndarray]:
        """One number for each system, by name: float64 [systems], NaN where unknown."""
        return {name: values[:] for name, values in self.h5["targets"].items()}

    @cached_property
    def units(self) -> dict[str, str]:
        """Unit of each target; empty where it has none."""
        return {name: str(self.h5["targets"].attrs[f"{name}_unit"]) for name in self.h5["targets"]}

    @property
    def force_unit(self) -> str | None:
        """Unit of the forces, such as ``kcal/mol/A``; None where there are none."""
        unit = self.h5["atoms"].attrs.get("forces_unit")
        return None if unit is None else str(unit)

    def __len__(self) -> int:
        return len(self._atoms) - 1

    def numbers_of(self, split: str) -> np.ndarray:
        """The numbers of the systems of a split.

        :raises Error: an unknown split.
        """
        if split not in ("train", "validation", "test"):
            raise Error(f"{self.path}: no split {split!r}: train, validation or test is needed")
        return np.flatnonzero(self.splits == split)

    def __getitem__(self, number: int) -> System:
        """A system by number; only its atoms are read."""
        if not -len(self) <= number < len(self):
            raise IndexError(f"{self.path}: no system {number}: there are {len(self)}")
        number %= len(self)
        atoms = slice(*self._atoms[number : number + 2])
        bonds = slice(*self._bonds[number : number + 2])
        cell, periodic = self._cell(number)
        forces = dataset(self.h5["atoms"], "forces")[atoms] if self.force_unit else None
        stress = self.h5["systems/stress"][number] if "stress" in self.h5["systems"] else None
        return System(
            id=self.ids[number],
            group=self.groups[number],
            split=self.splits[number],
            numbers=dataset(self.h5["atoms"], "number")[atoms],
            positions=dataset(self.h5["atoms"], "position")[atoms],
            cell=cell,
            periodic=periodic,
            bonds=dataset(self.h5["bonds"], "atoms")[bonds],
            orders=dataset(self.h5["bonds"], "order")[bonds],
            targets={name: float(v[number]) for name, v in self.targets.items() if not np.isnan(v[number])},
            forces=None if forces is None or np.isnan(forces).any() else forces,
            stress=None if stress is None or np.isnan(stress).any() else stress,
        )

    def __iter__(self) -> Iterator[System]:
        return (self[number] for number in range(len(self)))

    def _cell(self, number: int) -> tuple[np.ndarray | None, np.ndarray]:
        group = self.h5["systems"]
        if "cell" not in group:
            return None, np.zeros(3, bool)
        cell = dataset(group, "cell")[number]
        return (cell if cell.any() else None), dataset(group, "periodic")[number].astype(bool)
