"""Lists of modules of many kinds: each member computes what its module computes."""

import collections
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from module_ensembles import ENSEMBLES, Kind, Recurrent, members, random_inputs
from thorough import only
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune

from hnexport.dotted import named_tensors
from hnexport.ensemble import Ensemble
from hnexport.halves import output_leaves
from hnexport.networks.modules.family import check_described
from hnexport.spec import OutputKind, StoredKind
from hnexport.spec.kinds import Logits

Pair = collections.namedtuple("Pair", "mean scale")


class Built(nn.Module):
    """A module of named parts and a forward, for short cases."""

    def __init__(self, parts: Mapping[str, Any], forward: Callable[..., Any]) -> None:
        super().__init__()
        for name, part in parts.items():
            if isinstance(part, Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)
        self._run = forward

    def forward(self, x: Tensor) -> Any:
        return self._run(self, x)


def built(forward: Callable[..., Any], **parts: Callable[[], Any]) -> Callable[[], nn.Module]:
    return lambda: Built({name: part() for name, part in parts.items()}, forward)


class Control(nn.Module):
    """A loop over a ModuleList, a float attribute, a nested dict with an integer output."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.heads = nn.ModuleDict({"mean": nn.Linear(8, 2), "kind": nn.Linear(8, 3)})
        self.register_buffer("steps", torch.tensor(2))

    def forward(self, x: Tensor, y: Tensor | None = None) -> dict[str, Any]:
        for number, layer in enumerate(self.blocks):
            x = torch.tanh(layer(x)) + (x if number % 2 else 0)
        found: dict[str, Any] = {name: head(x) for name, head in self.heads.items()}
        found["choice"] = found["kind"].argmax(1) + self.steps
        found["nested"] = {"x": x.double(), "nothing": y}
        return found


class Normed(nn.Module):
    """Weight norm by parametrisation and by hook, spectral norm."""

    def __init__(self) -> None:
        super().__init__()
        self.a = parametrizations.weight_norm(nn.Conv2d(3, 8, 3))
        with pytest.warns(FutureWarning, match="weight_norm"):
            self.b = nn.utils.weight_norm(nn.Conv2d(8, 8, 3))
        self.c = parametrizations.spectral_norm(nn.Linear(8, 4))

    def forward(self, image: Tensor) -> Tensor:
        return self.c(F.relu(self.b(F.relu(self.a(image)))).mean((2, 3)))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8, elementwise_affine=False)
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)
        self.steps = nn.ParameterList([nn.Parameter(torch.randn(8, 8)) for _ in range(2)])

    def forward(self, sequence: Tensor, *, hidden: Tensor) -> tuple[Tensor, Tensor]:
        x = self.norm(sequence)
        for step in self.steps:
            x = x @ step
        found, weights = self.attend(x, x, x, key_padding_mask=hidden)
        return found, weights


class Bags(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(20, 6, mode="mean")
        self.out = nn.Linear(6, 2)

    def forward(self, words: Tensor) -> Tensor:
        return self.out(self.bag(words))


class Branches(nn.Module):
    """`torch.cond`, whose branches use weights of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor, threshold: Tensor) -> Tensor:
        return torch.cond(threshold > 0, lambda x: self.a(x), lambda x: self.b(x) * 2, (x,))


