"""Late-phase state dicts in files as people have them, and the pickled modules that the training script saves."""

import copy
import pickle
import re
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from late_phase import LatePhase
from torch import Tensor, nn

import hnexport
from hnexport.errors import CheckpointError
from hnexport.networks.wide_resnet.checkpoints import Checkpoint, is_late_phase, load_late_phase
from hnexport.spelling import in_command

PAGE = Path(__file__).parents[4] / "docs/howto/late-phase.md"
CASE = LatePhase(depth=10, width=1, members=2)


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return CASE.state_dict()


@pytest.fixture(scope="module")
def other() -> dict[str, Tensor]:
    return CASE.state_dict(seed=1)


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[object], Path]:
    def save(content: object) -> Path:
        torch.save(content, tmp_path / "wrn.pt")
        return tmp_path / "wrn.pt"

    return save


def behind(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def head(checkpoint: Checkpoint) -> Tensor:
    return checkpoint.tensors["member.output.weight"][1]


PLACES: dict[str, Callable[[dict[str, Tensor]], object]] = {
    "alone": lambda state: state,
    "in a module": lambda state: behind("module._orig_mod.", state),
    "in a container": lambda state: {"epoch": 3, "state_dict": {"net": state}, "optimizer": {"state": {}}},
    "twice": lambda state: {"model": state, "swa_model": dict(state)},
    "of an ensemble": lambda state: behind("models.", state) | {"T": torch.ones(1)},
}


@pytest.mark.parametrize("name", PLACES)
def test_a_state_dict_is_found_wherever_it_lies(
    name: str, state: dict[str, Tensor], saved: Callable[[object], Path]
) -> None:
    path = saved(PLACES[name](state))
    assert is_late_phase(path)
    checkpoint = load_late_phase(path)
    assert torch.equal(head(checkpoint), state["head.no_coef_modules.1.weight"])
    assert checkpoint.origin.startswith("late-phase wrn.pt (sha256 ")


def test_a_safetensors_file_is_read(state: dict[str, Tensor], tmp_path: Path) -> None:
    safetensors.torch.save_file(state, tmp_path / "wrn.safetensors")
    assert is_late_phase(tmp_path / "wrn.safetensors")
    assert torch.equal(head(load_late_phase(tmp_path / "wrn.safetensors")), state["head.no_coef_modules.1.weight"])


def test_of_networks_that_differ_a_prefix_says_which(
    state: dict[str, Tensor], other: dict[str, Tensor], saved: Callable[[object], Path]
) -> None:
    path = saved({"model": state, "swa_model": other})
    with pytest.raises(CheckpointError, match=r"2 late-phase networks that differ: 'model' .*prefix='swa_model'"):
        load_late_phase(path)
    with (
        in_command(),
        pytest.raises(CheckpointError, match=r"say which: --mnet-prefix model or --mnet-prefix swa_model"),
    ):
        load_late_phase(path)
    with pytest.raises(CheckpointError, match=r"prefix='ema': no late-phase network lies there; .*holds .*swa_model"):
        load_late_phase(path, prefix="ema")
    chosen = load_late_phase(path, prefix="swa_model")
    assert torch.equal(head(chosen), other["head.no_coef_modules.1.weight"])
    assert chosen.origin.endswith(", from 'swa_model'")


def test_the_temperature_of_an_ensemble_divides_its_logits(
    state: dict[str, Tensor], saved: Callable[[object], Path], caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = load_late_phase(saved(behind("models.", state) | {"T": torch.full((1,), 2.0)}))
    assert torch.equal(head(checkpoint), state["head.no_coef_modules.1.weight"] / 2)
    assert "divided by its temperature T, 2" in caplog.text
    with pytest.raises(CheckpointError, match="tensor 'T': expected a positive number, found 0"):
        load_late_phase(saved(behind("models.", state) | {"T": torch.zeros(1)}))


def test_of_an_ensemble_of_networks_one_is_chosen_and_the_temperature_is_all_of_theirs(
    state: dict[str, Tensor], other: dict[str, Tensor], saved: Callable[[object], Path]
) -> None:
    path = saved({"ema": behind("models.0.", state) | behind("models.1.", other) | {"T": torch.full((1,), 2.0)}})
    with pytest.raises(CheckpointError, match=r"2 late-phase networks that differ: .*models\.0.*models\.1"):
        load_late_phase(path)
    found = head(load_late_phase(path, prefix="ema.models.1"))
    assert torch.equal(found, other["head.no_coef_modules.1.weight"] / 2)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.bn1, self.fc = nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.bn1(self.layer(x)))


def test_networks_for_imagenet_are_refused_with_the_lines_that_make_modules_of_them(
    saved: Callable[[object], Path],
) -> None:
    changed: Any = Small()
    for layer in (changed.bn1, changed.fc):  # as convert_specialist does
        layer.specialist_modules = nn.ModuleList([copy.deepcopy(layer) for _ in range(3)])
        for number, own in enumerate(layer.specialist_modules):
            nn.init.normal_(own.weight, float(number))
    path = saved({"epoch": 20, "arch": "resnet18", "state_dict": behind("module.", changed.state_dict())})
    assert is_late_phase(path)
    with pytest.raises(CheckpointError, match=r"specialist_modules, as train_super_.*howto/late-phase\.html"):
        load_late_phase(path)
    (lines,) = re.findall(
        r"```python\n[^`]*?^(saved = .*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    for theirs, here in (("torchvision.models.resnet50()", "Small()"), ("…_checkpoint.pth.tar", str(path))):
        lines = lines.replace(theirs, here)
    lines = lines.replace("range(10)", "range(3)").replace("torch.zeros(2, 3, 224, 224)", "torch.zeros(2, 4)")
    names: dict[str, Any] = {"torch": torch, "hnexport": hnexport, "Small": Small}
    exec(lines, names)
    rows = torch.randn(5, 4)
    for number in range(3):
        expected = changed.fc.specialist_modules[number](
            changed.bn1.specialist_modules[number].eval()(changed.layer(rows))
        )
        assert torch.equal(names["ensemble"](number, {"x": rows})["logits"], expected)
    assert "shared.layer.weight" in names["ensemble"].tensors


@pytest.fixture
def their_modules() -> Iterator[types.ModuleType]:
    """Classes under the names of that code's, for as long as a file of them is written."""
    packages = {name: types.ModuleType(name) for name in ("nets", "nets.models")}
    for name in ("HYPERWRN", "VirtualEnsemble"):
        kind = type(name, (nn.Module,), {"__module__": "nets.models"})
        setattr(packages["nets.models"], name, kind)
    sys.modules.update(packages)
    yield packages["nets.models"]
    for name in packages:
        del sys.modules[name]


CONTENTS: dict[str, tuple[Callable[[Any], object], str]] = {
    "what the script saves": (
        lambda nets: {"epoch": 3, "ensembles": nets.VirtualEnsemble(), "model": nets.HYPERWRN()},
        r'\["model"\]',
    ),
    "with moving averages": (
        lambda nets: {"ensembles": nets.VirtualEnsemble(), "model": nets.HYPERWRN(), "swa_model": nets.HYPERWRN()},
        r'\["swa_model"\]',
    ),
    "a module alone": (lambda nets: nets.HYPERWRN(), ""),
}


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", CONTENTS)
def test_pickled_modules_are_refused_with_three_lines_that_make_a_state_dict(
    name: str, legacy: bool, their_modules: types.ModuleType, tmp_path: Path
) -> None:
    content, key = CONTENTS[name]
    path = tmp_path / "final.pth.tar"
    torch.save(content(their_modules), path, _use_new_zipfile_serialization=not legacy)
    assert is_late_phase(path)
    with pytest.raises(CheckpointError, match="never runs code from a checkpoint") as refused:
        load_late_phase(path)
    told = str(refused.value).splitlines()
    load = rf"model = torch.load\('final.pth.tar', pickle_module=dill, map_location='cpu', weights_only=False\){key}"
    assert len(told) == 4
    assert re.fullmatch(load, told[1])
    assert told[2].startswith("model.set_average_specialists(False)")
    assert told[3] == "torch.save(model.state_dict(), 'late-phase.pt')"


def test_a_state_dict_beside_pickled_modules_is_read(
    state: dict[str, Tensor], their_modules: types.ModuleType, saved: Callable[[object], Path]
) -> None:
    path = saved({"state": state, "model": their_modules.HYPERWRN()})
    assert torch.equal(head(load_late_phase(path)), state["head.no_coef_modules.1.weight"])


def test_another_file_is_not_taken_for_one(saved: Callable[[object], Path], tmp_path: Path) -> None:
    assert not is_late_phase(saved({"weight": torch.ones(2)}))
    with pytest.raises(CheckpointError, match=r"expected a late-phase state dict .*found weight|found 'weight'"):
        load_late_phase(tmp_path / "wrn.pt")
    (tmp_path / "empty").write_bytes(b"")
    assert not is_late_phase(tmp_path / "empty")
    with pytest.raises(CheckpointError, match="found nothing"):
        is_late_phase(tmp_path / "nowhere")


def test_what_is_no_tensor_is_refused(state: dict[str, Tensor], saved: Callable[[object], Path]) -> None:
    damaged = {**state, "head.no_coef_modules.1.bias": [1.0]}
    with pytest.raises(CheckpointError, match=r"tensor 'head\.no_coef_modules\.1\.bias': expected a dense tensor"):
        load_late_phase(saved(damaged))


def test_a_pickle_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(pickle.dumps({"no_coef_modules": 1}))
    with pytest.raises(CheckpointError, match=r"x\.pt"):
        load_late_phase(path)
