"""Statistics of each member of any ensemble are those that PyTorch's `update_bn` gives the member's own module."""

import copy
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import update_bn

from hnexport import Ensemble, ModuleRecipe, Rule, Usage
from hnexport.build import BuildOptions, build
from hnexport.errors import HnexportError
from hnexport.factories.made import Asked, source_of
from hnexport.recalibration import Recalibration, recalibrate

TOLERANCE = 1e-6


class Rows(nn.Module):
    """1-D batch norm, one of them called twice, one without a momentum, dropout, and a layer that nothing uses."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm1 = nn.Linear(4, 6), nn.BatchNorm1d(6)
        self.second, self.norm2 = nn.Linear(6, 6), nn.BatchNorm1d(6, momentum=None, affine=False)
        self.drop, self.head, self.idle = nn.Dropout(0.3), nn.Linear(6, 3), nn.BatchNorm1d(5)

    def forward(self, rows: Tensor) -> Tensor:
        x = self.norm1(F.relu(self.norm1(self.first(rows))))
        return self.head(self.drop(self.norm2(self.second(x))))


class Pictures(nn.Module):
    """Two inputs, one without a batch, and 2-D batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Linear(5, 3)

    def forward(self, picture: Tensor, scale: Tensor) -> Tensor:
        return self.head(F.relu(self.norm(self.conv(picture * scale))).mean((2, 3)))


