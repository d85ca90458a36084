"""An ensemble is compared with what the trained model computed, and what is another is not published."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from module_recipes import RECIPES
from safetensors.numpy import save_file
from torch import Tensor, nn

from hnexport import Ensemble
from hnexport.build import BuildOptions, build
from hnexport.bundle.manifest import Format, read_manifest
from hnexport.errors import HnexportError, ParityError
from hnexport.names import PAGE_FILE
from hnexport.parity.trained import NotAsTrainedError, check_trained


class Net(nn.Module):
    def __init__(self, act: Callable[..., Tensor] = torch.nn.functional.gelu, eps: float = 1e-5) -> None:
        super().__init__()
        self.one, self.norm, self.two, self.act = nn.Linear(6, 16), nn.LayerNorm(16, eps=eps), nn.Linear(16, 3), act

    def forward(self, row: Tensor) -> dict[Any, Any]:
        logits = self.two(self.act(self.norm(self.one(row))))
        return {"logits": logits, "choice": logits.argmax(1)}


def networks(**changes: Any) -> list[Any]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return [Net(**changes).eval() for _ in range(3)]


ROWS = torch.randn(70, 6, generator=torch.Generator().manual_seed(1))


def ensemble(**changes: Any) -> Ensemble:
    return Ensemble.from_modules(networks(**changes), example_inputs=ROWS[:2], outputs={"logits": "logits"})


def reference(path: Path, change: Callable[[Any], dict[Any, Any]] | None = None) -> Path:
    """What the networks compute, in float32 as a training script has it."""
    with torch.no_grad():
        raw = [network(ROWS) for network in networks()]
    tensors = {"input.row": ROWS.numpy(), "output.logits": np.stack([one["logits"].numpy() for one in raw])}
    save_file(tensors if change is None else change(tensors), path)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return reference(tmp_path / "trained.safetensors")


def test_what_was_trained_is_the_same(file: Path) -> None:
    assert check_trained(ensemble(), file).relative_l2 < 1e-6


WRONG = {
    "another activation": {"act": torch.relu},
    "nearly the same activation": {"act": lambda x: torch.nn.functional.gelu(x, approximate="tanh")},
    "another epsilon": {"eps": 1e-3},
}


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG.keys())
def test_what_was_not_trained_is_another(changes: dict[str, Any], file: Path) -> None:
    with pytest.raises(NotAsTrainedError, match=r"member 0, output logits: \d+ of 70 samples are others .*relative L2"):
        check_trained(ensemble(**changes), file)


def test_members_in_another_order_are_others(tmp_path: Path) -> None:
    path = reference(tmp_path / "r", lambda t: {**t, "output.logits": np.ascontiguousarray(t["output.logits"][::-1])})
    with pytest.raises(NotAsTrainedError, match="member 0"):
        check_trained(ensemble(), path)
    chosen = reference(
        tmp_path / "c", lambda t: {**t, "output.logits": t["output.logits"][1:], "members": np.array([1, 2])}
    )
    assert check_trained(ensemble(), chosen).relative_l2 < 1e-6


def test_whole_numbers_are_compared_too(tmp_path: Path) -> None:
    with torch.no_grad():
        choice = np.stack([network(ROWS)["choice"].numpy() for network in networks()])
    right = reference(tmp_path / "right", lambda t: {**t, "output.choice": choice})
    assert check_trained(ensemble(), right).relative_l2 < 1e-6
    choice[2, 5] += 1
    with pytest.raises(NotAsTrainedError, match="member 2, output choice: 1 elements are others"):
        check_trained(ensemble(), reference(tmp_path / "wrong", lambda t: {**t, "output.choice": choice}))


def test_a_difference_the_size_of_tf32_is_explained(tmp_path: Path) -> None:
    path = reference(tmp_path / "r", lambda t: {**t, "output.logits": t["output.logits"] * np.float32(1 + 4e-4)})
    with pytest.raises(NotAsTrainedError, match="if a GPU computed the reference with TF32, compute it on the CPU"):
        check_trained(ensemble(), path)


BROKEN = {
    "other names": (lambda t: {"row": t["input.row"]}, "a reference has input.NAME"),
    "another input": (
        lambda t: {**t, "input.mask": t["input.row"]},
        "r: the samples are of .*, the network takes row; each is input.NAME",
    ),
    "an input of another dtype": (
        lambda t: {**t, "input.row": t["input.row"].astype(np.float64)},
        r"r: the samples of row are float64 \[70, 6\], the network takes float32 \[batch, 6\]",
    ),
    "another output": (lambda t: {**t, "output.x": t["output.logits"]}, "an output 'x', the ensemble gives logits"),
    "too few members": (
        lambda t: {**t, "output.logits": t["output.logits"][:2]},
        r"is \[2, 70, 3\], of 2 members, expected 3: .* a tensor members says of which",
    ),
    "no members": (
        lambda t: {**t, "output.logits": t["output.logits"][:0], "members": np.zeros(0, np.int64)},
        r"members is int64 \[0\], expected integers \[member\], at least one",
    ),
    "members in words": (lambda t: {**t, "members": np.eye(3)}, r"members is float64 \[3, 3\], expected integers"),
    "a number": (
        lambda t: {**t, "output.logits": np.array(1.0)},
        r"is \[\], of no members, expected 3: \[member, sample",
    ),
    "not a number": (
        lambda t: {**t, "output.logits": t["output.logits"] * np.float32("nan")},
        "member 0, output logits: the reference is not finite there, which proves nothing",
    ),
    "a member too many": (lambda t: {**t, "members": np.array([0, 1, 3])}, "outputs of a member 3, the ensemble has 3"),
    "fewer samples": (
        lambda t: {**t, "output.logits": np.ascontiguousarray(t["output.logits"][:, :9])},
        r"has the shape \[9, 3\], the ensemble's is \[70, 3\]",
    ),
}


@pytest.mark.parametrize(("change", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_a_file_that_is_no_reference_of_this_ensemble_is_refused(
    change: Callable[[Any], Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(HnexportError, match=message) as caught:
        check_trained(ensemble(), reference(tmp_path / "r", change))
    assert not isinstance(caught.value, NotAsTrainedError)


def test_what_is_no_reference_at_all_is_answered_with_how_to_write_one(tmp_path: Path) -> None:
    torch.save({"row": ROWS}, tmp_path / "r.pt")
    with pytest.raises(ParityError, match=r"r.pt is no safetensors file .*; write it .*howto/from.html#what-"):
        check_trained(ensemble(), tmp_path / "r.pt")
    with pytest.raises(ParityError, match=r"none: there is no such file; write it .*howto/from.html#what-"):
        check_trained(ensemble(), tmp_path / "none")


class Cancels(nn.Module):
    def __init__(self, seed: int) -> None:
        super().__init__()
        self.large = nn.Parameter(1e4 + torch.randn(6, generator=torch.Generator().manual_seed(seed)))

    def forward(self, row: Tensor) -> dict[Any, Any]:
        return {
            "sum": row @ self.large,
            "nothing": (row + self.large) - self.large - row,
            "log": (row - self.large).log(),
        }


def test_what_cannot_be_computed_proves_nothing(tmp_path: Path) -> None:
    made = Ensemble.from_modules([Cancels(0).eval(), Cancels(1).eval()], example_inputs=ROWS[:2])
    with torch.no_grad():
        found = [{**made(member, {"row": ROWS}), "log": torch.zeros(70, 6)} for member in range(2)]
    for name in found[0]:
        output = np.stack([one[name].numpy() for one in found])
        save_file({"input.row": ROWS.numpy(), f"output.{name}": output}, tmp_path / name)
    assert check_trained(made, tmp_path / "sum").tolerance > 1e-5
    with pytest.raises(ParityError, match="output nothing: float32 loses .* of every sample, which proves nothing"):
        check_trained(made, tmp_path / "nothing")
    with pytest.raises(ParityError, match="output log: the ensemble is not finite there, which proves nothing"):
        check_trained(made, tmp_path / "log")


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r").write_text("x")
    with pytest.raises(ParityError, match="is no safetensors file of a reference"):
        check_trained(ensemble(), tmp_path / "r")


def test_a_build_publishes_nothing_that_was_not_trained(file: Path, tmp_path: Path) -> None:
    with pytest.raises(NotAsTrainedError):
        build(ensemble(eps=1e-3), tmp_path / "bundle", options=BuildOptions(reference=file))
    assert not (tmp_path / "bundle").exists()


def test_a_build_says_what_it_compared(file: Path, tmp_path: Path) -> None:
    options = BuildOptions(reference=str(file), formats=(Format.ONNX,))
    built = build(ensemble(), tmp_path / "bundle", options=options)
    found = read_manifest(built.path).as_trained
    assert found == built.manifest.as_trained
    assert (found.file, found.members, found.samples, found.outputs) == (file.name, (0, 1, 2), 70, ("logits",))
    assert 0 < found.relative_l2 < 1e-6
    assert found.tolerance == 1e-5
    line = f"as trained, {file.name}: all 3 members, 70 samples, logits: relative L2 error {found.relative_l2:.1e}, at"
    assert line in (built.path / PAGE_FILE).read_text()


def test_a_recipe_is_what_it_was_when_it_was_trained(tmp_path: Path) -> None:
    case = RECIPES["convolution"]
    trained, inputs = case.ensemble(seed=1), case.inputs(5, 3)
    with torch.no_grad():
        found = [trained(member, inputs) for member in range(case.members)]
    save_file(
        {
            **{f"input.{name}": tensor.numpy() for name, tensor in inputs.items()},
            **{f"output.{name}": np.stack([one[name].numpy() for one in found]) for name in found[0]},
        },
        tmp_path / "r",
    )
    assert check_trained(case.ensemble(weights=trained.tensors), tmp_path / "r").relative_l2 < 1e-6
    with pytest.raises(NotAsTrainedError):
        check_trained(case.ensemble(seed=2), tmp_path / "r")
