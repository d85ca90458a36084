"""Statistics of each member are those that training with a set of its own would have left."""

import dataclasses
from typing import Any

import pytest
import torch
from bundles import small_spec, trained_tensors
from torch import Tensor, nn

from hnexport.errors import HnexportError
from hnexport.networks.wide_resnet.checkpoints import Checkpoint, recalibrate
from hnexport.networks.wide_resnet.module import WideResNet
from hnexport.networks.wide_resnet.pipeline import Pipeline
from hnexport.networks.wide_resnet.spec import ImageLayout, PipelineSpec
from hnexport.spec import BasisDtype
from hnexport.spec.usage import Normalisation, Usage

SPEC = small_spec("hypernet")
SAID = Usage(normalisation=Normalisation(mean=(0.5,), std=(0.25,)), license="mit", assumed=("image-size",))


def checkpoint_of(spec: PipelineSpec = SPEC) -> Checkpoint:
    return Checkpoint(spec=spec, tensors=trained_tensors(spec), origin="a test")


def images(count: int = 50) -> Tensor:
    """Sorted, as files often are: the first half is dark."""
    made = torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    return made + torch.where(torch.arange(count) < count / 2, -2.0, 2.0)[:, None, None, None]


def by_hand(checkpoint: Checkpoint, member: int, given: Tensor, batches: int) -> dict[str, Tensor]:
    """PyTorch's own: cumulative averages of a plain network in training mode."""
    plain = WideResNet(dataclasses.replace(checkpoint.spec.network, dropout=0.0))
    plain.load_state_dict(Pipeline(checkpoint.spec, checkpoint.tensors).weights(member), strict=False)
    for part in plain.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.reset_running_stats()
            part.momentum = None
    order = torch.randperm(len(given), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for chosen in order.tensor_split(batches):
            plain.train()(given[chosen])
    return {name: tensor for name, tensor in plain.state_dict().items() if "running_" in name}


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("had_own", [False, True])
def test_each_members_statistics_are_those_of_its_plain_network(had_own: bool, dropout: float) -> None:
    network = dataclasses.replace(SPEC.network, dropout=dropout)
    checkpoint = checkpoint_of(dataclasses.replace(SPEC, member_statistics=had_own, network=network)).with_usage(SAID)
    kept = {name: tensor.clone() for name, tensor in checkpoint.tensors.items()}
    found = recalibrate(checkpoint, images(), batch_size=20)
    made = found.checkpoint
    assert (found.images, found.batches, found.norms, found.had_own) == (50, 2, 7, had_own)
    assert made.spec == dataclasses.replace(checkpoint.spec, member_statistics=True)
    assert made.origin == "a test; batch-norm statistics of each member estimated from 50 images"
    assert made.usage == SAID
    for member in range(3):
        for name, expected in by_hand(checkpoint, member, images(), 2).items():
            torch.testing.assert_close(made.tensors[f"member.{name}"][member], expected, rtol=1e-4, atol=1e-5)
    for name, tensor in kept.items():
        assert torch.equal(checkpoint.tensors[name], tensor)  # the given one is as it was
        if "running_" not in name:
            assert torch.equal(made.tensors[name], tensor)


def test_what_was_estimated_stays_when_it_is_estimated_again() -> None:
    first = recalibrate(checkpoint_of(), images(), batch_size=20)
    again = recalibrate(first.checkpoint, images(), batch_size=20)
    assert all(
        torch.equal(again.checkpoint.tensors[name], first.checkpoint.tensors[name]) for name in first.checkpoint.tensors
    )
    assert [(change.mean, round(change.std, 6)) for change in again.changes] == [(0.0, 1.0)] * 3
    assert again.had_own


def test_changes_say_where_a_members_mean_moved_most_and_by_how_much() -> None:
    checkpoint = recalibrate(checkpoint_of(), images(), batch_size=20).checkpoint
    moved = {name: tensor.clone() for name, tensor in checkpoint.tensors.items()}
    std = moved["member.group2.block1.norm2.running_var"][1].sqrt()
    moved["member.group2.block1.norm2.running_mean"][1] += 3 * std
    moved["member.group2.block1.norm2.running_var"][1] *= 4
    found = recalibrate(dataclasses.replace(checkpoint, tensors=moved), images(), batch_size=20).changes
    assert [change.member for change in found] == [0, 1, 2]
    assert found[1].norm == "group2.block1.norm2"
    assert found[1].mean == pytest.approx(1.5, rel=1e-3)
    assert found[1].std == pytest.approx(0.5, rel=1e-3)
    assert found[0].mean == found[2].mean == 0.0


def test_one_member_keeps_its_statistics_where_they_are() -> None:
    spec = dataclasses.replace(SPEC, members=1)
    found = recalibrate(checkpoint_of(spec), images()).checkpoint
    assert found.spec == spec
    expected = by_hand(checkpoint_of(spec), 0, images(), 1)["norm.running_var"]
    torch.testing.assert_close(found.tensors["shared.norm.running_var"], expected, rtol=1e-4, atol=1e-5)


def test_bases_in_float16_stay_so_and_pixels_are_taken_as_the_graph_takes_them() -> None:
    spec = small_spec("pixels")
    checkpoint = checkpoint_of(spec).with_bases(BasisDtype.FLOAT16)
    pixels = torch.randint(0, 256, (20, 8, 8, 3), dtype=torch.uint8)
    found = recalibrate(checkpoint, pixels).checkpoint
    assert spec.image_layout is ImageLayout.NHWC
    assert found.tensors["hypernet.input.basis"].dtype is torch.float16
    assert found.spec.preprocess == spec.preprocess


REFUSED: dict[str, tuple[dict[str, Any], Tensor, int, str]] = {
    "no batch norm": (
        {"network": dataclasses.replace(SPEC.network, batch_norm=False)},
        images(4),
        100,
        "has no batch norm: there are no statistics to estimate",
    ),
    "one image": ({}, images(4)[:1], 100, "at least 2 images, .* found 1"),
    "batches of one": ({}, images(4), 1, "batches of at least 2 images, found 1"),
    "another size": ({}, torch.zeros(4, 3, 9, 8), 100, r"expected images of shape \['batch', 3, 8, 8\]"),
}


@pytest.mark.parametrize(("changes", "given", "batch_size", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_gives_no_statistics_is_refused(
    changes: dict[str, Any], given: Tensor, batch_size: int, message: str
) -> None:
    with pytest.raises(HnexportError, match=message):
        recalibrate(checkpoint_of(dataclasses.replace(SPEC, **changes)), given, batch_size=batch_size)
