import h5py
import holosig
import numpy as np
import pytest
from conftest import ROOT, needs_program

#: Two waters in a cell, and one molecule of hydrogen without forces.
TEXT = """\
3
Lattice="9 0 0 0 9 0 0 0 9" pbc="T T F" Properties=species:S:1:pos:R:3:forces:R:3 energy=-1.5 gap=0.25
O 0 0 0 0.1 0 0
H 0.96 0 0 -0.1 0.2 0
H 0 0.96 0 0 -0.2 0
2
Properties=species:S:1:pos:R:3 gap=0.5
H 0 0 0
H 0 0 0.74
"""


@pytest.fixture(scope="session")
def systems(tmp_path_factory):
    needs_program()
    here = tmp_path_factory.mktemp("systems")
    (here / "two.xyz").write_text(TEXT)
    splits = ("--validation", 0, "--test", 1, "--order", "files")
    holosig.run("prepare", "systems", here / "two.xyz", *splits, "--out", here / "two.h5")
    return here / "two.h5"


def test_systems_are_those_of_the_file(systems):
    with holosig.Systems(systems) as file:
        assert len(file) == 2 == len(list(file))
        assert file.units["energy"] == "eV" and set(file.units) == {"energy", "gap"}
        assert file.force_unit == "eV/A"
        water, hydrogen = file
        assert list(water.numbers) == [8, 1, 1]
        assert np.array_equal(water.positions, [[0, 0, 0], [0.96, 0, 0], [0, 0.96, 0]])
        assert np.array_equal(water.cell, 9 * np.eye(3)) and list(water.periodic) == [True, True, False]
        assert water.targets == {"energy": -1.5, "gap": 0.25}
        assert np.array_equal(water.forces, [[0.1, 0, 0], [-0.1, 0.2, 0], [0, -0.2, 0]])
        assert hydrogen.targets == {"gap": 0.5}
        assert hydrogen.forces is None and hydrogen.cell is None and not hydrogen.periodic.any()
        assert np.isnan(file.targets["energy"][1])
        assert [water.split, hydrogen.split] == ["train", "test"]
        assert list(file.numbers_of("test")) == [1]
        assert file[-1].id == hydrogen.id
        with pytest.raises(IndexError, match="no system 2: there are 2"):
            file[2]
        with pytest.raises(holosig.Error, match="no split 'all'"):
            file.numbers_of("all")


def test_a_system_is_one_of_ase(systems):
    pytest.importorskip("ase")
    with holosig.Systems(systems) as file:
        water = file[0].atoms()
        assert water.get_chemical_formula() == "H2O"
        assert list(water.pbc) == [True, True, False] and water.cell.volume == pytest.approx(729)
        assert water.info["energy"] == -1.5
        assert np.array_equal(water.arrays["forces"], file[0].forces)


@pytest.fixture(scope="session")
def potential(tmp_path_factory):
    """A network of atoms after some steps on the molecules of the quickstart."""
    needs_program()
    here = tmp_path_factory.mktemp("potential")
    holosig.run("prepare", "systems", "--quickstart", "--out", here / "molecules.h5")
    job = ROOT / "jobs/quickstart-molecules.toml"
    chosen = {
        "data.dataset": here / "molecules.h5",
        "train.steps": 20,
        "train.learning_rate_schedule": '"constant"',
    }
    sets = [word for key, value in chosen.items() for word in ("--set", f"{key}={value}")]
    holosig.run("train", job, "--out", here / "run", *sets)
    return here


def test_the_calculator_has_the_energies_and_forces_of_the_program(potential):
    pytest.importorskip("ase")
    from ase.optimize import BFGS
    from holosig.ase import Holosig

    calculator = Holosig(potential / "run/checkpoints/best.h5")
    with holosig.Systems(potential / "molecules.h5") as file:
        first = file[0]
    atoms = first.atoms()
    atoms.calc = calculator
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    assert forces.shape == first.positions.shape
    # Of a file with both: what `predict` says of the same system.
    holosig.run(
        "predict", calculator.checkpoint, "--systems", potential / "molecules.h5", "--out", potential / "all.h5"
    )
    with h5py.File(potential / "all.h5") as told:
        assert energy == pytest.approx(float(told["energy"][0]), rel=1e-6)
        assert np.allclose(forces, told["forces"][: len(forces)], rtol=1e-5, atol=1e-6)
    # Forces are the negative slope of the energy.
    step = 2e-3
    for atom, axis in ((0, 0), (1, 2)):
        ends = []
        for sign in (-1, 1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * step
            moved.calc = calculator
            ends.append(moved.get_potential_energy())
        assert -(ends[1] - ends[0]) / (2 * step) == pytest.approx(forces[atom, axis], abs=2e-3)
    # As programs of ASE use it; short steps go downhill, however rough the surface is.
    BFGS(atoms, logfile=None, maxstep=0.002).run(fmax=0.0, steps=2)
    assert atoms.get_potential_energy() < energy


def test_the_calculator_says_what_is_wrong(potential, tmp_path):
    pytest.importorskip("ase")
    from ase import Atoms
    from holosig.ase import Holosig

    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0.1]])
    atoms.calc = Holosig(potential / "run/checkpoints/best.h5")
    with pytest.raises(holosig.Failure, match="apart"):
        atoms.get_potential_energy()
    atoms.calc = Holosig(tmp_path / "none.h5")
    atoms.positions[1, 2] = 0.74
    with pytest.raises(holosig.Failure, match="none.h5"):
        atoms.get_potential_energy()
