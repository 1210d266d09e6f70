#!/usr/bin/env python3
"""Ensembles of capped peptides whose label is in the motion: ensembles.py FOLDER [OPTIONS].

Needs OpenMM from the package registry (pip install openmm). Every trajectory starts from the same
minimised coordinates, with velocities and noise of its own, and relaxes by the rules of no class (at
300 K); the class begins with the first frame, which is thus drawn alike for all. Amber ff14SB and
Langevin dynamics (1/ps), in implicit solvent (GBn2) or, for a twentieth of the time, in vacuum. What
differs is, by --classes,
  temperature  300 K against 350 K;
  barrier      a threefold barrier of 8 kJ/mol on psi of the middle residue, or none;
  torsion      a pull of at most 15 kJ/mol/rad on psi of the middle residue towards -40 degrees, that of
               a helix, or none;
  restraint    a spring of 200 kJ/mol/nm2 between the capped ends, or none;
  mass         all atoms of the middle residue ten times as heavy, or as they are: masses do not change
               how often a structure occurs, only how it moves on to the next;
  kelvin       no classes but numbers: a temperature between 250 K and 450 K of each trajectory's own.
FOLDER gets topology.pdb, a DCD file per trajectory and manifest.csv for `holosig prepare trajectories`.
A run that was stopped goes on; the same seed gives the same files on one machine."""

import argparse
import csv
import math
import pathlib

import numpy as np
import openmm as mm
from openmm import app, unit

CLASSES = {
    "temperature": ("300K", "350K"),
    "barrier": ("free", "barrier"),
    "torsion": ("free", "pulled"),
    "restraint": ("free", "restrained"),
    "mass": ("light", "heavy"),
    "kelvin": (),
}
KELVIN = 300
COLDEST, HOTTEST = 250, 450
STEP = 0.004  # ps
FRICTION = 1.0  # 1/ps


def place(a, b, c, distance, angle, dihedral):
    """The atom bound to c, in Å and degrees."""
    angle, dihedral = math.radians(angle), math.radians(dihedral)
    along = (c - b) / np.linalg.norm(c - b)
    normal = np.cross(b - a, along)
    normal /= np.linalg.norm(normal)
    local = np.array([-math.cos(angle), math.sin(angle) * math.cos(dihedral), math.sin(angle) * math.sin(dihedral)])
    return c + distance * (local @ np.array([along, np.cross(normal, along), normal]))


def peptide(sequence, phi=-75.0, psi=145.0):
    """Topology and heavy atoms (Å) of an extended chain of alanines and glycines, capped."""
    topology, places = app.Topology(), []
    chain = topology.addChain("A")

    def residue(name, atoms, bonds):
        made = topology.addResidue(name, chain)
        named = {n: topology.addAtom(n, app.Element.getBySymbol(n[0]), made) for n, _ in atoms}
        places.extend(p for _, p in atoms)
        for one, other in bonds:
            topology.addBond(named[one], named[other])
        return named

    ch3, c = np.zeros(3), np.array([1.51, 0.0, 0.0])
    o = place(np.array([0.0, 1.0, 0.0]), ch3, c, 1.23, 120.0, 0.0)
    before = residue("ACE", [("CH3", ch3), ("C", c), ("O", o)], [("CH3", "C"), ("C", "O")])
    n = place(o, ch3, c, 1.33, 116.0, 180.0)
    last = (ch3, c, n)
    for letter in sequence:
        a, b, n = last
        ca = place(a, b, n, 1.46, 122.0, 180.0)
        c = place(b, n, ca, 1.52, 111.0, phi)
        o = place(n, ca, c, 1.23, 120.0, psi + 180.0)
        atoms = [("N", n), ("CA", ca), ("C", c), ("O", o)]
        bonds = [("N", "CA"), ("CA", "C"), ("C", "O")]
        if letter == "A":
            atoms.append(("CB", place(c, n, ca, 1.53, 110.5, -122.6)))
            bonds.append(("CA", "CB"))
        made = residue({"A": "ALA", "G": "GLY"}[letter], atoms, bonds)
        topology.addBond(before["C"], made["N"])
        before, last = made, (ca, c, place(n, ca, c, 1.33, 117.0, psi))
    a, b, n = last
    made = residue("NME", [("N", n), ("C", place(a, b, n, 1.46, 122.0, 180.0))], [("N", "C")])
    topology.addBond(before["C"], made["N"])
    return topology, np.array(places)


def start(sequence, solvent):
    """The peptide with hydrogens, and its force field."""
    files = ["implicit/gbn2.xml"] if solvent == "gbn2" else []
    field = app.ForceField("amber14/protein.ff14SB.xml", *files)
    topology, places = peptide(sequence)
    model = app.Modeller(topology, [mm.Vec3(*p) for p in places / 10] * unit.nanometer)
    model.addHydrogens(field, pH=7.0)
    return model, field


