import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hnexport.errors import CheckpointError
from hnexport.hypernet.generator import WeightGenerator
from hnexport.hypernet.plan import InternalHypernet
from hnexport.networks.wide_resnet.chunking import chunk_parts, plan_chunks
from hnexport.networks.wide_resnet.slots import NetworkSlot, Role, network_slots, slot_source
from hnexport.networks.wide_resnet.spec import RECIPES, PipelineSpec, Recipe, WideResNetSpec
from hnexport.networks.wide_resnet.storage import generator_spec, stored_tensors
from hnexport.spec import Activation, Chunking, HypernetSpec, Source

MakeTensors = Callable[..., dict[str, Tensor]]
MakeSpec = Callable[..., PipelineSpec]

ALL_GENERATED = Recipe(convolution=Source.GENERATED, norm=Source.GENERATED, output=Source.GENERATED)
OUTPUT_SHARED = Recipe(convolution=Source.GENERATED, norm=Source.MEMBER, output=Source.SHARED)
NUMPY_ACTIVATIONS: Mapping[Activation, Callable[[np.ndarray], np.ndarray]] = {
    Activation.RELU: lambda x: np.maximum(x, 0.0),
    Activation.TANH: np.tanh,
    Activation.SIGMOID: lambda x: 1.0 / (1.0 + np.exp(-x)),
    Activation.ELU: lambda x: np.where(x > 0.0, x, np.expm1(x)),
    Activation.NONE: lambda x: x,
}
PIPELINES: dict[str, dict[str, Any]] = {
    "linear": {},
    "gcd": {"hypernet": HypernetSpec(chunking=Chunking.GCD)},
    "bias": {"hypernet": HypernetSpec(bias=True)},
    "embedding sizes": {"hypernet": HypernetSpec(embedding_sizes=(1, 2, 3, 4, 5, 6, 7, 8))},
    "all generated": {"recipe": ALL_GENERATED},
    "all generated, gcd, bias": {"recipe": ALL_GENERATED, "hypernet": HypernetSpec(chunking=Chunking.GCD, bias=True)},
    "one member": {"members": 1},
    **{
        f"hidden layers, {activation}": {
            "recipe": ALL_GENERATED,
            "hypernet": HypernetSpec(
                hidden_layers=(6, 5), bias=activation is not Activation.TANH, activation=activation
            ),
        }
        for activation in Activation
    },
}


@pytest.fixture(params=list(PIPELINES.values()), ids=list(PIPELINES))
def spec(request: pytest.FixtureRequest, make_spec: MakeSpec, make_network: Callable[..., WideResNetSpec]) -> Any:
    return make_spec(network=make_network(blocks_per_group=2, conv_bias=True), **request.param)


def naive_chunks(
    spec: PipelineSpec, hypernet: InternalHypernet, tensors: Mapping[str, Tensor], member: int
) -> list[list[Tensor]]:
    """Chunk by chunk in numpy: the embedding through the layers, cut into the parts."""
    assert spec.hypernet is not None
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    prefix, chunks = f"hypernet.{hypernet.name}", []
    for embedding in arrays[f"{prefix}.embedding"][member]:
        hidden = embedding
        for number in range(1, len(spec.hypernet.hidden_layers) + 1):
            hidden = np.einsum("e,eh->h", hidden, arrays[f"{prefix}.hidden{number}.weight"])
            hidden = hidden + (arrays[f"{prefix}.hidden{number}.bias"] if spec.hypernet.bias else 0.0)
            hidden = NUMPY_ACTIVATIONS[spec.hypernet.activation](hidden)
        flat = np.einsum("e,ec->c", hidden, arrays[f"{prefix}.basis"])
        flat = flat + (arrays[f"{prefix}.bias"] if spec.hypernet.bias else 0.0)
        parts = []
        for part in chunk_parts(spec)[hypernet.name]:
            size = math.prod(part.shape)
            parts.append(torch.from_numpy(flat[:size].reshape(part.shape)))
            flat = flat[size:]
        assert flat.size == 0
        chunks.append(parts)
    return chunks


