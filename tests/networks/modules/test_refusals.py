"""What is no list of modules of one architecture is refused, with the place and what to do."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from module_ensembles import Cnn, Transformer, members, random_inputs
from torch import Tensor, nn
from torch.nn import functional as F

from hnexport.ensemble import Ensemble
from hnexport.errors import CaptureError, HnexportError, SpecError
from hnexport.export import capture

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A linear layer, and what a case does with it."""

    def __init__(self, run: Callable[..., Any], **attributes: Any) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        for name, value in attributes.items():
            setattr(self, name, value)
        self._run = run

    def forward(self, x: Tensor) -> Any:
        return self._run(self, x)


def plain(self: Net, x: Tensor) -> Tensor:
    return self.layer(x)


def two(run: Callable[..., Any] = plain, **attributes: Callable[[int], Any]) -> list[nn.Module]:
    return [Net(run, **{name: make(number) for name, make in attributes.items()}).eval() for number in range(2)]


def but(change: Callable[[Any], Any], modules: list[nn.Module] | None = None) -> list[nn.Module]:
    """The second member is changed."""
    modules = modules or two()
    change(modules[1])
    return modules


def norm(**options: Any) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.BatchNorm1d(3, **options))).eval()


class Tied(nn.Module):
    def __init__(self, tied: bool) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4, bias=False)
        if tied:
            self.b.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x))


class Counting(nn.Module):
    calls: Tensor

    def __init__(self, assign: bool) -> None:
        super().__init__()
        self.layer, self.assign = nn.Linear(4, 3), assign
        self.register_buffer("calls", torch.tensor(0.0))

    def forward(self, x: Tensor) -> Tensor:
        if self.assign:
            self.calls = self.calls + 1
        else:
            self.calls += 1
        return self.layer(x) * self.calls


def no_deepcopy(self: Any, memo: Any) -> Any:
    raise TypeError("cannot be copied")


def poisoned(value: float) -> Callable[[Any], None]:
    def change(module: Any) -> None:
        with torch.no_grad():
            module.layer.weight[0, 0] = value

    return change


DIFFERENT: dict[str, tuple[Callable[[], list[nn.Module]], str]] = {
    "an eps": (lambda: [norm(), norm(eps=0.1)], r"member 1 differs .* in 1.0 \(BatchNorm1d\).*0\.1.*1e-05"),
    "a float attribute": (
        lambda: two(lambda self, x: self.layer(x) * self.scale, scale=lambda number: 1.0 + number),
        r"member 1 differs .* in its forward \(Net\): `mul .*2\.0.*, there .*1\.0",
    ),
    "an integer attribute": (
        lambda: two(lambda self, x: self.layer(x).roll(self.by, 1), by=lambda number: 1 + number),
        "member 1 differs .* in its forward",
    ),
    "a plain tensor attribute": (
        lambda: two(lambda self, x: self.layer(x) * self.scale, scale=lambda number: torch.tensor(1.0 + number)),
        "member 1 differs .* the plain tensor attribute scale .*register_buffer",
    ),
    "a literal": (
        lambda: two(lambda self, x: self.layer(x) + torch.tensor(self.by), by=lambda number: [1.0, 2.0, 3.0 + number]),
        "member 1 differs .* a tensor that forward makes",
    ),
    "a closure": (
        lambda: two(lambda self, x: self.scale(self.layer(x)), scale=lambda number: lambda y: y * (number + 1)),
        "member 1 differs .* in its forward",
    ),
    "a function of another kind": (
        lambda: two(lambda self, x: self.act(self.layer(x)), act=lambda number: [torch.tanh, torch.sigmoid][number]),
        "member 1 differs .*sigmoid.* there .*tanh",
    ),
    "another layer": (
        lambda: [nn.Sequential(nn.Linear(4, 3), act()).eval() for act in (nn.ReLU, nn.Tanh)],
        r"member 1 differs .* in 1 \(Tanh\)",
    ),
    "another slope": (
        lambda: [nn.Sequential(nn.Linear(4, 3), nn.LeakyReLU(slope)).eval() for slope in (0.1, 0.2)],
        r"member 1 differs .* in 1 \(LeakyReLU\)",
    ),
    "one layer more": (
        lambda: [nn.Sequential(nn.Linear(4, 4), *[nn.ReLU()] * number).eval() for number in (0, 1)],
        r"member 1 differs .* in 1 \(ReLU\)",
    ),
    "no bias": (
        lambda: [nn.Linear(4, 3).eval(), nn.Linear(4, 3, bias=False).eval()],
        "member 1 differs .* it has no tensor bias",
    ),
    "a bias": (
        lambda: [nn.Linear(4, 3, bias=False).eval(), nn.Linear(4, 3).eval()],
        "member 1 differs .* it uses bias",
    ),
    "another shape": (
        lambda: [nn.Linear(4, 3).eval(), nn.Linear(4, 5).eval()],
        r"member 1 differs .* weight is float32 \[5, 4\], there float32 \[3, 4\]",
    ),
    "another dtype": (
        lambda: [nn.Linear(4, 3).eval(), nn.Linear(4, 3).double().eval()],
        "member 1 differs .* weight is float64",
    ),
    "tied in the first": (
        lambda: [Tied(True).eval(), Tied(False).eval()],
        "member 1 differs .* b.weight is tied to a.weight there, and not in it",
    ),
    "tied in the second": (
        lambda: [Tied(False).eval(), Tied(True).eval()],
        "member 1 differs .* b.weight is tied to a.weight in it, and not there",
    ),
    "a hook": (
        lambda: but(lambda module: module.layer.register_forward_hook(lambda _m, _i, output: output * 2)),
        r"member 1 differs .* in layer \(Linear\)",
    ),
    "a hook of the whole": (
        lambda: but(lambda module: module.register_forward_hook(lambda _m, _given, output: output * 2)),
        "member 1 differs",
    ),
    "stochastic depth by a flag": (
        lambda: two(lambda self, x: x[:, :3] if self.skip else self.layer(x), skip=lambda number: number == 1),
        "member 1 differs .* it does not use layer.weight",
    ),
}


