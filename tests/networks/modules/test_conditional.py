"""A module `forward(cond_id, *inputs)`, captured as it is: guarded, verified, loaded; or refused with the reason."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from thorough import first
from torch import Tensor, nn

from hnexport import Ensemble
from hnexport.build import build
from hnexport.errors import CaptureError, HnexportError, SpecError
from hnexport.names import MODEL_FILE
from hnexport.runtime import load


class Hyper(nn.Module):
    """A hypernetwork of its own kind: FiLM and a generated last layer."""

    def __init__(self, members: int = 3) -> None:
        super().__init__()
        self.embedding = nn.Embedding(members, 6)
        self.film = nn.Linear(6, 16)
        self.generate = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 8 * 2))
        self.body = nn.Linear(4, 8)

    def forward(self, task: Tensor, x: Tensor, weighting: Tensor) -> dict[Any, Any]:
        embedding = self.embedding(task)
        scale, shift = self.film(embedding).chunk(2)
        hidden = torch.relu(self.body(x) * scale + shift) * weighting
        return {"logits": hidden @ self.generate(embedding).reshape(8, 2), "hidden": hidden}


def inputs(batch: int = 2, seed: int = 0) -> dict[Any, Any]:
    random = torch.Generator().manual_seed(seed)
    return {"x": torch.randn(batch, 4, generator=random), "weighting": torch.rand(batch, 8, generator=random)}


@pytest.fixture(scope="module")
def module() -> Hyper:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Hyper().eval()


def test_it_is_built_and_loaded_and_every_member_is_the_modules(module: Hyper, tmp_path: Path) -> None:
    ensemble = Ensemble.from_conditional(module, members=3, example_inputs=inputs(), outputs={"logits": "logits"})
    result = build(ensemble, tmp_path / "bundle")
    assert result.parity.passed
    loaded = load(result.path, check="all")
    session = onnxruntime.InferenceSession(result.path / MODEL_FILE, providers=["CPUExecutionProvider"])
    given = inputs(5, 1)
    arrays = {name: tensor.numpy() for name, tensor in given.items()}
    for member in range(3):
        with torch.no_grad():
            expected = module(torch.tensor(member), **given)
        found = loaded.predict(arrays, member=member)
        logits, hidden = session.run(["logits", "hidden"], {"cond_id": np.array(member), **arrays})
        np.testing.assert_allclose(found["logits"], expected["logits"], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(logits, expected["logits"], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(hidden, expected["hidden"], rtol=1e-4, atol=1e-6)
    for absent in (-1, 3):
        outputs = session.run(None, {"cond_id": np.array(absent), **arrays})
        assert all(np.isnan(output).all() for output in outputs)


def test_the_condition_is_all_that_members_have_of_their_own(module: Hyper) -> None:
    ensemble = Ensemble.from_conditional(module, members=3, example_inputs=inputs())
    own = {item.slot: item.dtype for item in ensemble.stored if item.is_conditional}
    assert own == {"member_id": "int64", "member_zero": "float32"}
    assert {item.slot for item in ensemble.stored} - set(own) == {
        f"module.{name}" for name, _ in module.named_parameters()
    }


def test_it_must_have_as_many_members_as_are_said(module: Hyper) -> None:
    with pytest.raises(SpecError, match="fails for the condition id 3: index out of range"):
        Ensemble.from_conditional(module, members=4, example_inputs=inputs())


class Branching(Hyper):
    def forward(self, task: Tensor, x: Tensor, weighting: Tensor) -> Any | dict[Any, Any]:
        return super().forward(task, x, weighting) if task == 0 else {"logits": x, "hidden": x}


class Listed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tables: Any = nn.ParameterList([torch.ones(4) * number for number in range(3)])

    def forward(self, task: Tensor, x: Tensor) -> Tensor:
        return x * self.tables[task]


class Ignoring(nn.Module):
    def forward(self, task: Tensor, x: Tensor) -> Tensor:
        return x * 2


class Without(nn.Module):
    def forward(self, *, x: Tensor) -> Tensor:
        return x


REFUSED = {
    "a branch": (Branching, inputs(), CaptureError, "a branch or size depends on a tensor's values"),
    "a branch by the condition": (Branching, inputs(), CaptureError, r"select it with index_select\(0, task"),
    "a list by its index": (Listed, torch.zeros(2, 4), HnexportError, "the module"),
    "a condition that is not used": (Ignoring, torch.zeros(2, 4), SpecError, "does not use its condition id"),
    "no condition": (Without, {"x": torch.zeros(2, 4)}, SpecError, "takes no condition id as its first parameter"),
}


@pytest.mark.parametrize(("make", "given", "error", "message"), first(2, REFUSED.values()), ids=REFUSED.keys())
def test_what_cannot_be_captured_is_refused(
    make: Callable[..., Any], given: Tensor | dict[str, Tensor], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Ensemble.from_conditional(make().eval(), members=3, example_inputs=given)


def test_training_mode_and_no_members_are_refused(module: Hyper) -> None:
    with pytest.raises(SpecError, match="in training mode"):
        Ensemble.from_conditional(Hyper(), members=3, example_inputs=inputs())
    with pytest.raises(SpecError, match="members: expected a whole number of at least 1, found 0"):
        Ensemble.from_conditional(module, members=0, example_inputs=inputs())


class Scene(nn.Module):
    """A hypernetwork of a vector beside the condition id: the weights of a small network for each scene."""

    def __init__(self) -> None:
        super().__init__()
        self.hyper = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4 * 8 + 8 + 8 * 3 + 3))
        self.embedding = nn.Embedding(2, 6)

    def forward(self, cond_id: Tensor, condition: Tensor, x: Tensor) -> Tensor:
        weights = self.hyper(condition + self.embedding(cond_id))
        first, bias, last, shift = weights.split([32, 8, 24, 3])
        return torch.tanh(x @ first.view(4, 8) + bias) @ last.view(8, 3) + shift


@pytest.mark.thorough
def test_a_vector_is_an_input_without_a_batch(tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        module = Scene().eval()
    ensemble = Ensemble.from_conditional(
        module,
        members=2,
        example_inputs={"condition": torch.randn(6), "x": torch.randn(2, 4)},
        dynamic_axes={"condition": {}, "x": {0: "batch"}},
        outputs=("rgb",),
    )
    loaded = load(build(ensemble, tmp_path / "bundle").path, check="all")
    random = np.random.default_rng(0)
    for batch in (1, 5):
        for member in range(2):
            condition, x = (random.standard_normal(shape, dtype=np.float32) for shape in ((6,), (batch, 4)))
            with torch.no_grad():
                expected = module(torch.tensor(member), torch.from_numpy(condition), torch.from_numpy(x))
            found = loaded.predict({"condition": condition, "x": x}, member=member)
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