class SharedBuffer(nn.Module):
    """One buffer object in two submodules."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)
        scale = torch.rand(4) + 0.5
        self.one.register_buffer("scale", scale)
        self.two.register_buffer("scale", scale)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.one(x) * self.one.scale) * self.two.scale


def _sequence(batch: int = 2, seed: int = 0) -> dict[str, Tensor]:
    given = random_inputs(batch, seed, sequence=(5, 8))
    hidden = torch.arange(5).expand(batch, 5) > torch.arange(batch)[:, None] % 3 + 1
    return {**given, "hidden": hidden}


def _words(batch: int = 2, seed: int = 0) -> dict[str, Tensor]:
    return {"words": torch.randint(0, 20, (batch, 7), generator=torch.Generator().manual_seed(seed))}


def _threshold(batch: int = 2, seed: int = 0) -> dict[str, Tensor]:
    return {**random_inputs(batch, seed, x=(4,)), "threshold": torch.tensor(1.0 if batch == 1 else -1.0)}


def _normal64(batch: int, seed: int) -> Tensor:
    return random_inputs(batch, seed, input=(4,))["input"].double()


def kind(make: Callable[[], nn.Module], *shape: int, **options: Any) -> Kind:
    return Kind(make=make, count=3, inputs=lambda batch=2, seed=0: random_inputs(batch, seed, x=shape), options=options)  # type: ignore[misc] # mypy cannot infer the lambda


KINDS: dict[str, Kind] = {
    **ENSEMBLES,
    "control flow, nested dict": kind(Control, 8),
    "norms of weights": Kind(
        make=Normed,
        count=3,
        inputs=lambda batch=2, seed=0: random_inputs(batch, seed, image=(3, 9, 9)),  # type: ignore[misc] # mypy cannot infer the lambda
    ),
    "attention, keyword-only bool input": Kind(make=Attention, count=2, inputs=_sequence),
    "embedding bag": Kind(make=Bags, count=2, inputs=_words),
    "branches, an input without a batch": Kind(make=Branches, count=2, inputs=_threshold),
    "a buffer in two submodules": kind(SharedBuffer, 4),
    "grouped and transposed in one dimension": kind(
        built(
            lambda self, x: self.up(F.gelu(self.conv(x))),
            conv=lambda: nn.Conv1d(4, 8, 3, groups=2, dilation=2),
            up=lambda: nn.ConvTranspose1d(8, 4, 3, stride=2, groups=2, output_padding=1),
        ),
        4,
        11,
    ),
    "interpolation": kind(
        built(
            lambda self, x: self.conv(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)),
            conv=lambda: nn.Conv2d(3, 2, 1),
        ),
        3,
        4,
        5,
    ),
    "einsum": kind(
        built(
            lambda self, x: torch.einsum("bij,jk,b->bik", x, self.w, x.mean((1, 2))),
            w=lambda: nn.Parameter(torch.randn(4, 3)),
        ),
        2,
        4,
    ),
    "three dimensions and instance norm": kind(
        built(
            lambda self, x: self.norm(self.conv(x)),
            conv=lambda: nn.Conv3d(2, 3, 2),
            norm=lambda: nn.InstanceNorm3d(3, affine=True),
        ),
        2,
        4,
        4,
        4,
    ),
    "a constant, a range over the batch": kind(
        built(
            lambda self, x: self.out(x) + torch.arange(x.shape[0])[:, None] * 0 + torch.tensor([1.0, 2.0, 3.0]),
            out=lambda: nn.Linear(4, 3),
        ),
        4,
    ),
    "pruned": kind(
        built(lambda self, x: self.out(x), out=lambda: prune.l1_unstructured(nn.Linear(4, 3), "weight", amount=4)), 4
    ),
    "integers, booleans, a weight and an input as outputs": kind(
        built(
            lambda self, x: (self.out(x), self.out(x).argmax(1), self.out(x) > 0, self.out.weight, x),
            out=lambda: nn.Linear(4, 3),
        ),
        4,
    ),
    "a named tuple": kind(built(lambda self, x: Pair(self.out(x), self.out(x).exp()), out=lambda: nn.Linear(4, 3)), 4),
    "an axis of any length": kind(
        built(lambda self, x: self.conv(x).relu(), conv=lambda: nn.Conv1d(4, 3, 3, padding=1)),
        4,
        9,
        dynamic_axes={"x": {0: "batch", -1: "time"}},
    ),
    "int8 pixels": Kind(
        make=built(lambda self, x: self.out(x.to(self.out.weight.dtype) / 255), out=lambda: nn.Linear(4, 3)),
        count=2,
        inputs=lambda batch=2, seed=0: {"x": (random_inputs(batch, seed, x=(4,))["x"] * 50 + 99).to(torch.uint8)},  # type: ignore[misc] # mypy cannot infer the lambda
    ),
    "float64": Kind(
        make=lambda: nn.Linear(4, 3).double(),
        count=2,
        inputs=lambda batch=2, seed=0: {"input": _normal64(batch, seed)},  # type: ignore[misc] # mypy cannot infer the lambda
    ),
    "a mask with infinities": kind(
        built(
            lambda self, x: (self.out(x) + self.mask).softmax(-1),
            out=lambda: nn.Linear(4, 3),
            mask=lambda: torch.tensor([0.0, -torch.inf, 0.0]),
        ),
        4,
    ),
    "one member": Kind(make=Recurrent, count=1, inputs=ENSEMBLES["recurrent"].inputs),
}


IN_EVERY_RUN = (
    "cnn",
    "reader",
    "recurrent",
    "regressor",
    "control flow, nested dict",
    "norms of weights",
    "branches, an input without a batch",
    "a buffer in two submodules",
    "integers, booleans, a weight and an input as outputs",
    "an axis of any length",
    "int8 pixels",
    "one member",
)


def in_double(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in inputs.items()}


@pytest.fixture(scope="module")
def ensembles() -> dict[str, Ensemble]:
    return {}


@pytest.fixture(params=only(KINDS, *IN_EVERY_RUN), ids=list(KINDS))
def case(request: pytest.FixtureRequest, ensembles: dict[str, Ensemble]) -> tuple[Kind, Ensemble]:
    found = KINDS[request.param]
    if request.param not in ensembles:
        ensembles[request.param] = found.ensemble()
    return found, ensembles[request.param]


@pytest.mark.parametrize("batch", [1, 3])
def test_each_member_computes_what_its_module_computes(case: tuple[Kind, Ensemble], batch: int) -> None:
    found, ensemble = case
    inputs = found.inputs(batch, 5)
    for member, module in enumerate(found.modules()):
        with torch.no_grad():
            expected = output_leaves(module(**inputs))
        outputs = ensemble(member, inputs)
        assert list(outputs) == [output.name for output in ensemble.signature.outputs]
        for one, two in zip(outputs.values(), expected, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5)  # attention's fused kernels round otherwise


def test_in_float64_each_member_is_its_module_in_float64(case: tuple[Kind, Ensemble]) -> None:
    found, ensemble = case
    inputs = in_double(found.inputs(2, 6))
    for member, module in enumerate(found.modules()):
        with torch.no_grad():
            expected = output_leaves(module.double()(**inputs))
        for one, two in zip(ensemble.double()(member, inputs).values(), expected, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)


def test_in_float64_what_the_network_itself_writes_in_float32_is_float64_too() -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        found = torch.zeros(x.shape[0], 3)
        found[:, 0] += self.out(x.float() / 3).sum(1) * self.plain
        return found + torch.tensor([0.1, 0.2, 0.3])

    def make() -> nn.Module:
        module = built(forward, out=lambda: nn.Linear(4, 3))()
        module.plain = torch.tensor(0.7)
        return module

    modules = members(make, 2)
    ensemble = Ensemble.from_modules(modules, example_inputs=torch.zeros(2, 4, dtype=torch.uint8))
    x = torch.arange(8, dtype=torch.uint8).reshape(2, 4)
    weight, bias = (modules[1].get_parameter(f"out.{name}").detach().double() for name in ("weight", "bias"))
    expected = torch.tensor([0.1, 0.2, 0.3]).double().repeat(2, 1)
    expected[:, 0] += (x.double() / 3 @ weight.T + bias).sum(1) * torch.tensor(0.7).double()
    found = ensemble.double()(1, {"x": x})["output"]
    assert found.dtype is torch.float64
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("unknown", [-1, 99, -(2**40)])
def test_an_id_that_does_not_exist_gives_nan_in_every_floating_output(
    case: tuple[Kind, Ensemble], unknown: int
) -> None:
    found, ensemble = case
    for output in ensemble(unknown, found.inputs(2, 7)).values():
        assert not output.is_floating_point() or output.isnan().all()


def test_what_is_said_of_an_ensemble_is_what_it_holds(case: tuple[Kind, Ensemble]) -> None:
    found, ensemble = case
    check_described(ensemble, {})
    modules = found.modules()
    for item in ensemble.stored:
        values = [named_tensors(module)[str(item.slot)] for module in modules]
        equal = all(torch.equal(values[0], other) for other in values)
        assert (item.kind is StoredKind.SHARED) == equal, item.name
        assert torch.equal(ensemble.tensors[item.name], values[0] if equal else torch.stack(values))


def test_outputs_have_the_kinds_and_axes_that_were_said() -> None:
    classes, words = ENSEMBLES["transformer"].ensemble().signature.outputs
    assert (classes.kind, classes.axis, classes.shape) == (OutputKind.LOGITS, 1, ("batch", 3))
    assert (words.kind, words.axis, words.shape) == (OutputKind.LOGITS, 2, ("batch", 12, 50))


def test_tied_weights_are_one_slot_and_its_alias() -> None:
    ensemble = ENSEMBLES["transformer"].ensemble()
    aliases = {slot.name: slot.alias_of for slot in ensemble.slots if slot.alias_of}
    assert aliases == {"decode.weight": "embedding.weight"}
    assert not any(item.slot == "decode.weight" for item in ensemble.stored)


def test_counters_that_forward_does_not_use_are_no_slots() -> None:
    names = [slot.name for slot in ENSEMBLES["resnet"].ensemble().slots]
    assert "bn.running_var" in names
    assert not any("num_batches_tracked" in name for name in names)


def test_equal_members_store_every_tensor_once() -> None:
    modules = [members(lambda: nn.Linear(4, 3), 1)[0] for _ in range(3)]
    ensemble = Ensemble.from_modules(modules, example_inputs=torch.zeros(1, 4))
    assert [item.name for item in ensemble.stored] == ["shared.weight", "shared.bias"]
    assert ensemble(2, {"input": torch.ones(1, 4)})["output"].isfinite().all()
    assert ensemble(3, {"input": torch.ones(1, 4)})["output"].isnan().all()


def test_a_slot_whose_shared_name_is_that_of_another_slot_is_stacked() -> None:
    make = built(
        lambda self, x: self.shared["out"](self.out(x)),
        out=lambda: nn.Linear(4, 4),
        shared=lambda: nn.ModuleDict({"out": nn.Linear(4, 3)}),
    )
    ensemble = Ensemble.from_modules(members(make, 2, equal=("out.weight",)), example_inputs=torch.zeros(2, 4))
    assert "member.out.weight" in [item.name for item in ensemble.stored]


def test_members_may_come_one_after_the_other() -> None:
    alive: list[int] = []

    def one_by_one() -> Any:
        for number in range(4):
            module = members(lambda: nn.Linear(4, 3), 1, seed=number)[0]
            alive.append(number)
            yield module

    ensemble = Ensemble.from_modules(one_by_one(), example_inputs=torch.zeros(2, 4), name="lines", origin="a test")
    assert (ensemble.members, ensemble.name, ensemble.origin, alive) == (4, "lines", "a test", [0, 1, 2, 3])


def test_the_tensors_are_copies() -> None:
    modules = ENSEMBLES["cnn"].modules()
    ensemble = Ensemble.from_modules(modules, example_inputs=torch.zeros(2, 3, 16, 16))
    inputs = ENSEMBLES["cnn"].inputs(2, 0)
    before = [ensemble(member, inputs)["output"] for member in range(4)]
    with torch.no_grad():
        for module in modules:
            for parameter in module.parameters():
                parameter.add_(1)
    assert all(torch.equal(one, ensemble(member, inputs)["output"]) for member, one in enumerate(before))


def test_a_batch_of_one_is_shown_as_two() -> None:
    ensemble = Ensemble.from_modules(members(lambda: nn.Linear(4, 3), 2), example_inputs=torch.ones(1, 4))
    assert ensemble.examples["input"].shape == (2, 4)
    assert ensemble.signature.inputs[0].shape == ("batch", 4)
    assert ensemble(0, {"input": torch.ones(1, 4)})["output"].shape == (1, 3)


def test_the_members_are_not_changed() -> None:
    modules = ENSEMBLES["resnet"].modules()
    before = [{name: tensor.clone() for name, tensor in module.state_dict().items()} for module in modules]
    Ensemble.from_modules(modules, example_inputs=torch.zeros(1, 3, 16, 16), outputs={"logits": Logits()})
    for module, state in zip(modules, before, strict=True):
        assert all(torch.equal(tensor, state[name]) for name, tensor in module.state_dict().items())