@pytest.mark.parametrize(("make", "message"), DIFFERENT.values(), ids=DIFFERENT)
def test_members_that_differ_in_more_than_tensors_are_refused_with_the_place(
    make: Callable[[], list[nn.Module]], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        Ensemble.from_modules(make(), example_inputs=X)


def compiled(module: nn.Module) -> nn.Module:
    module.compile()
    return module


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "nothing": (list, "the list of modules is empty"),
    "one module, no list": (lambda: two()[0], "expected a list of modules, found one Net"),
    "a Sequential, no list": (lambda: nn.Sequential(*two()), "expected a list of modules, found one Sequential"),
    "a state dict": (lambda: [two()[0], two()[1].state_dict()], "member 1 is of type OrderedDict, no torch.nn.Module"),
    "the same object twice": (lambda: two()[:1] * 2, "member 1 is the same object as member 0.*deepcopy"),
    "training mode": (
        lambda: [two()[0], Net(plain)],
        r"member 1 \(Net\) is in training mode, with 1 of its modules: call net.eval",
    ),
    "dropout left in training": (
        lambda: but(
            lambda module: module[1].train(), [nn.Sequential(nn.Linear(4, 3), nn.Dropout()).eval() for _ in "12"]
        ),
        r"member 1: 1 \(Dropout\) is in training mode",
    ),
    "batch norm left in training": (
        lambda: but(lambda module: module[1][0].train(), [norm(), norm()]),
        r"member 1: 1.0 \(BatchNorm1d\) is in training mode",
    ),
    "a counter": (lambda: [Counting(False).eval()], "forward writes into its buffer calls"),
    "an assigned counter": (lambda: [Counting(True).eval()], "forward writes into its buffer calls"),
    "a written input": (lambda: two(lambda self, x: self.layer(x.add_(1))), "forward writes into its input x.*clone"),
    "no running statistics": (
        lambda: [norm(track_running_stats=False)],
        r"1.0 \(BatchNorm1d\) has no running statistics",
    ),
    "a mean over the batch": (
        lambda: two(lambda self, x: self.layer(x - x.mean(0))),
        "output output of one sample depends on the other samples",
    ),
    "the largest number of the batch": (
        lambda: two(lambda self, x: self.layer(x) * x.abs().max()),
        "output output of one sample depends on the other samples",
    ),
    "a branch on the batch size": (
        lambda: two(lambda self, x: self.layer(x) if x.shape[0] > 1 else self.layer(x) * 2),
        "with the axis batch of size 1 .*remove what depends on the size",
    ),
    "squeeze": (
        lambda: two(lambda self, x: self.layer(x).squeeze()),
        r"with the axis batch of size 1 forward returns output with the shape \[3\], not \[1, 3\]",
    ),
    "a size of the batch baked in": (
        lambda: two(lambda self, x: self.layer(x) * len(range(x.shape[0]))),
        "torch.export cannot capture member 0: .*batch",
    ),
    "dropout by function": (lambda: two(lambda self, x: F.dropout(self.layer(x))), "dropout .* draws random numbers"),
    "noise": (lambda: two(lambda self, x: self.layer(x) + torch.randn(3)), "randn .* draws random numbers"),
    "no floating-point output": (lambda: two(lambda self, x: self.layer(x).argmax(1)), "no output is floating-point"),
    "nothing returned": (lambda: two(lambda self, x: None), "forward returns no tensor"),
    "text returned": (lambda: two(lambda self, x: (self.layer(x), "a")), "forward returns 'a' as output1"),
    "a size returned": (
        lambda: two(lambda self, x: {"y": self.layer(x), "n": x.shape[0]}),
        "forward returns a .* as n",
    ),
    "a float16 output": (lambda: two(lambda self, x: self.layer(x).half()), "output output is float16"),
    "bfloat16 inside": (
        lambda: two(lambda self, x: F.linear(x.bfloat16(), self.layer.weight.bfloat16()).float()),
        "linear in its forward .* computes in bfloat16",
    ),
    "the batch is not first": (lambda: two(lambda self, x: self.layer(x).T), "batch must be the first axis"),
    "the batch is not alone": (lambda: two(lambda self, x: self.layer(x).flatten()), "batch must be the first axis"),
    "a size that depends on values": (
        lambda: two(lambda self, x: (self.layer(x), x[x > 0])),
        "output output1 has a size that depends on the inputs' values",
    ),
    "NaN": (lambda: but(poisoned(torch.nan)), "member 1: layer.weight is NaN or infinite in 1 of its 12"),
    "infinity": (
        lambda: but(poisoned(-torch.inf)),
        "member 1: layer.weight is NaN or infinite in 1 of its 12 elements",
    ),
    "a NaN buffer": (
        lambda: two(
            lambda self, x: self.layer(x) + self.held.mean(),
            held=lambda number: nn.Buffer(torch.full((2,), torch.nan)),
        ),
        "held is NaN",
    ),
    "the meta device": (lambda: but(lambda module: module.to("meta")), "member 1: layer.weight is on the meta device"),
    "sparse": (
        lambda: two(
            lambda self, x: self.layer(x) + self.held.to_dense(),
            held=lambda number: nn.Parameter(torch.eye(3)[0].to_sparse()),
        ),
        "held is torch.sparse_coo: make it dense",
    ),
    "complex": (
        lambda: two(
            lambda self, x: self.layer(x) + self.held.real,
            held=lambda number: nn.Parameter(torch.zeros(3, dtype=torch.complex64)),
        ),
        "held is complex64",
    ),
    "compiled": (lambda: [torch.compile(module) for module in two()], "member 0 is compiled: .*_orig_mod"),
    "compiled in place": (lambda: but(compiled), "member 1 is compiled in place"),
    "DataParallel": (lambda: [nn.DataParallel(module).eval() for module in two()], "DataParallel: give .*net.module"),
    "a reserved slot": (
        lambda: two(lambda self, x: self.layer(x) + self.cond_id, cond_id=lambda number: nn.Parameter(torch.zeros(3))),
        "the slot 'cond_id' is reserved: rename the attribute",
    ),
    "a slot called as an input": (
        lambda: two(lambda self, x: self.layer(x) + self.x, x=lambda number: nn.Parameter(torch.zeros(3))),
        "the input 'x' is the name of a slot too",
    ),
    "a slot with a slash": (
        lambda: two(lambda self, x: self.parts["a/b"](x), parts=lambda number: nn.ModuleDict({"a/b": nn.Linear(4, 3)})),
        "the slot 'parts.a/b.weight' cannot have this name",
    ),
    "a reserved output": (
        lambda: two(lambda self, x: {"cond_ids": self.layer(x)}),
        "the output 'cond_ids' is reserved",
    ),
    "an output called as an input": (
        lambda: two(lambda self, x: {"x": self.layer(x)}),
        "'x' is an input and an output",
    ),
}


