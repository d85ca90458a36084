import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.func import functional_call

from hnexport.networks.wide_resnet.chunking import plan_chunks
from hnexport.networks.wide_resnet.initialise import expected_norm_variances, initialise
from hnexport.networks.wide_resnet.module import build_network
from hnexport.networks.wide_resnet.pipeline import Pipeline
from hnexport.networks.wide_resnet.slots import Role, network_slots
from hnexport.networks.wide_resnet.spec import RECIPES, PipelineSpec, Recipe, ShortcutInput, WideResNetSpec
from hnexport.networks.wide_resnet.storage import stored_tensors
from hnexport.spec import Activation, Chunking, HypernetSpec, Source

MakeSpec = Callable[..., PipelineSpec]

ALL_GENERATED = Recipe(convolution=Source.GENERATED, norm=Source.GENERATED, output=Source.GENERATED)
GCD_BIAS = HypernetSpec(chunking=Chunking.GCD, bias=True)
NARROW = WideResNetSpec(blocks_per_group=1, widening=1)
WIDE = WideResNetSpec(blocks_per_group=2, widening=2, feature_maps=(16, 16, 32, 32))
UNEVEN = WideResNetSpec(blocks_per_group=1, widening=3, feature_maps=(16, 16, 16, 8), conv_bias=True)
LINEAR: dict[str, dict[str, Any]] = {
    "published": {},
    "gcd": {"hypernet": HypernetSpec(chunking=Chunking.GCD)},
    "halves": {"hypernet": HypernetSpec(chunking=Chunking.HALVES)},
    "bias": {"hypernet": HypernetSpec(bias=True)},
    "all generated": {"recipe": ALL_GENERATED},
    "all generated, gcd, bias": {"recipe": ALL_GENERATED, "hypernet": GCD_BIAS},
}
NETWORKS = {"narrow": NARROW, "wide": WIDE, "uneven": UNEVEN}


def test_the_tensors_are_those_of_the_table_in_float32(make_spec: MakeSpec) -> None:
    spec = make_spec(recipe=ALL_GENERATED, hypernet=HypernetSpec(hidden_layers=(4,), bias=True), member_statistics=True)
    found = [(name, tuple(tensor.shape)) for name, tensor in initialise(spec, 0).items()]
    assert found == [(stored.name, stored.shape) for stored in stored_tensors(spec)]
    assert {tensor.dtype for tensor in initialise(spec, 0).values()} == {torch.float32}


@pytest.mark.parametrize(
    "changes",
    [{}, {"recipe": RECIPES["batch-ensemble"]}, {"recipe": ALL_GENERATED}],
    ids=["hypernet", "batch-ensemble", "all generated"],
)
def test_one_seed_gives_the_same_numbers_and_another_seed_others(changes: dict[str, Any], make_spec: MakeSpec) -> None:
    spec = make_spec(**changes)
    first, again, other = initialise(spec, 7), initialise(spec, 7), initialise(spec, 8)
    assert all(torch.equal(first[name], again[name]) for name in first)
    drawn = [name for name in first if name.endswith(("embedding", "basis", "conv1.weight", "output.weight"))]
    assert drawn
    assert not any(torch.equal(first[name], other[name]) for name in drawn)


def test_the_global_random_state_is_neither_read_nor_changed(make_spec: MakeSpec) -> None:
    spec = make_spec()
    torch.manual_seed(1)
    first, state = initialise(spec, 0), torch.get_rng_state()
    torch.manual_seed(2)
    second = initialise(spec, 0)
    assert all(torch.equal(first[name], second[name]) for name in first)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.each_once
@pytest.mark.parametrize("changes", LINEAR.values(), ids=LINEAR.keys())
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS.keys())
def test_every_single_generated_kernel_has_the_variance_of_he(
    network: WideResNetSpec, changes: dict[str, Any], make_spec: MakeSpec
) -> None:
    spec = make_spec(network=network, members=2, **changes)
    pipeline = Pipeline.from_seed(spec)
    assembly = plan_chunks(spec).assembly
    kernels = [slot for slot in network_slots(network) if slot.role in (Role.KERNEL, Role.SHORTCUT)]
    for member in range(2):
        weights = pipeline.weights(member)
        for slot in kernels:
            # Chunks of one slot share a basis: in the worst case only the first one's elements are independent.
            independent = assembly[slot.name].pieces[0].size
            variance = 2.0 / math.prod(slot.shape[1:])
            kernel = weights[slot.name]
            assert float(kernel.square().mean()) == pytest.approx(variance, rel=5.0 * math.sqrt(2.0 / independent)), (
                slot.name
            )
            assert abs(float(kernel.mean())) < 5.0 * math.sqrt(variance / independent), slot.name


def second_moments(spec: PipelineSpec, seeds: int) -> dict[str, tuple[float, float]]:
    """For each batch norm: its input's second moment over `running_var`, and its output's; means over all runs."""
    network = build_network(spec.network)
    ratios, outputs = defaultdict(list), defaultdict(list)

    def record(name: str) -> Callable[..., None]:
        def hook(module: Any, inputs: Any, output: torch.Tensor) -> None:
            ratios[name].append(float(inputs[0].square().mean() / module.running_var.mean()))
            outputs[name].append(float(output.square().mean()))

        return hook

    for name, module in network.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.register_forward_hook(record(name))
    for seed in range(seeds):
        pipeline = Pipeline.from_seed(spec, seed)
        images = torch.randn(4, *spec.network.image.shape, generator=torch.Generator().manual_seed(seed))
        for member in range(spec.members):
            functional_call(network, pipeline.weights(member), (images,))
    return {name: (sum(ratios[name]) / len(ratios[name]), sum(outputs[name]) / len(outputs[name])) for name in ratios}


