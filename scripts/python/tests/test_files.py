import csv
import json
import shutil

import holosig
import numpy as np
import pytest
from conftest import ROOT, train


def test_neighborhoods_are_those_of_the_program(made):
    with holosig.Dataset(made / "dataset.h5") as dataset, holosig.Embeddings(made / "embeddings.h5") as rows:
        assert len(dataset) == len(rows) > 100
        assert [dataset.residue(i) for i in range(len(dataset))] == rows.residues
        near = dataset.neighborhood(3)
        assert near.positions.shape == (len(near.elements), 3) and len(near.elements) > 20
        lengths = np.linalg.norm(near.positions, axis=1)
        assert 0 < lengths.min() and lengths.max() <= 10.0
        assert set(near.elements) <= {6, 7, 8, 16, 34}
        own = dataset.neighborhood(3, surroundings=False)
        other = dataset.neighborhood(3, central_residue=False)
        assert len(own.elements) + len(other.elements) == len(near.elements)
        # A residue's own heavy atoms are few, and CA is not among them.
        assert 3 <= len(own.elements) <= 14


def test_a_split_is_a_part_of_the_centres(made):
    with holosig.Dataset(made / "dataset.h5") as dataset:
        parts = [dataset.centres(split) for split in ("train", "validation", "test")]
        assert sorted(np.concatenate(parts)) == list(range(len(dataset)))
        with pytest.raises(holosig.Error, match="split 'all'"):
            dataset.centres("all")


def test_frames_are_rotations(made):
    with holosig.Embeddings(made / "embeddings.h5") as rows:
        products = rows.frames @ rows.frames.transpose(0, 2, 1)
        assert np.abs(products - np.eye(3)).max() < 1e-4
        assert rows.invariants.shape == (len(rows), 64)
        assert rows.attributes["cutoff"] == 10.0


def test_a_checkpoint_has_what_its_description_says(made):
    with holosig.Checkpoint(made / "run/checkpoints/best.h5") as checkpoint:
        assert checkpoint.task == "hvae"
        assert checkpoint.description["model"]["latent_dim"] == 64
        assert checkpoint.parameters["decoder_bottleneck.weight"].shape == (64, 64)
        total = sum(a.size for a in checkpoint.parameters.values())
        told = holosig.run("inspect", checkpoint.path)
        assert f"{total} in {len(checkpoint.parameters)}" in told
        buffers = checkpoint.buffers
        assert f"{sum(a.size for a in buffers.values())} in {len(buffers)}" in told
        assert buffers["encoder_cg_blocks.0.layers.0.running_var"].shape == (160,)
        assert buffers.keys().isdisjoint(checkpoint.parameters)


def test_pockets_are_sums_of_their_residues(made, tmp_path):
    # Two residues of a protein play ligands.
    protein = ROOT / "tests/structures/1orc.pdb"
    with (tmp_path / "complexes.csv").open("w", newline="") as file:
        rows = [("first", protein, "ASP:A:22", 6.5), ("second", protein, "ASP:A:47", "")]
        csv.writer(file).writerows([("id", "protein", "ligand", "pK"), *rows])
    options = ("--complexes", tmp_path / "complexes.csv", "--no-untrained", "--out", tmp_path / "pockets.h5")
    holosig.run("pockets", made / "run/checkpoints/best.h5", *options)
    with holosig.Pockets(tmp_path / "pockets.h5") as pockets:
        assert len(pockets) == 2 and list(pockets.ids) == ["first", "second"]
        assert pockets.embeddings.shape == (2, 64) and pockets.affinities.shape == (2,)
        assert pockets.affinities[0] == 6.5 and np.isnan(pockets.affinities[1])
        for pocket, ligand in enumerate((22, 47)):
            residues, invariants = pockets.residues(pocket), pockets.invariants(pocket)
            assert invariants.shape == (len(residues), 64)
            assert np.allclose(invariants.sum(axis=0), pockets.embeddings[pocket], rtol=1e-4, atol=1e-4)
            numbers = {r.number for r in residues}
            assert {ligand - 1, ligand + 1} < numbers and ligand not in numbers
            assert {(r.structure, r.chain) for r in residues} == {(pockets.ids[pocket], "A")}


def test_tensorboard_reads_the_numbers_of_the_log(made):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    logged = {}
    for line in (made / "run/metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        kind, step = record.pop("event"), record.pop("step")
        if kind in ("train", "validation"):
            for name in record.keys() - {"time", "epoch"}:
                logged.setdefault(f"{kind}/{name}", []).append((step, float(np.float32(record[name]))))
    assert [step for step, _ in logged["train/objective"]] == [1, 2] and "validation/cosine" in logged
    events = reader.EventAccumulator(str(made / "run"))
    events.Reload()
    found = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert found == logged


def test_segments_are_parts_of_trajectories(made):
    with holosig.Trajectories(made / "grd.h5") as trajectories:
        segments = list(trajectories.segments())
        assert len(segments) == len(trajectories) == 8
        assert {s.label for s in segments} == {"degradation", "dimerisation"}
        assert np.array_equal(segments[5].coordinates, trajectories.coordinates(5)[: len(segments[5].coordinates)])
        edges = trajectories.edges(0)
        assert edges.shape[1] == 2 and edges.max() < segments[0].coordinates.shape[1]


def test_whole_files_pass_and_damaged_ones_are_named(made, tmp_path):
    pytest.importorskip("xxhash")
    whole = (made / "dataset.h5").read_bytes()
    assert holosig.verify(made / "dataset.h5").kind == "dataset"
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(holosig.Error, match="damaged.h5: damaged"):
        holosig.verify(damaged)
    damaged.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(holosig.Error, match="cut short"):
        holosig.Dataset(damaged)
    later = tmp_path / "later.h5"
    later.write_bytes(whole.replace(b"version=2", b"version=9", 1))
    with pytest.raises(holosig.Error, match="version 9 of dataset"):
        holosig.Dataset(later)


def test_another_kind_and_no_file_are_one_line(made, tmp_path):
    with pytest.raises(holosig.Error, match="holds dataset, where embeddings is needed"):
        holosig.Embeddings(made / "dataset.h5")
    with pytest.raises(holosig.Error, match="no such file"):
        holosig.Dataset(tmp_path / "none.h5")
    plain = tmp_path / "plain.h5"
    plain.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(1000))
    with pytest.raises(holosig.Error, match="not a file of holosig"):
        holosig.Dataset(plain)


def test_a_run_on_two_ranks_has_two(made, tmp_path):
    if not shutil.which("mpirun"):
        pytest.skip("mpirun was not found")
    train(made / "dataset.h5", tmp_path / "run", "train.steps=1", ranks=2)
    first = (tmp_path / "run/metrics.jsonl").read_text().splitlines()[0]
    assert json.loads(first)["ranks"] == 2


def test_a_failure_has_the_exit_code_and_the_line(made):
    with pytest.raises(holosig.Failure, match="none.h5") as failure:
        holosig.run("inspect", made / "none.h5")
    assert failure.value.code == 2


def test_a_failure_on_two_ranks_has_the_line_too(tmp_path):
    if not shutil.which("mpirun"):
        pytest.skip("mpirun was not found")
    with pytest.raises(holosig.Failure, match="none.h5: no such file") as failure:
        holosig.run("train", ROOT / "jobs/quickstart.toml", "--out", tmp_path / "run",
                    "--set", f"data.dataset={tmp_path / 'none.h5'}", ranks=2)
    assert failure.value.code == 2