class Volumes(nn.Module):
    """3-D batch norm, the whole network a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv3d(1, 4, 2), nn.BatchNorm3d(4), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3))

    def forward(self, volume: Tensor) -> Tensor:
        return self.layers(volume)


def drawn(*shape: int, seed: int = 1) -> Tensor:
    """Sorted, as files often are: the first half lies elsewhere."""
    made = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    made[: len(made) // 2] -= 2.0
    return made


CASES: dict[str, tuple[type[nn.Module], dict[str, Tensor]]] = {
    "rows": (Rows, {"rows": drawn(61, 4)}),
    "pictures": (Pictures, {"picture": drawn(45, 3, 6, 6), "scale": torch.tensor([1.5]).reshape(1, 1, 1)}),
    "volumes": (Volumes, {"volume": drawn(30, 1, 3, 3, 3)}),
}


def seeded(kind: type[nn.Module], seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return kind().eval()


def examples(inputs: Mapping[str, Tensor]) -> dict[str, Any]:
    dynamic: dict[str, Any] = {"scale": {}} if "scale" in inputs else {}
    cut = {name: tensor if name == "scale" else tensor[:2] for name, tensor in inputs.items()}
    return {"example_inputs": cut, "dynamic_axes": dynamic}


def of_recipe(kind: type[nn.Module], inputs: Mapping[str, Tensor]) -> Ensemble:
    own = "head.*" if kind is not Volumes else "layers.4.*"
    rules = (Rule("*running_*", "shared"), Rule(own, "member"), Rule("*[tv0123456789].weight", "generated"))
    return Ensemble.from_recipe(
        seeded(kind, 0), ModuleRecipe(rules=(*rules, Rule("*", "shared"))), members=3, **examples(inputs)
    )


def of_modules(kind: type[nn.Module], inputs: Mapping[str, Tensor]) -> Ensemble:
    return Ensemble.from_modules([seeded(kind, seed) for seed in range(3)], **examples(inputs))


def by_pytorch(ensemble: Ensemble, member: int, batches: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    class ByName(nn.Module):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, packed: Tensor) -> Tensor:
            return self.network(**batches[int(packed)])

    plain = copy.deepcopy(ensemble.network)
    plain.load_state_dict(ensemble.weights(member), strict=False)
    for part in plain.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    update_bn([torch.tensor(number) for number in range(len(batches))], ByName(plain))
    return plain.state_dict()


def check(found: Recalibration, before: Ensemble, batches: list[dict[str, Tensor]]) -> None:
    differ = 0
    for member in range(before.members):
        expected, weights = by_pytorch(before, member, batches), found.ensemble.weights(member)
        for slot in found.ensemble.slots:
            wanted = expected[slot.name]
            error = (weights[slot.name] - wanted).norm() / wanted.norm().clamp(min=1e-3)
            assert error < TOLERANCE, (member, slot.name)
            differ += not torch.equal(wanted, before.weights(member)[slot.name])
    assert differ == 2 * found.norms * before.members  # mean and variance of every one; the comparison sees it


@pytest.mark.each_once
@pytest.mark.parametrize("make", [of_recipe, of_modules])
@pytest.mark.parametrize("case", CASES)
def test_the_statistics_of_each_member_are_pytorchs(case: str, make: Callable[..., Ensemble]) -> None:
    kind, inputs = CASES[case]
    ensemble = make(kind, inputs)
    tensors = {name: tensor.clone() for name, tensor in ensemble.tensors.items()}
    found = recalibrate(ensemble, inputs, batch_size=15, seed=2)
    count = len(inputs[next(iter(inputs))])
    order = torch.randperm(count, generator=torch.Generator().manual_seed(2)).tensor_split(round(count / 15))
    batches = [{name: value if name == "scale" else value[part] for name, value in inputs.items()} for part in order]
    check(found, ensemble, batches)
    assert (found.samples, found.batches, found.had_own) == (count, len(batches), False)
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in ensemble.tensors.items())  # it stays as it is
    for part in ensemble.network.modules():
        assert not part.training
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            assert part.num_batches_tracked == 0
            assert part.momentum == (None if kind is Rows and part.num_features == 6 and not part.affine else 0.1)


def test_batches_are_taken_as_they_come() -> None:
    kind, inputs = CASES["rows"]
    ensemble = of_recipe(kind, inputs)
    batches = [{"rows": part} for part in inputs["rows"].split([20, 31, 10])]
    found = recalibrate(ensemble, iter(batches))
    check(found, ensemble, batches)
    assert (found.samples, found.batches) == (61, 3)


def test_a_batch_of_one_size_is_taken_as_it_is() -> None:
    kind, inputs = CASES["rows"]
    ensemble = Ensemble.from_modules(
        [seeded(kind, 0), seeded(kind, 1)], example_inputs={"rows": inputs["rows"][:8]}, dynamic_axes={"rows": {}}
    )
    batches = [{"rows": inputs["rows"][:8]}, {"rows": inputs["rows"][8:16]}]
    check(recalibrate(ensemble, batches), ensemble, batches)
    check(recalibrate(ensemble, batches[1]), ensemble, batches[1:])


def test_the_recipe_says_what_became_the_members_own(tmp_path: Path) -> None:
    kind, inputs = CASES["rows"]
    given = of_recipe(kind, inputs).with_usage(Usage(license="MIT"))
    found = recalibrate(given, inputs).ensemble
    assert found.usage == given.usage
    names = [f"norm{number}.running_{leaf}" for number in (1, 2) for leaf in ("mean", "var")]
    assert [name for name in found.tensors if "running_" in name] == [f"member.{name}" for name in names]
    rules = found.source.spec["recipe"]["rules"]
    assert rules[:4] == [{"pattern": name, "source": "member"} for name in names]
    assert {"pattern": "*running_*", "source": "shared"} not in rules  # it would decide for nothing
    recipe = ModuleRecipe(rules=tuple(Rule(rule["pattern"], rule["source"]) for rule in rules))
    again = Ensemble.from_recipe(seeded(kind, 0), recipe, members=3, weights=found.tensors, **examples(inputs))
    with torch.no_grad():
        for member in range(3):
            assert torch.equal(again(member, inputs)["output"], found(member, inputs)["output"])
    assert build(found, tmp_path / "bundle", options=BuildOptions(formats=("onnx",))).parity.passed


def test_a_function_for_the_command_line_returns_what_was_made() -> None:
    kind, inputs = CASES["rows"]
    found = recalibrate(of_recipe(kind, inputs), inputs)
    assert source_of("train.py:make", found.ensemble, Asked()) is found.ensemble


def test_statistics_that_members_have_already_are_estimated_anew() -> None:
    kind, inputs = CASES["rows"]
    first = recalibrate(of_recipe(kind, inputs), {"rows": inputs["rows"][:30]})
    again = recalibrate(first.ensemble, inputs)
    assert again.had_own
    assert [item.name for item in again.ensemble.stored] == [item.name for item in first.ensemble.stored]
    direct = recalibrate(of_recipe(kind, inputs), inputs)
    assert all(torch.equal(tensor, direct.ensemble.tensors[name]) for name, tensor in again.ensemble.tensors.items())


def test_what_changed_is_told_where_it_changed_most() -> None:
    kind, inputs = CASES["rows"]
    given = recalibrate(of_recipe(kind, inputs), inputs).ensemble
    given.tensors["member.norm2.running_mean"][1] += 3.0 * given.weights(1)["norm2.running_var"].add(1e-5).sqrt()
    moved = recalibrate(given, inputs).changes[1]
    assert (moved.member, moved.norm) == (1, "norm2")
    assert moved.mean == pytest.approx(3.0, rel=1e-4)
    assert moved.std == pytest.approx(1.0, rel=1e-4)


def test_inputs_in_other_units_are_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    kind, inputs = CASES["rows"]
    own = recalibrate(of_recipe(kind, inputs), inputs).ensemble
    recalibrate(own, {name: value + 0.5 for name, value in inputs.items()})
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]
    recalibrate(own, {name: value * 255 for name, value in inputs.items()})
    (line,) = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert "times as large: are the inputs those of the training, in its units" in line


def test_a_module_that_is_being_trained_stays_in_training_mode() -> None:
    kind, inputs = CASES["volumes"]
    ensemble = of_recipe(kind, inputs)
    expected = recalibrate(ensemble, inputs).ensemble.tensors
    module = ensemble.trainable().train()
    found = recalibrate(ensemble, inputs).ensemble.tensors
    assert all(part.training for part in module.network.modules())
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert not any(tensor.requires_grad for tensor in found.values())


class Hypernetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.randn(2, 12))

    def forward(self, cond_id: Tensor) -> dict[str, Tensor]:
        return {"0.weight": self.weights.index_select(0, cond_id.reshape(1)).reshape(3, 4)}


def captured() -> Ensemble:
    network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).eval()
    return Ensemble.from_hypernetwork(
        Hypernetwork().eval(), network, members=2, example_inputs={"input": torch.ones(2, 4)}
    )


def tied() -> Ensemble:
    network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.BatchNorm1d(3))
    network[3].running_mean = network[1].running_mean
    return of_list(network)


def of_list(network: nn.Module) -> Ensemble:
    other = copy.deepcopy(network)
    with torch.no_grad():
        other[0].weight.add_(1.0)  # type: ignore[index]
    return Ensemble.from_modules([network.eval(), other.eval()], example_inputs=torch.zeros(2, 4))


def sequence(*layers: nn.Module) -> Callable[[], Ensemble]:
    return lambda: of_list(nn.Sequential(nn.Linear(4, 3), *layers))


ROWS = torch.randn(8, 4)
REFUSED: dict[str, tuple[Callable[[], Ensemble], Any, str]] = {
    "no batch norm": (sequence(nn.LayerNorm(3)), {"input": ROWS}, "has no batch norm: there are no statistics"),
    "over several GPUs": (
        sequence(nn.SyncBatchNorm(3)),
        {"input": ROWS},
        r"1 \(SyncBatchNorm\) normalises over several GPUs in training: put a BatchNorm",
    ),
    "tied": (tied, {"input": ROWS}, r"3 \(BatchNorm1d\) has the statistics of another batch norm"),
    "captured": (captured, {"input": ROWS}, "was captured from networks of your own: let the hypernetwork return"),
    "another name": (sequence(nn.BatchNorm1d(3)), {"rows": ROWS}, "takes input, found rows"),
    "another size": (
        sequence(nn.BatchNorm1d(3)),
        {"input": torch.zeros(8, 5)},
        r"expected input of shape \['batch', 4\], float32, found \[8, 5\], float32",
    ),
    "another dtype": (sequence(nn.BatchNorm1d(3)), {"input": ROWS.double()}, r"float32, found \[8, 4\], float64"),
    "one sample": (sequence(nn.BatchNorm1d(3)), {"input": ROWS[:1]}, "at least 2 samples, .* found 1"),
    "a batch of one": (
        sequence(nn.BatchNorm1d(3)),
        [{"input": ROWS}, {"input": ROWS[:1]}],
        "batch 2 has 1 samples: Expected more than 1 value per channel",
    ),
    "no batches": (sequence(nn.BatchNorm1d(3)), [], "there are no batches"),
    "not finite": (
        sequence(nn.BatchNorm1d(3)),
        {"input": ROWS * float("inf")},
        "1.running_mean of member 0 would be NaN or infinite",
    ),
}


@pytest.mark.parametrize(("make", "given", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_gives_no_statistics_is_refused(make: Callable[[], Ensemble], given: Any, message: str) -> None:
    with pytest.raises(HnexportError, match=message):
        recalibrate(make(), given)