def test_generated_weights_are_naive_chunks_in_hypnettorchs_assembly(
    spec: PipelineSpec,
    make_tensors: MakeTensors,
    hypnettorch_chunking: Callable[[PipelineSpec], Any],
    hypnettorch_order: Callable[[WideResNetSpec], tuple[NetworkSlot, ...]],
) -> None:
    tensors = make_tensors(spec, dtype=torch.float64)
    generator = WeightGenerator(generator_spec(spec), tensors)
    *_, assemble = hypnettorch_chunking(spec)
    slots = [slot for slot in hypnettorch_order(spec.network) if slot_source(spec, slot) is Source.GENERATED]
    for member in range(spec.members):
        chunks = [
            chunk for hypernet in plan_chunks(spec).hypernets for chunk in naive_chunks(spec, hypernet, tensors, member)
        ]
        weights = generator(torch.tensor(member))
        for slot, expected in zip(slots, assemble(chunks), strict=True):
            torch.testing.assert_close(weights[slot.name], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("statistics", [False, True], ids=["shared statistics", "member statistics"])
@pytest.mark.parametrize("recipe", [*RECIPES.values(), OUTPUT_SHARED], ids=lambda recipe: recipe.name)
def test_what_is_not_generated_is_stored_for_all_or_for_each_member(
    recipe: Recipe, statistics: bool, make_spec: MakeSpec, make_tensors: MakeTensors
) -> None:
    spec = make_spec(recipe=recipe, member_statistics=statistics)
    tensors = make_tensors(spec)
    generator = WeightGenerator(generator_spec(spec), tensors)
    for member in range(spec.members):
        weights = generator(torch.tensor(member))
        for slot in network_slots(spec.network):
            if f"shared.{slot.name}" in tensors:
                assert torch.equal(weights[slot.name], tensors[f"shared.{slot.name}"])
            if f"member.{slot.name}" in tensors:
                assert torch.equal(weights[slot.name], tensors[f"member.{slot.name}"][member])


def test_every_slot_comes_out_in_order_and_in_shape(spec: PipelineSpec, make_tensors: MakeTensors) -> None:
    weights = WeightGenerator(generator_spec(spec), make_tensors(spec))(torch.tensor(0))
    found = [(name, tuple(weight.shape)) for name, weight in weights.items()]
    assert found == [(slot.name, slot.shape) for slot in network_slots(spec.network)]


@pytest.mark.parametrize("cond_id", [-1, 3, 2**40, -(2**63), 2**63 - 1])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"recipe": RECIPES["batch-ensemble"]},
        {"recipe": OUTPUT_SHARED},
        {"recipe": ALL_GENERATED, "hypernet": HypernetSpec(hidden_layers=(4,), bias=True)},
        {"recipe": ALL_GENERATED, "hypernet": HypernetSpec(hidden_layers=(4,), activation=Activation.SIGMOID)},
        {"recipe": RECIPES["batch-ensemble"], "member_statistics": True},
    ],
    ids=["hypernet", "batch-ensemble", "shared output", "relu", "sigmoid", "member statistics"],
)
def test_a_member_that_does_not_exist_has_no_usable_weights(
    changes: dict[str, Any], cond_id: int, make_spec: MakeSpec, make_tensors: MakeTensors
) -> None:
    spec = make_spec(**changes)
    tensors = make_tensors(spec)
    weights = WeightGenerator(generator_spec(spec), tensors)(torch.tensor(cond_id))
    for slot in network_slots(spec.network):
        shared = slot_source(spec, slot) is Source.SHARED
        if shared and slot.role not in (Role.OUTPUT_WEIGHT, Role.OUTPUT_BIAS):
            assert torch.equal(weights[slot.name], tensors[f"shared.{slot.name}"]), slot.name
        else:
            assert weights[slot.name].isnan().all(), slot.name


def test_members_that_exist_have_finite_weights_that_differ(make_spec: MakeSpec, make_tensors: MakeTensors) -> None:
    spec = make_spec()
    generator = WeightGenerator(generator_spec(spec), make_tensors(spec))
    first, second, third = (generator(torch.tensor(member)) for member in range(3))
    for slot in network_slots(spec.network):
        assert first[slot.name].isfinite().all()
        same = slot_source(spec, slot) is Source.SHARED
        assert torch.equal(first[slot.name], second[slot.name]) is same
        assert torch.equal(second[slot.name], third[slot.name]) is same


def test_the_generator_stores_exactly_the_tensors_of_the_table_without_a_copy(
    spec: PipelineSpec, make_tensors: MakeTensors
) -> None:
    tensors = make_tensors(spec)
    generator = WeightGenerator(generator_spec(spec), tensors)
    state = generator.state_dict()
    assert set(state) == set(tensors)
    assert all(state[name].data_ptr() == tensors[name].data_ptr() for name in tensors)
    assert {name for name, _ in generator.named_parameters()} == {
        stored.name for stored in stored_tensors(spec) if stored.trained
    }
    assert not any(parameter.requires_grad for parameter in generator.parameters())


def test_a_stored_tensor_is_found_by_its_name(make_spec: MakeSpec, make_tensors: MakeTensors) -> None:
    spec = make_spec()
    tensors = make_tensors(spec)
    generator = WeightGenerator(generator_spec(spec), tensors)
    assert all(torch.equal(generator.get(name), tensor) for name, tensor in tensors.items())
    with pytest.raises(AttributeError, match="nothing"):
        generator.get("hypernet.input.nothing")


BASIS = "hypernet.group1.rest.basis"
DAMAGE: dict[str, tuple[Callable[[dict[str, Tensor]], object], str]] = {
    "missing": (
        lambda tensors: tensors.pop(BASIS),
        rf"^tensor '{BASIS}' is missing for wrn-10-2-hypernet-3$",
    ),
    "unknown": (
        lambda tensors: tensors.update(extra=torch.zeros(1)),
        r"^tensor 'extra' belongs to no slot for wrn-10-2-hypernet-3$",
    ),
    "several": (
        lambda tensors: (tensors.pop(BASIS), tensors.update(extra=torch.zeros(1))),
        r"is missing for .* \(and 1 more differ\)$",
    ),
    "transposed": (
        lambda tensors: tensors.update({BASIS: tensors[BASIS].t()}),
        rf"^tensor '{BASIS}': expected shape \[14, 1296\], found \[1296, 14\]$",
    ),
    "another number of members": (
        lambda tensors: tensors.update({"member.output.bias": torch.zeros(2, 5)}),
        r"^tensor 'member\.output\.bias': expected shape \[3, 5\], found \[2, 5\]$",
    ),
    "integer": (
        lambda tensors: tensors.update({BASIS: tensors[BASIS].long()}),
        rf"^tensor '{BASIS}': expected a floating-point dtype, found torch\.int64$",
    ),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE.keys())
def test_tensors_of_another_specification_are_refused(
    damage: Callable[[dict[str, Tensor]], object], message: str, make_spec: MakeSpec, make_tensors: MakeTensors
) -> None:
    spec = make_spec()
    tensors = make_tensors(spec)
    damage(tensors)
    with pytest.raises(CheckpointError, match=message):
        WeightGenerator(generator_spec(spec), tensors)
