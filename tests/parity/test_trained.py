"""An ensemble is compared with what the trained model computed, and what is another is not published."""

import numpy as np
import pytest
import torch
from module_recipes import RECIPES
from safetensors.numpy import save_file
from torch import nn

from hnexport import Ensemble
from hnexport.build import BuildOptions, build
from hnexport.errors import HnexportError, ParityError
from hnexport.parity.trained import NotAsTrainedError, check_trained


class Net(nn.Module):
    def __init__(self, act=torch.nn.functional.gelu, eps=1e-5):
        super().__init__()
        self.one, self.norm, self.two, self.act = nn.Linear(6, 16), nn.LayerNorm(16, eps=eps), nn.Linear(16, 3), act

    def forward(self, row):
        logits = self.two(self.act(self.norm(self.one(row))))
        return {"logits": logits, "choice": logits.argmax(1)}


def networks(**changes):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return [Net(**changes).eval() for _ in range(3)]


ROWS = torch.randn(70, 6, generator=torch.Generator().manual_seed(1))


def ensemble(**changes):
    return Ensemble.from_modules(networks(**changes), example_inputs=ROWS[:2], outputs={"logits": "logits"})


def reference(path, change=None):
    """What the networks compute, in float32 as a training script has it."""
    with torch.no_grad():
        raw = [network(ROWS) for network in networks()]
    tensors = {"input.row": ROWS.numpy(), "output.logits": np.stack([one["logits"].numpy() for one in raw])}
    save_file(tensors if change is None else change(tensors), path)
    return path


@pytest.fixture
def file(tmp_path):
    return reference(tmp_path / "trained.safetensors")


def test_what_was_trained_is_the_same(file):
    assert check_trained(ensemble(), file) < 1e-6


WRONG = {
    "another activation": {"act": torch.relu},
    "nearly the same activation": {"act": lambda x: torch.nn.functional.gelu(x, approximate="tanh")},
    "another epsilon": {"eps": 1e-3},
}


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG.keys())
def test_what_was_not_trained_is_another(changes, file):
    with pytest.raises(NotAsTrainedError, match=r"member 0, output logits: \d+ of 70 samples are others .*relative L2"):
        check_trained(ensemble(**changes), file)


def test_members_in_another_order_are_others(tmp_path):
    path = reference(tmp_path / "r", lambda t: {**t, "output.logits": np.ascontiguousarray(t["output.logits"][::-1])})
    with pytest.raises(NotAsTrainedError, match="member 0"):
        check_trained(ensemble(), path)
    chosen = reference(
        tmp_path / "c", lambda t: {**t, "output.logits": t["output.logits"][1:], "members": np.array([1, 2])}
    )
    assert check_trained(ensemble(), chosen) < 1e-6


def test_whole_numbers_are_compared_too(tmp_path):
    with torch.no_grad():
        choice = np.stack([network(ROWS)["choice"].numpy() for network in networks()])
    right = reference(tmp_path / "right", lambda t: {**t, "output.choice": choice})
    assert check_trained(ensemble(), right) < 1e-6
    choice[2, 5] += 1
    with pytest.raises(NotAsTrainedError, match="member 2, output choice: 1 elements are others"):
        check_trained(ensemble(), reference(tmp_path / "wrong", lambda t: {**t, "output.choice": choice}))


def test_a_difference_the_size_of_tf32_is_explained(tmp_path):
    path = reference(tmp_path / "r", lambda t: {**t, "output.logits": t["output.logits"] * np.float32(1 + 4e-4)})
    with pytest.raises(NotAsTrainedError, match="if a GPU computed the reference with TF32, compute it on the CPU"):
        check_trained(ensemble(), path)


BROKEN = {
    "other names": (lambda t: {"row": t["input.row"]}, "a reference has input.NAME"),
    "another input": (lambda t: {**t, "input.mask": t["input.row"]}, "the samples are of .*, the network takes row"),
    "another output": (lambda t: {**t, "output.x": t["output.logits"]}, "an output 'x', the ensemble gives logits"),
    "too few members": (lambda t: {**t, "output.logits": t["output.logits"][:2]}, "is of 2 members, expected 3"),
    "a member too many": (lambda t: {**t, "members": np.array([0, 1, 3])}, "outputs of a member 3, the ensemble has 3"),
    "fewer samples": (
        lambda t: {**t, "output.logits": np.ascontiguousarray(t["output.logits"][:, :9])},
        r"has the shape \[9, 3\], the ensemble's is \[70, 3\]",
    ),
}


@pytest.mark.parametrize(("change", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_a_file_that_is_no_reference_of_this_ensemble_is_refused(change, message, tmp_path):
    with pytest.raises(HnexportError, match=message) as caught:
        check_trained(ensemble(), reference(tmp_path / "r", change))
    assert not isinstance(caught.value, NotAsTrainedError)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "r").write_text("x")
    with pytest.raises(ParityError, match="is no safetensors file of a reference"):
        check_trained(ensemble(), tmp_path / "r")


def test_a_build_publishes_nothing_that_was_not_trained(file, tmp_path):
    with pytest.raises(NotAsTrainedError):
        build(ensemble(eps=1e-3), tmp_path / "bundle", options=BuildOptions(reference=file))
    assert not (tmp_path / "bundle").exists()


def test_a_recipe_is_what_it_was_when_it_was_trained(tmp_path):
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
    assert check_trained(case.ensemble(weights=trained.tensors), tmp_path / "r") < 1e-6
    with pytest.raises(NotAsTrainedError):
        check_trained(case.ensemble(seed=2), tmp_path / "r")
