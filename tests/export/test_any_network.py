"""Networks of which nothing is known: each of these broke an exporter once."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from ensembles import of_modules, seeded
from thorough import only
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from hnexport.ensemble import Ensemble
from hnexport.errors import CaptureError
from hnexport.export import capture, write_onnx, write_pt2, write_torchscript
from hnexport.names import SUPPLIED_FILE
from hnexport.spec.summaries import SummaryKind, summaries

CPU = ["CPUExecutionProvider"]


class Body(nn.Module):
    """A network of one function over named parts."""

    def __init__(self, forward: Callable, **parts: nn.Module | nn.Parameter | Tensor) -> None:
        super().__init__()
        self.function = forward
        for name, part in parts.items():
            if isinstance(part, Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part, persistent=not name.startswith("fleeting"))
            else:
                setattr(self, name, part)

    def forward(self, x: Tensor) -> object:
        return self.function(self, x)


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.scale = nn.Embedding(9, 4), nn.Parameter(torch.tensor(1.5))

    def forward(self, tokens: Tensor, weighting: Tensor) -> tuple[Tensor, Tensor]:
        pooled = (self.embed(tokens) * weighting[:, :, None]).sum(1)
        return pooled * self.scale, tokens.sum(1)


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.GRU] | type[nn.LSTM]) -> None:
        super().__init__()
        self.rnn = kind(3, 5, num_layers=2, batch_first=True, bidirectional=True)
        self.out = nn.Linear(10, 4)

    def forward(self, series: Tensor) -> Tensor:
        return self.out(self.rnn(series)[0][:, -1])


def linear(function: Callable, **parts: Callable[[], object]) -> Callable[[], nn.Module]:
    return lambda: Body(function, **{"l": nn.Linear(4, 3), **{name: make() for name, make in parts.items()}})


def tied() -> nn.Module:
    first, second = nn.Linear(4, 4), nn.Linear(4, 4, bias=False)
    second.weight = first.weight
    return Body(lambda s, x: s.b(s.a(x)), a=first, b=second)


def branches(s: Any, x: Tensor) -> Tensor:
    return torch.cond(x.sum() > 0, lambda x: s.a(x), lambda x: s.b(x), (x,))


def attention() -> nn.Module:
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    return Body(
        lambda s, x: s.t(x[:, None].expand(-1, 3, -1)), t=nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
    )


@dataclass(frozen=True)
class Case:
    make: Callable[[], nn.Module]
    outputs: Sequence[str] = ("y",)
    logits: Mapping[str, int] = dataclasses.field(default_factory=dict)
    example: Callable[[int], Mapping[str, Tensor]] = lambda batch: {"x": noise(batch, 4)}


def noise(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(7)).to(dtype)


def tokens(batch: int) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(batch)
    return {"tokens": torch.randint(0, 9, (batch, 6), generator=random), "weighting": noise(batch, 6).abs()}


CASES = {
    "fresh batch norm, whose tensors are equal": Case(lambda: Body(lambda s, x: s.b(x), b=nn.BatchNorm1d(4))),
    "an output that is an input, a weight, twice the same": Case(
        linear(lambda s, x: (s.l(x), x, s.l.weight.sum(), s.l.weight)), ("y", "same", "total", "weight")
    ),
    "an output that is given twice": Case(linear(lambda s, x: [y := s.l(x), y]), ("y", "again")),
    "None and nested outputs": Case(
        linear(lambda s, x: {"a": s.l(x), "b": None, "c": [x * 2, (x * 3, None)]}), ("y", "double", "triple")
    ),
    "tied weights": Case(tied),
    "integers, booleans, float16 and a scalar": Case(
        linear(lambda s, x: ((y := s.l(x)).argmax(1), y > 0, y.half(), y.sum(), y.double())),
        ("choice", "positive", "half", "total", "double"),
    ),
    "a float64 module": Case(
        lambda: Body(lambda s, x: s.l(x), l=nn.Linear(4, 3).double()),
        ("y",),
        {"y": 1},
        lambda batch: {"x": noise(batch, 4, dtype=torch.float64)},
    ),
    "a float16 module": Case(
        lambda: Body(lambda s, x: s.l(x), l=nn.Linear(4, 3).half()),
        ("y",),
        {"y": 1},
        lambda batch: {"x": noise(batch, 4, dtype=torch.float16)},
    ),
    "branches that use weights": Case(lambda: Body(branches, a=nn.Linear(4, 3), b=nn.Linear(4, 3))),
    "numbers that are not finite": Case(
        linear(lambda s, x: torch.where(x[:, :3] > 0, s.l(x), math.nan).nan_to_num(0.0).clamp(max=math.inf))
    ),
    "a tensor that is clamped twice": Case(
        linear(lambda s, x: (y := s.l(x)).clamp(-0.5, 0.5) + 2 * y.clamp(0.25, 6.0) + nn.functional.relu6(y))
    ),
    "slots like the words of a graph": Case(
        lambda: Body(
            lambda s, x: s.x(s.cond_id(x)) + s.guard,
            cond_id=nn.Linear(4, 4),
            x=nn.Linear(4, 3),
            guard=nn.Parameter(noise(3)),
        )
    ),
    "integer and boolean buffers, and one outside the state dict": Case(
        lambda: Body(
            lambda s, x: s.l(x[:, s.order]) * s.fleeting + torch.where(s.mask, 1.0, 0.0),
            l=nn.Linear(4, 3),
            order=torch.randperm(4),
            fleeting_unused=torch.ones(2),
            fleeting=torch.rand(()),
            mask=torch.rand(3) > 0.5,
        )
    ),
    "a slot without elements": Case(
        linear(lambda s, x: torch.cat([s.l(x), s.none.expand(x.shape[0], 0)], 1), none=lambda: torch.zeros(1, 0))
    ),
    "what depends on the number of samples": Case(linear(lambda s, x: s.l(x) + torch.arange(x.shape[0])[:, None])),
    "an encoder's layer": Case(attention),
    "logits along the second of four axes": Case(
        lambda: Body(lambda s, x: s.c(x), c=nn.Conv2d(2, 3, 1)),
        ("map",),
        {"map": 1},
        lambda batch: {"x": noise(batch, 2, 4, 5)},
    ),
    "two logits and a value": Case(
        linear(lambda s, x: (s.l(x), s.l(x).relu(), x.mean(1))), ("first", "second", "value"), {"first": 1, "second": 1}
    ),
    "two inputs, one of them integers": Case(TwoInputs, ("pooled", "count"), {"pooled": 1}, tokens),
    "GRU": Case(lambda: Recurrent(nn.GRU), ("y",), {"y": 1}, lambda batch: {"series": noise(batch, 6, 3)}),
    "LSTM": Case(lambda: Recurrent(nn.LSTM), ("y",), {"y": 1}, lambda batch: {"series": noise(batch, 6, 3)}),
}


Written = tuple[Case, list[nn.Module], Ensemble, Path, tuple[str, ...]]
# One of each kind of difficulty: ties, types, branches, several inputs, recurrence.
IN_EVERY_RUN = (
    "tied weights",
    "integers, booleans, float16 and a scalar",
    "branches that use weights",
    "two inputs, one of them integers",
    "LSTM",
)


@pytest.fixture(scope="module", params=only(CASES, *IN_EVERY_RUN))
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """`(case, modules, ensemble, folder, supplied)` with the files of every format."""
    case, folder = CASES[request.param], tmp_path_factory.mktemp("any")
    modules = seeded(case.make, 2)
    ensemble = of_modules(modules, case.example(3), case.outputs, logits=case.logits)
    captured = capture(ensemble)
    supplied = write_onnx(captured, folder, {}).supplied
    write_torchscript(captured, folder / "model.pt")
    write_pt2(captured, folder / "model.pt2")
    return case, modules, ensemble, folder, supplied


def session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=CPU)


def call(path: Path, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    loaded = session(path)
    return dict(zip([output.name for output in loaded.get_outputs()], loaded.run(None, dict(feed)), strict=True))


def leaves(raw: object) -> list[np.ndarray]:
    return [leaf.detach().numpy() for leaf in pytree.tree_leaves(raw) if leaf is not None]


def expected(module: nn.Module, inputs: Mapping[str, Tensor]) -> list[np.ndarray]:
    with torch.no_grad():
        return leaves(module(**inputs))


def assert_same(found: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> None:
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        loose = {"float16": 2e-3, "float64": 1e-5}.get(one.dtype.name, 2e-5)
        np.testing.assert_allclose(one.astype(np.float64), other.astype(np.float64), rtol=loose, atol=loose)


def supply(folder: Path, supplied: Sequence[str], member: int) -> None:
    """Write the file that completes `network.onnx`, in the numbers that `hypernet.onnx` gives."""
    values = session(folder / "hypernet.onnx").run(list(supplied), {"cond_id": np.array(member)}) if supplied else []
    (folder / SUPPLIED_FILE).write_bytes(b"".join(value.tobytes() for value in values))


@pytest.mark.parametrize("batch", [1, 3, 5])
def test_every_file_computes_what_each_module_computes(written: Written, batch: int) -> None:
    case, modules, ensemble, folder, supplied = written
    inputs = case.example(batch)
    feed = {name: tensor.numpy() for name, tensor in inputs.items()}
    script, program = torch.jit.load(str(folder / "model.pt")), torch.export.load(folder / "model.pt2").module()
    own = [summary.kind is SummaryKind.MEMBERS for summary in summaries(ensemble.signature)]
    for member, module in enumerate(modules):
        wanted, number = expected(module, inputs), torch.tensor(member)
        assert_same(list(call(folder / "model.onnx", {"cond_id": np.array(member), **feed}).values()), wanted)
        assert_same(leaves(script(number, *inputs.values())), wanted)
        assert_same(leaves(program(number, *inputs.values())), wanted)
        together = call(folder / "ensemble.onnx", {"cond_ids": np.array([member]), **feed}).values()
        assert_same([value[0] for value, is_own in zip(together, own, strict=True) if is_own], wanted)
        supply(folder, supplied, member)
        assert_same(list(call(folder / "network.onnx", feed).values()), wanted)


def test_members_are_summarised_alike_in_onnx_and_torchscript(
    written: Written,
) -> None:
    case, modules, ensemble, folder, _ = written
    inputs = case.example(4)
    ids = [1, 0, 1]
    feed = {name: tensor.numpy() for name, tensor in inputs.items()}
    found = call(folder / "ensemble.onnx", {"cond_ids": np.array(ids), **feed})
    script = torch.jit.load(str(folder / "model.pt"))
    assert_same(leaves(script.ensemble(torch.tensor(ids), *inputs.values())), list(found.values()))
    members = [dict(zip(case.outputs, expected(modules[number], inputs), strict=True)) for number in ids]
    for summary in summaries(ensemble.signature):
        values = np.stack([member[summary.of] for member in members]).astype(np.float64)
        want = {
            SummaryKind.MEMBERS: lambda values: values,
            SummaryKind.MEAN: lambda values: values.mean(0),
            SummaryKind.VARIANCE: lambda values: values.var(0),
        }.get(summary.kind)
        if want is not None:
            np.testing.assert_allclose(found[summary.name].astype(np.float64), want(values), rtol=3e-3, atol=3e-3)
            assert found[summary.name].dtype.name == summary.dtype


def test_an_id_that_does_not_exist_is_nan_in_every_floating_output_of_every_file(
    written: Written,
) -> None:
    case, _, ensemble, folder, _ = written
    inputs = case.example(2)
    feed = {name: tensor.numpy() for name, tensor in inputs.items()}
    script, program = torch.jit.load(str(folder / "model.pt")), torch.export.load(folder / "model.pt2").module()
    for unknown in (-1, 2, 2**63 - 1):
        found = [
            *call(folder / "model.onnx", {"cond_id": np.array(unknown), **feed}).values(),
            *leaves(script(torch.tensor(unknown), *inputs.values())),
            *leaves(program(torch.tensor(unknown), *inputs.values())),
        ]
        assert all(np.isnan(value).all() for value in found if value.dtype.kind == "f")
        together = call(folder / "ensemble.onnx", {"cond_ids": np.array([0, unknown]), **feed})
        for summary in summaries(ensemble.signature):
            if summary.is_floating:
                value = together[summary.name][1] if summary.kind is SummaryKind.MEMBERS else together[summary.name]
                assert np.isnan(value).all(), summary.name


def test_slots_that_depend_on_the_member_are_nan_in_the_hypernet_for_an_unknown_id(
    written: Written,
) -> None:
    _, _, ensemble, folder, _ = written
    found = call(folder / "hypernet.onnx", {"cond_id": np.array(-1)})
    conditional = {stored.slot for stored in ensemble.stored if stored.is_conditional}
    assert set(found) == {slot.name for slot in ensemble.slots if slot.alias_of is None}
    for name, value in found.items():
        if value.dtype.kind == "f" and value.size:
            assert np.isnan(value).all() == (name in conditional), name


def test_axes_have_their_declared_names_in_every_shape(
    written: Written,
) -> None:
    _, _, _, folder, _ = written
    for path in folder.glob("*.onnx"):
        graphs = [onnx.load(path, load_external_data=False).graph]
        for graph in graphs:
            graphs += [item.g for node in graph.node for item in node.attribute if item.HasField("g")]
        values = [value for graph in graphs for value in (*graph.input, *graph.output, *graph.value_info)]
        names = {dim.dim_param for value in values for dim in value.type.tensor_type.shape.dim if dim.dim_param}
        words = {word for name in names for word in "".join(c if c.isalpha() else " " for c in name).split()}
        assert words <= {"batch", "member"}, names


def test_every_file_passes_the_checker_and_no_name_stands_twice(
    written: Written,
) -> None:
    _, _, _, folder, supplied = written
    supply(folder, supplied, 0)
    for path in folder.glob("*.onnx"):
        onnx.checker.check_model(path, full_check=True)
        graphs = [onnx.load(path, load_external_data=False).graph]
        for graph in graphs:
            graphs += [item.g for node in graph.node for item in node.attribute if item.HasField("g")]
        nodes = [node for graph in graphs for node in graph.node]
        names = [name for node in nodes for name in node.output if name]
        names += [item.name for graph in graphs for item in graph.initializer]
        assert len(set(names)) == len(names)
        assert len({node.name for node in nodes}) == len(nodes)


def module(function: Callable = lambda s, x: s.l(x), **parts: object) -> nn.Module:
    return Body(function, **{"l": nn.Linear(4, 3), **parts}).eval()


def ensemble_of(*modules: nn.Module, outputs: Sequence[str] = ("y",), **changes: object) -> Ensemble:
    return of_modules(modules, {"x": noise(3, 4)}, outputs, **changes)


def test_counters_of_batch_norm_are_dropped(tmp_path: Path) -> None:
    modules = seeded(lambda: Body(lambda s, x: s.b(x), b=nn.BatchNorm1d(4)), 2)
    write_onnx(capture(ensemble_of(*modules)), tmp_path, {})
    found = call(tmp_path / "hypernet.onnx", {"cond_id": np.array(0)})
    assert set(found) == {"b.weight", "b.bias", "b.running_mean", "b.running_var"}


def test_layers_are_called_by_the_paths_of_their_modules(tmp_path: Path) -> None:
    inner = nn.Sequential(nn.Conv2d(2, 3, 1), nn.Conv2d(3, 3, 1))
    modules = [Body(lambda s, x: s.blocks(x).relu(), blocks=inner).eval()]
    write_onnx(capture(of_modules(modules, {"x": noise(3, 2, 4, 4)}, ["y"])), tmp_path, {})
    graph = onnx.load(tmp_path / "model.onnx", load_external_data=False).graph
    names = {node.name for node in graph.node}
    assert {"blocks.0/Conv", "blocks.1/Conv", "network/Relu"} <= names


@pytest.mark.parametrize("name", ["cond_id", "cond_ids"])
def test_an_input_with_a_reserved_name_is_refused(name: str) -> None:
    class Reserved(nn.Linear):
        pass

    exec_globals: dict[str, object] = {}
    exec(f"def forward(self, {name}):\n    return {name} @ self.weight.T", exec_globals)
    Reserved.forward = exec_globals["forward"]  # type: ignore[assignment] # made of text
    ensemble = of_modules([Reserved(4, 3).eval()], {name: noise(3, 4)}, ["y"])
    with pytest.raises(CaptureError, match=rf"'{name}' is the name of the condition id and of an input: rename one"):
        capture(ensemble)


def test_an_input_that_is_called_like_a_slot_is_refused() -> None:
    ensemble = ensemble_of(module(lambda s, x: s.l(x) * s._parameters["x"], x=nn.Parameter(noise(3))))
    with pytest.raises(CaptureError, match="'x' is the name of an input and of a slot: rename one of them"):
        capture(ensemble)


def test_an_output_in_bfloat16_is_refused_with_the_remedy() -> None:
    ensemble = ensemble_of(module(lambda s, x: s.l(x).bfloat16()))
    with pytest.raises(CaptureError, match="y is bfloat16, which numpy lacks: cast it to float32 in the network"):
        capture(ensemble)


def test_a_buffer_that_forward_writes_is_refused_by_name() -> None:
    def count(s: Any, x: Tensor) -> Tensor:
        s.calls += 1
        return s.l(x) * s.calls

    with pytest.raises(CaptureError, match="writes its buffer 'calls'"):
        capture(ensemble_of(module(count, calls=torch.tensor(0.0))))


def test_an_axis_of_any_size_that_the_network_fixes_is_refused() -> None:
    """A GRU is unrolled over the steps that the example has."""
    modules = seeded(lambda: Recurrent(nn.GRU), 2)
    ensemble = of_modules(modules, {"series": noise(3, 6, 3)}, ["y"], dynamic={"series": {0: "batch", 1: "time"}})
    with pytest.raises(CaptureError, match=r"(?s)could not capture the network.*time.*declare this axis as fixed"):
        capture(ensemble)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "float64"}, "output y: the signature says float64"),
        ({"shape": ("batch", 4)}, "output y: the signature says float32"),
        ({"shape": (3, 3)}, "output y: the signature says float32"),
    ],
    ids=repr,
)
def test_a_signature_that_the_network_does_not_have_is_refused(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    ensemble = ensemble_of(module())
    (output,) = ensemble.signature.outputs
    signature = dataclasses.replace(ensemble.signature, outputs=(dataclasses.replace(output, **change),))
    with pytest.raises(CaptureError, match=message):
        write_onnx(capture(dataclasses.replace(ensemble, signature=signature)), tmp_path, {})


def test_a_slot_that_the_ensemble_does_not_name_is_refused(tmp_path: Path) -> None:
    ensemble = ensemble_of(module())
    with pytest.raises(CaptureError, match=r"uses l\.bias, which is none of the ensemble's slots"):
        write_onnx(capture(dataclasses.replace(ensemble, slots=ensemble.slots[:1])), tmp_path, {})


def test_a_missing_or_short_file_of_supplied_tensors_is_no_prediction(tmp_path: Path) -> None:
    modules = seeded(lambda: Body(lambda s, x: s.l(x)[:, s.order], l=nn.Linear(4, 3), order=torch.randperm(3)), 2)
    supplied = write_onnx(capture(ensemble_of(*modules)), tmp_path, {}).supplied
    assert supplied == ("order", "l.weight", "l.bias") or "order" not in supplied
    with pytest.raises(Exception, match=r"member\.bin"):
        session(tmp_path / "network.onnx")
    supply(tmp_path, supplied, 0)
    session(tmp_path / "network.onnx")
    whole = (tmp_path / SUPPLIED_FILE).read_bytes()
    (tmp_path / SUPPLIED_FILE).write_bytes(whole[:-1])
    with pytest.raises(Exception, match=r"out of bounds|External|member\.bin"):
        session(tmp_path / "network.onnx")
