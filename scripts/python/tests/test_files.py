import holosig
import numpy as np
import pytest


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
        assert f"{total} in {len(checkpoint.parameters)}" in holosig.run("inspect", checkpoint.path)


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


def test_a_failure_has_the_exit_code_and_the_line(made):
    with pytest.raises(holosig.Failure, match="none.h5") as failure:
        holosig.run("inspect", made / "none.h5")
    assert failure.value.code == 2