@pytest.mark.parametrize(("make", "message"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_an_ensemble_is_refused_with_what_to_do(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(HnexportError, match=message):
        Ensemble.from_modules(make(), example_inputs=X)


def test_an_uninitialised_module_is_refused() -> None:
    modules = [nn.LazyLinear(3).eval()]
    with pytest.raises(SpecError, match="member 0: weight is not initialised yet"):
        Ensemble.from_modules(modules, example_inputs=X)


def test_torchscript_is_refused() -> None:
    with pytest.raises(SpecError, match="member 0 is TorchScript already"):
        Ensemble.from_modules([torch.jit.script(nn.Linear(4, 3)).eval()], example_inputs=X)


def test_a_branch_on_values_is_refused_with_the_exporters_reason() -> None:
    modules = two(lambda self, x: self.layer(x) if x.sum() > 0 else x[:, :3])
    with pytest.raises(CaptureError, match=r"cannot capture member 0: .*data-dependent.*torch\.where or torch\.cond"):
        Ensemble.from_modules(modules, example_inputs=X)


def test_members_that_hide_a_difference_from_the_exporter_are_refused() -> None:
    """A difference that the captured graphs do not show is seen when the members run."""

    class Hidden(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.layer, self.factor = nn.Linear(4, 3), factor

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x) * (1.0 if torch.compiler.is_exporting() else self.factor)

    with pytest.raises(SpecError, match="forward does not do|depends on more than its tensors"):
        Ensemble.from_modules([Hidden(1.0).eval(), Hidden(2.0).eval()], example_inputs=X)


class BySum(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cond(x.sum() > 0, lambda x: self.a(x), lambda x: self.b(x), (x,))


def test_a_branch_by_the_sum_of_the_batch_is_refused() -> None:
    torch._dynamo.reset()  # what other tests compiled is in the way of another capture of `torch.cond`
    with pytest.raises(SpecError, match="of one sample depends on the other samples of its batch"):
        Ensemble.from_modules([BySum().eval(), BySum().eval()], example_inputs=X)


def test_a_refused_list_leaves_its_modules_as_they_were() -> None:
    module = Counting(False).eval()
    with pytest.raises(SpecError, match="writes into its buffer calls"):
        Ensemble.from_modules([module], example_inputs=X)
    assert module.calls.item() == 0


def test_deep_copies_are_members_of_their_own() -> None:
    module = Cnn().eval()
    ensemble = Ensemble.from_modules([module, copy.deepcopy(module)], example_inputs=torch.zeros(1, 3, 16, 16))
    assert all(item.name.startswith("shared.") for item in ensemble.stored)


def test_modules_that_cannot_be_copied_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Transformer, "__deepcopy__", no_deepcopy, raising=False)
    inputs = {"tokens": torch.zeros(1, 12, dtype=torch.int64), "weighting": torch.ones(1, 12)}
    assert Ensemble.from_modules(members(Transformer, 2), example_inputs=inputs).members == 2


def test_frozen_parameters_are_taken() -> None:
    modules = [module.requires_grad_(False) for module in members(Cnn, 2)]
    ensemble = Ensemble.from_modules(modules, example_inputs=random_inputs(2, image=(3, 16, 16)))
    assert all(slot.trained for slot in ensemble.slots)


class Neighbours(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.out = nn.Embedding(5, 4), nn.Linear(4, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        pooled = self.embed(tokens.long()).mean(1)
        return self.out(pooled - pooled.mean(0))


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool], ids=str)
@pytest.mark.parametrize("example", [torch.zeros, torch.ones], ids=["zeros", "ones"])
def test_samples_that_depend_on_each_other_are_refused_also_where_the_example_is_constant(
    dtype: torch.dtype, example: Callable[..., Any]
) -> None:
    with pytest.raises(SpecError, match="of one sample depends on the other samples of its batch"):
        Ensemble.from_modules([Neighbours().eval()], example_inputs=example(1, 3, dtype=dtype))


@pytest.mark.parametrize("part", ["", "0"], ids=["the whole", "a part"])
def test_a_network_that_was_put_back_into_training_mode_is_not_captured(part: str) -> None:
    modules = [nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 3)).eval() for _ in range(2)]
    ensemble = Ensemble.from_modules(modules, example_inputs=X)
    modules[0].get_submodule(part).train()
    with pytest.raises(CaptureError, match=r"in training mode( at 0)? \((Sequential|Dropout)\): call eval\(\)"):
        capture(ensemble)
