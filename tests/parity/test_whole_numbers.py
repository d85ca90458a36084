"""What a network takes is probed, whatever its example shows: an index, a category, a flag."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from bundles import rewrite_checksums
from onnx import helper, numpy_helper
from torch import Tensor, nn

from hnexport import Ensemble
from hnexport.build import BuildOptions, build
from hnexport.bundle.manifest import Format
from hnexport.parity import Verdict, VerifyOptions, probe_inputs, verify
from hnexport.parity.whole_numbers import LARGEST_WHOLE, whole_numbers


class Words(nn.Module):
    """A vocabulary, and a place of its own for each of 12 words."""

    def __init__(self, vocabulary: int = 50) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(vocabulary, 8), nn.Linear(8, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        places = torch.arange(1, 13, dtype=torch.float32)[:, None]
        return self.head(torch.tanh(self.embedding(tokens) * places).mean(1))


class Table(nn.Module):
    """Three columns of categories, 4, 100 and 7 of them."""

    def __init__(self) -> None:
        super().__init__()
        self.columns = nn.ModuleList(nn.Embedding(count, 4) for count in (4, 100, 7))

    def forward(self, row: Tensor) -> Tensor:
        return torch.cat([column(row[:, place]) for place, column in enumerate(self.columns)], 1)


class Shown(nn.Module):
    """Features that a mask shows, of which there has to be one."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 3)

    def forward(self, features: Tensor, shown: Tensor) -> Tensor:
        return self.head(features * shown / shown.sum(1, keepdim=True))


class Inverse(nn.Module):
    """Divided by a number, which may not be 0."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(1, 3)

    def forward(self, number: Tensor) -> Tensor:
        return self.head(1.0 / number[:, None])


class Crossed(nn.Module):
    """An index of two: each may be large, both may not."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 3)

    def forward(self, row: Tensor, column: Tensor) -> Tensor:
        return self.embedding(row + column)


def of(make: type[nn.Module], *examples: Tensor) -> Ensemble:
    torch.manual_seed(0)
    return Ensemble.from_modules([make().eval(), make().eval()], example_inputs=examples)


def found(ensemble: Ensemble, name: str, seconds: float = 2.0) -> tuple[object, object]:
    least, most = whole_numbers(ensemble, seconds)[name]
    return least.tolist(), most.tolist()


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
@pytest.mark.parametrize("number", [0, 7, 49])
def test_a_vocabulary_is_found_from_an_example_of_one_word(number: int, dtype: torch.dtype) -> None:
    assert found(of(Words, torch.full((1, 12), number, dtype=dtype)), "tokens") == ([0] * 12, [49] * 12)


def test_every_column_of_a_table_has_categories_of_its_own() -> None:
    assert found(of(Table, torch.ones(1, 3, dtype=torch.int64)), "row") == ([0, 0, 0], [3, 99, 6])


def test_a_number_that_gives_nothing_finite_is_not_taken() -> None:
    assert found(of(Inverse, torch.tensor([5])), "number") == (1, LARGEST_WHOLE)


def test_numbers_that_a_network_takes_one_by_one_it_has_to_take_together() -> None:
    bounds = whole_numbers(of(Crossed, torch.tensor([1]), torch.tensor([2])))
    assert bounds["row"][1] == 17
    assert bounds["column"][1] == 2


def test_a_dtype_is_no_wider_than_it_is() -> None:
    assert found(of(Inverse, torch.tensor([5], dtype=torch.int8)), "number") == (1, 127)


def test_a_flag_is_both_values() -> None:
    ensemble = of(Shown, torch.ones(1, 4), torch.ones(1, 4, dtype=torch.bool))
    assert found(ensemble, "shown") == ([0] * 4, [1] * 4)


def test_without_time_and_without_a_reference_the_example_stays() -> None:
    ensemble = of(Words, torch.full((1, 12), 7))
    assert found(ensemble, "tokens", 0.0) == ([7] * 12, [7] * 12)
    ensemble.examples["tokens"].fill_(50)  # which it cannot take itself
    assert found(ensemble, "tokens") == ([50] * 12, [50] * 12)


def test_samples_reach_the_ends_and_small_numbers_and_differ_from_their_neighbours() -> None:
    ensemble = of(Words, torch.zeros(1, 12, dtype=torch.int64))
    examples = {"tokens": np.zeros((2, 12), dtype=np.int64)}
    probes = probe_inputs(ensemble.signature, examples, bounds=whole_numbers(ensemble))
    rows = dict(zip(probes.kinds, probes.inputs["tokens"], strict=True))
    assert (probes.inputs["tokens"].min(), probes.inputs["tokens"].max()) == (0, 49)
    assert (rows["faint"].min(), rows["glaring"].max()) == (0, 49)
    assert np.median(rows["faint"]) < 15
    for kind in ("noise", "uniform", "faint"):
        assert all((rows[kind] != np.roll(rows[kind], shift)).any() for shift in range(1, 12)), kind


def test_a_number_alone_has_both_ends_too_and_a_range_that_is_shown_keeps_half_of_the_samples() -> None:
    ensemble = of(Inverse, torch.tensor([3, 9]))
    probes = probe_inputs(ensemble.signature, {"number": np.array([3, 9])}, bounds=whole_numbers(ensemble))
    numbers = probes.inputs["number"]
    assert (numbers.min(), numbers.max()) == (1, LARGEST_WHOLE)
    assert sum(3 <= number <= 9 for number in numbers) >= 3


def test_what_a_graph_does_to_words_that_the_example_lacks_is_seen(tmp_path: Path) -> None:
    ensemble = of(Words, torch.zeros(1, 12, dtype=torch.int64))
    built = build(ensemble, tmp_path / "bundle", options=BuildOptions(formats=(Format.ONNX,)))
    assert built.parity.ranges["tokens"] == (0.0, 49.0)
    for operator, number in (("Mul", 0), ("Min", 20), ("Max", 1), ("Min", 48)):
        broken = Path(shutil.copytree(tmp_path / "bundle", tmp_path / f"{operator}{number}"))
        _put_before_the_network(broken / "model.onnx", operator, number)
        report = verify(broken, VerifyOptions(artifacts=("onnx",)))
        assert report.verdict is Verdict.DIFFERENT, (operator, number)
        assert report.artifacts[0].failures, (operator, number)


def _put_before_the_network(path: Path, operator: str, number: int) -> None:
    model = onnx.load(path, load_external_data=False)
    for node in model.graph.node:
        node.input[:] = ["changed" if name == "tokens" else name for name in node.input]
    model.graph.initializer.append(numpy_helper.from_array(np.array(number), "number"))
    model.graph.node.insert(0, helper.make_node(operator, ["tokens", "number"], ["changed"]))
    onnx.save(model, path)
    rewrite_checksums(path.parent)
