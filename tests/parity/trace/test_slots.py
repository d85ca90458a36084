"""A slot is told by names where they survive, else by numbers, and left out where nothing tells it."""

import numpy as np
import pytest
import torch

from hnexport.parity.trace import Call, Given
from hnexport.parity.trace.slots import find_slots, tensor_error

LIMIT = 1e-5


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def call(name: str, **tensors: torch.Tensor) -> Call:
    return Call(name=name, tensors={role: tensor.numpy() for role, tensor in tensors.items()})


EXPECTED = {"a.weight": normal(4, 3, seed=1), "a.bias": normal(4, seed=2), "b.weight": normal(4, 3, seed=3)}


def test_the_name_of_the_node_decides_before_the_numbers() -> None:
    swapped = Given(
        named={}, calls=(call("a/Gemm", weight=EXPECTED["b.weight"]), call("b/Gemm", weight=EXPECTED["a.weight"]))
    )
    found = find_slots(EXPECTED, swapped, LIMIT)
    assert all(found[slot].certain and found[slot].error > 1 for slot in ("a.weight", "b.weight"))


def test_without_names_an_operator_with_the_modules_tensors_is_the_modules_in_any_order() -> None:
    calls = (
        call("1/mm", weight=EXPECTED["b.weight"]),
        call("2/addmm", weight=EXPECTED["a.weight"], bias=EXPECTED["a.bias"]),
    )
    found = find_slots(EXPECTED, Given(named={}, calls=calls), LIMIT)
    assert {slot: seen.error for slot, seen in found.items()} == dict.fromkeys(EXPECTED, 0.0)


def test_an_operator_of_the_right_shapes_is_taken_without_certainty() -> None:
    calls = (
        call("1/mm", weight=EXPECTED["a.weight"], bias=EXPECTED["a.bias"]),
        call("2/mm", weight=normal(4, 3, seed=9)),
    )
    found = find_slots(EXPECTED, Given(named={}, calls=calls), LIMIT)
    assert not found["b.weight"].certain
    assert found["b.weight"].error > 1


def test_the_value_of_a_slots_name_counts_where_no_operator_is_the_modules() -> None:
    given = Given(named={"a.bias": 2 * EXPECTED["a.bias"].numpy()}, calls=())
    found = find_slots(EXPECTED, given, LIMIT)
    assert list(found) == ["a.bias"]
    assert found["a.bias"].error > 0.1


@pytest.mark.parametrize(
    "tensor", [normal(3, 4), normal(3, 4).t().contiguous(), normal(3, 4).reshape(1, 3, 4), normal(3, 4).reshape(12)]
)
def test_a_tensor_is_a_slots_in_another_shape_or_transposed(tensor: torch.Tensor) -> None:
    found = find_slots({"positions": normal(3, 4)}, Given(named={}, calls=(), loose=(tensor.numpy(),)), LIMIT)
    assert found["positions"].error == 0.0
    assert found["positions"].certain  # not as the one tensor that is left over


def test_an_exporters_own_scale_is_no_layers_weight() -> None:
    calls = (call("norm/InstanceNormalization", weight=torch.ones(2)),)
    assert find_slots({"norm.weight": normal(4)}, Given(named={}, calls=calls), LIMIT) == {}


def test_a_slot_that_nothing_tells_is_left_out() -> None:
    assert find_slots(EXPECTED, Given(named={}, calls=()), LIMIT) == {}


def test_integers_differ_by_all_or_nothing() -> None:
    order = torch.tensor([2, 0, 1])
    assert tensor_error(np.array([2, 0, 1]), order) == 0.0
    assert tensor_error(np.array([2, 1, 0]), order) == float("inf")
    assert tensor_error(np.array([True, False]), torch.tensor([True, False])) == 0.0


def test_a_mask_is_no_floating_point_tensor() -> None:
    assert tensor_error(np.array([True]), torch.ones(1)) == float("inf")


def test_nothing_has_no_error() -> None:
    assert tensor_error(np.empty((0, 3), dtype=np.float32), torch.empty(0, 3)) == 0.0
