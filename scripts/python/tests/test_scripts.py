"""Scripts beside the package that need neither the program nor other packages."""

import csv
import json
import os
import runpy
import subprocess
import sys
import threading
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2]


def script(name, *arguments, **variables):
    command = [sys.executable, SCRIPTS / name, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | variables)


def windows(folder, *options):
    table = folder / "a.csv"
    table.write_text("frame,helix,basin\n" + "".join(f"{i},{i / 10},{'AB'[i % 3 == 0]}\n" for i in range(12)))
    made = script("windows.py", folder / "out.csv", f"{folder}/a.xtc:{table}", "--topology", folder / "t.pdb",
                  "--window", "3", "--next", "4", "--step", "2", *options)
    return made, folder / "out.csv"


def test_windows_are_labelled_by_what_comes_next(tmp_path):
    made, out = windows(tmp_path, "--column", "helix")
    assert made.returncode == 0, made.stderr
    rows = list(csv.DictReader(out.open()))
    assert [row["frames"] for row in rows] == ["0:3", "2:5", "4:7"]
    assert [float(row["label"]) for row in rows] == [0.45, 0.65, 0.85]
    assert rows[0]["trajectory"] == "a.xtc"
    made, out = windows(tmp_path, "--column", "basin", "--is", "B")
    assert [float(row["label"]) for row in csv.DictReader(out.open())] == [0.5, 0.25, 0.25]


def test_windows_say_what_is_wrong(tmp_path):
    for options, what in [
        (("--column", "sheet"), "no column 'sheet'; it has frame, helix, basin"),
        (("--column", "basin"), "--is VALUE counts frames of a class"),
        (("--column", "basin", "--is", "C"), "no frame says 'C'"),
        (("--column", "helix", "--next", "99"), "no window has a whole future"),
    ]:
        made, _ = windows(tmp_path, *options)
        assert made.returncode != 0 and what in made.stderr, made.stderr


def study(folder):
    """Two methods in two folds, the first beyond its control."""
    (folder / "ensemble").mkdir()
    (folder / "ensemble/manifest.csv").write_text("trajectory,topology,label\n" + "a,b,c\n" * 120)
    (folder / "holographic-methods").mkdir()
    with (folder / "holographic-methods/results.csv").open("w") as file:
        print("model.method,data.shuffle_labels,test.accuracy,test.f1,test.auroc", file=file)
        for accuracy, control in ((0.9, 0.45), (1.0, 0.55)):
            print(f"deep-signature,false,{accuracy},{accuracy},{accuracy}", file=file)
            print(f"deep-signature,true,{control},{control},{control}", file=file)


def test_the_table_of_a_study_has_controls_and_power(tmp_path):
    study(tmp_path)
    made = script("motion_table.py", tmp_path)
    assert made.returncode == 0, made.stderr
    assert "| 0.950 ± 0.071 | 0.950 ± 0.071 | 0.950 ± 0.071 | 2 | 0.500 ± 0.071 | +6.4 |" in made.stdout
    assert "120 trajectories tell an accuracy from 0.69 on from chance" in made.stdout
    assert "no finished runs" in script("motion_table.py", tmp_path / "nothing").stderr


def test_the_power_is_that_of_two_binomials():
    table = runpy.run_path(str(SCRIPTS / "motion_table.py"))
    n = table["needed"](0.7)
    # Three deviations of a coin above one half are 1.28 deviations of the method below its 0.7.
    assert abs((0.5 + 3 * 0.5 / n**0.5) - (0.7 - 1.2816 * (0.21 / n) ** 0.5)) < 1e-4
    assert abs(table["seen"](n) - 0.7) < 1e-6


def test_the_residue_with_the_signal_decides(tmp_path):
    h5py, np = pytest.importorskip("h5py"), pytest.importorskip("numpy")
    rng = np.random.default_rng(1)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["trajectory/label"] = [b"ab"[i % 2 : i % 2 + 1] for i in range(40)]
        for i in range(40):
            signature = rng.normal(size=(1, 2, 3))
            signature[0, 1, 2] += 4 * (i % 2)
            file[f"log_signature/{i:06}"] = signature
    made = script("motion_linear.py", tmp_path / "m.h5")
    assert made.returncode == 0, made.stderr
    accuracies = {cells[1].strip(): float(cells[2].split()[0]) for cells in map(lambda l: l.split("|"), made.stdout.splitlines()[2:])}
    assert accuracies["2"] > 0.9 and accuracies["all"] > 0.9 and accuracies["1"] < 0.75


#: In the place of the package: it writes down how it is called.
WANDB = """\
import json, os

def note(*call):
    with open(os.environ["CALLS"], "a") as file:
        print(json.dumps(call), file=file)

class util:
    generate_id = staticmethod(lambda: f"drawn-{os.getpid()}")

class Session:
    def log(self, values, step):
        note("log", step, values)

    def finish(self):
        note("finish")

def init(**options):
    note("init", options)
    return Session()
"""


def log(run, *records):
    with (run / "metrics.jsonl").open("a") as file:
        for record in records:
            print(json.dumps(record), file=file)


def trained(step, objective, event="train"):
    return {"event": event, "step": step, "time": 1.5, "epoch": 0, "objective": objective}


@pytest.fixture
def run(tmp_path):
    """A folder of a run of two steps."""
    made = tmp_path / "run"
    made.mkdir()
    (made / "job.toml").write_text("[train]\nsteps = 2\n")
    log(made, {"event": "start", "step": 0}, trained(1, 0.5), trained(2, 0.25), trained(2, 0.75, "validation"))
    return made


def test_a_run_is_sent_once(run, tmp_path):
    (tmp_path / "wandb.py").write_text(WANDB)
    calls = tmp_path / "calls"

    def sent():
        calls.unlink(missing_ok=True)
        done = script("sync_run.py", run, "--to", "wandb", "--project", "ours", PYTHONPATH=str(tmp_path), CALLS=str(calls))
        assert done.returncode == 0, done.stderr
        (first, options), *told, last = map(json.loads, calls.read_text().splitlines())
        assert [first, last] == ["init", ["finish"]]
        return options, told

    options, told = sent()
    assert options["project"] == "ours" and options["config"] == {"train.steps": 2}
    both = {"train/objective": 0.25, "validation/objective": 0.75}
    assert told == [["log", 1, {"train/objective": 0.5}], ["log", 2, both]]
    # The same run, and nothing new.
    assert sent() == (options, [])
    # It is resumed from its first step and becomes longer: what it made again is not sent again.
    log(run, {"event": "start", "step": 1}, trained(2, 0.25), trained(3, 0.125), {"event": "end", "step": 3})
    assert sent() == (options, [["log", 3, {"train/objective": 0.125}]])


def test_a_run_is_followed_to_its_end(run):
    command = [sys.executable, "-u", SCRIPTS / "sync_run.py", run, "--to", "wandb", "--dry-run", "--follow"]
    with subprocess.Popen([*command, "--every", "0.1"], stdout=subprocess.PIPE, text=True) as process:
        limit = threading.Timer(60, process.kill)
        limit.start()
        try:
            # Once the first step is told, the log has been read.
            assert any(line == "step 1 train/objective = 0.5\n" for line in process.stdout)
            log(run, trained(3, 0.125))
            assert any(line == "step 3 train/objective = 0.125\n" for line in process.stdout)
            assert process.poll() is None
            log(run, {"event": "end", "step": 3})
            assert process.communicate()[0] == "end\n"
            assert process.returncode == 0
        finally:
            limit.cancel()
            process.kill()
