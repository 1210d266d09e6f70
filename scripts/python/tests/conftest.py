"""Files that the program writes; tests of them are skipped where it is not found."""

import os
import shutil
from pathlib import Path

import holosig
import pytest

ROOT = Path(__file__).resolve().parents[3]


def needs_program():
    if not (os.environ.get("HOLOSIG") or shutil.which("holosig")):
        pytest.skip("the program holosig was not found")


def train(dataset, out, *sets, ranks=1):
    """A run of the quickstart's job."""
    words = [word for key in (f"data.dataset={dataset}", *sets) for word in ("--set", key)]
    holosig.run("train", ROOT / "jobs/quickstart.toml", "--out", out, *words, ranks=ranks)


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """A folder with a dataset, embeddings, trajectories and a run."""
    needs_program()
    here = tmp_path_factory.mktemp("made")
    shares = ("--validation", 0.1, "--test", 0.15)
    holosig.run("prepare", "structures", ROOT / "tests/structures", *shares, "--out", here / "dataset.h5")
    train(here / "dataset.h5", here / "run", "train.steps=2", "train.log_every=1", "train.tensorboard=true")
    best = here / "run/checkpoints/best.h5"
    holosig.run("embed", best, "--dataset", here / "dataset.h5", "--out", here / "embeddings.h5")
    holosig.run("prepare", "grd", "--trajectories", 8, "--out", here / "grd.h5")
    return here