def system(model, field, label=None):
    """Forces and masses of a class, or of none."""
    made = field.createSystem(model.topology, constraints=app.HBonds, hydrogenMass=3 * unit.amu)
    atoms = {(a.residue.index, a.name): a.index for a in model.topology.atoms()}
    residues = model.topology.getNumResidues()
    middle = residues // 2
    energies = {"barrier": "8*(1 + cos(3*theta))/2", "pulled": "-15*cos(theta + 40*pi/180); pi=3.141592653589793"}
    if label in energies:
        torsion = mm.CustomTorsionForce(energies[label])
        names = [(middle, "N"), (middle, "CA"), (middle, "C"), (middle + 1, "N")]
        torsion.addTorsion(*(atoms[n] for n in names))
        made.addForce(torsion)
    if label == "restrained":
        first, last = atoms[(0, "CH3")], atoms[(residues - 1, "C")]
        spring = mm.HarmonicBondForce()
        spring.addBond(first, last, 0.28 * (residues - 1), 200.0)
        made.addForce(spring)
    if label == "heavy":
        for (residue, _), atom in atoms.items():
            if residue == middle:
                made.setParticleMass(atom, 10 * made.getParticleMass(atom))
    return made


class Dynamics:
    """The dynamics of a class, or of none."""

    def __init__(self, model, field, solvent, label=None):
        # In vacuum the plain loops of the reference platform are the fastest.
        name, settings = "Reference", {}
        if solvent == "gbn2":
            name, settings = "CPU", {"Threads": "1", "DeterministicForces": "true"}
        self.integrator = mm.LangevinMiddleIntegrator(KELVIN, FRICTION, STEP)
        platform = mm.Platform.getPlatformByName(name)
        self.context = mm.Context(system(model, field, label), self.integrator, platform, settings)

    def start(self, positions, kelvin, seed):
        """From `positions` on, with velocities and noise of `seed` whatever was run before."""
        self.integrator.setTemperature(kelvin)
        self.integrator.setRandomNumberSeed(seed)
        self.context.reinitialize()
        self.context.setPositions(positions)
        self.context.setVelocitiesToTemperature(kelvin, seed)

    def positions(self):
        return self.context.getState(getPositions=True).getPositions()


def simulate(common, own, model, kelvin, seed, args, path):
    """One trajectory, whole or not there."""
    common.start(model.positions, KELVIN, 2 * seed)
    common.integrator.step(round(args.relax / STEP))
    own.start(common.positions(), kelvin, 2 * seed + 1)
    every = round(args.every / STEP)
    part = path.with_suffix(".part")
    with open(part, "wb") as out:
        file = app.DCDFile(out, model.topology, every * STEP)
        for frame in range(args.frames):
            own.integrator.step(every if frame else 0)
            file.writeModel(own.positions())
    part.rename(path)


def label_of(args, index):
    """Label and temperature (K) of a trajectory."""
    if args.classes == "kelvin":
        kelvin = np.random.default_rng((args.seed, index)).uniform(COLDEST, HOTTEST)
        return f"{kelvin:.1f}", round(kelvin, 1)
    label = CLASSES[args.classes][index % 2]
    return label, 350 if label == "350K" else KELVIN


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--classes", choices=sorted(CLASSES), default="barrier")
    parser.add_argument("--sequence", default="AAAAA", help="alanines and glycines between the caps")
    parser.add_argument("--trajectories", type=int, default=60, help="of each class; half of them all for kelvin")
    parser.add_argument("--solvent", choices=("gbn2", "vacuum"), default="gbn2")
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--every", type=float, default=1.0, help="ps between frames")
    parser.add_argument("--relax", type=float, default=20.0, help="ps before the first frame")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if not args.sequence or set(args.sequence) - set("AG"):
        parser.error("--sequence: letters A and G are needed")
    if min(args.trajectories, args.frames, args.seed) < 1 or args.every < STEP or args.relax < 0:
        parser.error("--trajectories, --frames, --seed and --every must be positive")

    args.folder.mkdir(parents=True, exist_ok=True)
    model, field = start(args.sequence, args.solvent)
    common = Dynamics(model, field, args.solvent)
    common.context.setPositions(model.positions)
    mm.LocalEnergyMinimizer.minimize(common.context)
    model.positions = common.positions()
    with open(args.folder / "topology.pdb", "w") as out:
        app.PDBFile.writeFile(model.topology, model.positions, out)

    rows, dynamics = [], {}
    for index in range(2 * args.trajectories):
        label, kelvin = label_of(args, index)
        path = args.folder / f"{index:04d}.dcd"
        if not path.exists():
            kind = None if args.classes == "kelvin" else label
            if kind not in dynamics:
                dynamics[kind] = Dynamics(model, field, args.solvent, kind)
            simulate(common, dynamics[kind], model, kelvin, args.seed * 100_000 + index, args, path)
            print(f"{index + 1} of {2 * args.trajectories}", flush=True)
        rows.append((path.name, "topology.pdb", label))
    with open(args.folder / "manifest.csv", "w", newline="") as out:
        csv.writer(out).writerows([("trajectory", "topology", "label"), *rows])


if __name__ == "__main__":
    main()
