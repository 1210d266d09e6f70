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


def test_a_state_dict_has_the_published_names(made):
    with holosig.Checkpoint(made / "run/checkpoints/best.h5") as checkpoint:
        state = checkpoint.state_dict()
    assert state["decoder_bottleneck.weight"].shape == (64, 64)
