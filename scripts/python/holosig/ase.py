"""A calculator of ASE that asks the program for energies and forces."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import h5py
import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from ase.io import write

from .files import Error
from .program import run

#: eV of one of each unit that files name.
ENERGIES = {"eV": 1.0, "kcal/mol": units.kcal / units.mol, "kJ/mol": units.kJ / units.mol, "hartree": units.Hartree}


class Holosig(Calculator):
    """Energies (eV), forces (eV/Å) and of crystals stresses (eV/Å^3, Voigt) of a checkpoint that was trained on energies of systems.

    Every calculation starts the program once; for many systems at once, write them to a file and use
    ``holosig prepare systems`` and ``holosig predict``.
    """

    implemented_properties = ["energy", "forces", "stress"]

    def __init__(self, checkpoint: os.PathLike | str, **options):
        super().__init__(**options)
        self.checkpoint = Path(checkpoint)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        with tempfile.TemporaryDirectory(prefix="holosig-") as folder:
            here = Path(folder)
            # Positions with all their digits, and nothing that an earlier calculation left.
            write(here / "atoms.xyz", _plain(self.atoms), format="extxyz")
            run("prepare", "systems", here / "atoms.xyz", "--out", here / "systems.h5")
            run("predict", self.checkpoint, "--systems", here / "systems.h5", "--out", here / "out.h5")
            with h5py.File(here / "out.h5", "r") as out:
                self.results = _results(out, self.checkpoint)


def _plain(atoms: Atoms) -> Atoms:
    """The atoms alone: what else they carry (forces of a data set, say) is no question to the network."""
    return Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)


def _results(out: h5py.File, checkpoint: Path) -> dict:
    if "energy" not in out:
        raise Error(f"{checkpoint}: predicts no energies")
    factor = _factor(str(out.attrs["energy_unit"]), checkpoint)
    results = {"energy": float(out["energy"][0]) * factor}
    if "forces" in out:
        results["forces"] = np.asarray(out["forces"]) * factor
    if "stress" in out:
        xx, xy, xz, _, yy, yz, _, _, zz = np.asarray(out["stress"][0]).ravel() * factor
        results["stress"] = np.array([xx, yy, zz, yz, xz, xy])
    return results


def _factor(unit: str, checkpoint: Path) -> float:
    if unit not in ENERGIES:
        raise Error(f"{checkpoint}: energies in {unit!r}; known are {', '.join(ENERGIES)}")
    return ENERGIES[unit]
