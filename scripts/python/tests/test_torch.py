import os

import holosig
import pytest

torch = pytest.importorskip("torch")


def test_batches_are_clouds_one_after_another(made):
    from holosig.torch import Neighborhoods, collate

    data = Neighborhoods(made / "dataset.h5")
    loader = torch.utils.data.DataLoader(data, batch_size=8, collate_fn=collate, num_workers=2)
    batch = next(iter(loader))
    assert batch["positions"].shape == (len(batch["elements"]), 3)
    assert batch["batch"].max() == 7 and len(batch["residues"]) == 8
    with holosig.Dataset(made / "dataset.h5") as dataset:
        second = dataset.neighborhood(1)
    mine = batch["positions"][batch["batch"] == 1].numpy()
    assert (mine == second.positions).all()


def pids(_):
    """Of the process that opened the file, and of this one."""
    return torch.utils.data.get_worker_info().dataset._open[0], os.getpid()


def test_workers_open_a_file_for_themselves_that_their_parent_has_open(made):
    from holosig.torch import Neighborhoods

    data = Neighborhoods(made / "dataset.h5")
    assert len(data[0].elements) > 0 and data._open[0] == os.getpid()
    loader = torch.utils.data.DataLoader(
        data, batch_size=8, collate_fn=pids, num_workers=2, multiprocessing_context="fork"
    )
    for opened, worker in loader:
        assert opened == worker != os.getpid()


def test_a_state_dict_has_the_published_names(made):
    with holosig.Checkpoint(made / "run/checkpoints/best.h5") as checkpoint:
        state = checkpoint.state_dict()
    assert state["decoder_bottleneck.weight"].shape == (64, 64)