ACTIVATIONS: dict[str, tuple[dict[str, Any], tuple[float, float]]] = {
    **{name: (changes, (0.65, 1.25)) for name, changes in LINEAR.items()},
    "batch-ensemble": ({"recipe": RECIPES["batch-ensemble"]}, (0.65, 1.25)),
    "member statistics": ({"recipe": RECIPES["batch-ensemble"], "member_statistics": True}, (0.65, 1.25)),
    "preactivated": ({"recipe": RECIPES["batch-ensemble"], "shortcut_input": "preactivated"}, (0.65, 1.25)),
    # One random hidden layer scales all kernels of a seed together, so that a mean over few seeds varies more.
    "relu": ({"hypernet": HypernetSpec(hidden_layers=(64, 64))}, (0.5, 2.0)),
    # The longer embeddings of smaller fan-ins saturate tanh, so their kernels stay smaller than He's.
    "tanh": ({"hypernet": HypernetSpec(hidden_layers=(64,), activation=Activation.TANH)}, (0.35, 2.0)),
}


@pytest.mark.each_once
@pytest.mark.parametrize(("changes", "limits"), ACTIVATIONS.values(), ids=ACTIVATIONS.keys())
@pytest.mark.parametrize("network", [NARROW, WIDE], ids=["narrow", "wide"])
def test_the_statistics_of_every_norm_are_those_of_its_input(
    network: WideResNetSpec, changes: dict[str, Any], limits: tuple[float, float], make_spec: MakeSpec
) -> None:
    taken = ShortcutInput(changes.get("shortcut_input", "raw"))
    others = {name: value for name, value in changes.items() if name != "shortcut_input"}
    spec = make_spec(network=replace(network, shortcut_input=taken), members=2, **others)
    moments = second_moments(spec, seeds=10)
    assert len(moments) == 6 * network.blocks_per_group + 1
    low, high = limits
    for name, (ratio, _) in moments.items():
        assert low < ratio < high, name


@pytest.mark.each_once
@pytest.mark.parametrize(
    ("changes", "low", "high"),
    [({}, 0.65, 1.25), ({"recipe": RECIPES["batch-ensemble"]}, 0.8, 1.6)],
    ids=["hypernet", "batch-ensemble"],
)
@pytest.mark.parametrize("network", [NARROW, WIDE], ids=["narrow", "wide"])
def test_activations_after_a_norm_have_a_second_moment_near_that_of_its_scales(
    network: WideResNetSpec, changes: dict[str, Any], low: float, high: float, make_spec: MakeSpec
) -> None:
    for name, (_, output) in second_moments(make_spec(network=network, members=2, **changes), seeds=10).items():
        assert low < output < high, name


def test_the_expected_variances_count_shortcuts_and_blocks(make_spec: MakeSpec) -> None:
    # The stream starts at 2; a shortcut doubles it, a block adds its branch, which has the moment of its norm's scales.
    expected = expected_norm_variances(make_spec(network=WIDE))
    stream = {name: value for name, value in expected.items() if "norm2" not in name}
    assert list(stream.values()) == [2, 5, 6, 13, 14, 29, 30]
    assert {value for name, value in expected.items() if "norm2" in name} == {1.0}
    slots = {slot.name for slot in network_slots(WIDE) if slot.role is Role.NORM_VARIANCE}
    assert set(expected) == slots


def test_without_a_width_change_the_stream_is_not_doubled(make_spec: MakeSpec) -> None:
    expected = expected_norm_variances(make_spec(network=NARROW))
    assert [expected[f"group{group}.block1.norm1.running_var"] for group in (1, 2, 3)] == [2, 3, 7]


def test_member_scales_of_a_batch_ensemble_raise_the_expected_variances(make_spec: MakeSpec) -> None:
    expected = expected_norm_variances(make_spec(network=NARROW, recipe=RECIPES["batch-ensemble"]))
    assert list(expected.values()) == [2, 1.25, 3.25, 1.25, 7.75, 1.25, 16.75]


def test_generated_scales_have_the_moment_that_their_embeddings_length_gives_them(make_spec: MakeSpec) -> None:
    # Group 1 goes from 16 to 32 maps: the chunk of its first convolution (fan-in 16*9) serves half the widest fan-in
    # (32*9), so its embedding is longer by sqrt(2) and the scale after it has a second moment of 2. Likewise group 2.
    spec = make_spec(network=WIDE, recipe=ALL_GENERATED)
    assert list(expected_norm_variances(spec).values()) == [2, 1, 6, 1, 7, 1, 16, 1, 17, 1, 35, 1, 36]


def test_a_network_without_batch_norm_has_no_expected_variances(make_spec: MakeSpec) -> None:
    spec = make_spec(network=WideResNetSpec(blocks_per_group=1, widening=1, batch_norm=False))
    assert expected_norm_variances(spec) == {}
    assert Pipeline.from_seed(spec)(torch.tensor(0), torch.zeros(1, 3, 32, 32)).isfinite().all()
