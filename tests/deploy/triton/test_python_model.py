"""What the Python backend computes, without the server: `test_server` runs it in one."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from thorough import first
from triton_kinds import KINDS, bundle_of

from hnexport.bundle.golden import Golden, read_golden
from hnexport.deploy import Served, TritonOptions, deploy_triton
from hnexport.deploy.triton.python_model import Answers, TritonPythonModel
from hnexport.rows import row_errors, taken
from hnexport.runtime import LoadedEnsemble, load


class Counting:
    """An ensemble that counts the calls of each member."""

    def __init__(self, ensemble: LoadedEnsemble) -> None:
        self.signature, self._ensemble = ensemble.signature, ensemble
        self.calls: list[tuple[int, int]] = []

    def outputs(self, member: int, inputs: Any) -> Mapping[str, NDArray[np.generic]]:
        self.calls.append((member, len(next(iter(inputs.values())))))
        return self._ensemble.outputs(member, inputs)


@pytest.fixture(scope="module")
def images() -> tuple[LoadedEnsemble, Golden]:
    return load(bundle_of("images"), threads=1), read_golden(bundle_of("images"))


def test_each_member_is_called_once_for_all_samples_of_all_requests(images: tuple[LoadedEnsemble, Golden]) -> None:
    ensemble, golden = images
    counting = Counting(ensemble)
    image = golden.inputs["image"]
    ids = [np.array([2, 0, 2]), np.array([0]), np.array([1, 2])]
    rows = [np.array([0, 1, 2]), np.array([3]), np.array([4, 0])]
    answers = Answers(counting, batched=True).of(
        [{"cond_id": one, "image": image[row]} for one, row in zip(ids, rows, strict=True)]
    )
    assert sorted(counting.calls) == [(0, 2), (1, 1), (2, 3)]
    for answer, one, row in zip(answers, ids, rows, strict=True):
        expected = golden.outputs["logits"][one, row]
        assert not isinstance(answer, str)
        assert answer["logits"].shape == expected.shape
        assert row_errors(answer["logits"], expected).max() < 1e-5


def test_an_id_that_does_not_exist_is_the_matter_of_its_request_alone(images: tuple[LoadedEnsemble, Golden]) -> None:
    ensemble, golden = images
    image = golden.inputs["image"][:2]
    requests = [{"cond_id": np.array(ids), "image": image} for ids in ([0, 1], [1, 3], [2, -1], [2, 0])]
    first, second, third, fourth = Answers(ensemble, batched=True).of(requests)
    assert (second, third) == tuple(f"member {one} does not exist: this ensemble has members 0 to 2" for one in (3, -1))
    assert not isinstance(first, str)
    assert not isinstance(fourth, str)
    assert row_errors(first["logits"], golden.outputs["logits"][[0, 1], [0, 1]]).max() < 1e-5
    assert row_errors(fourth["logits"], golden.outputs["logits"][[2, 0], [0, 1]]).max() < 1e-5


def test_samples_of_other_sizes_are_not_joined() -> None:
    ensemble, golden = load(bundle_of("reader"), threads=1), read_golden(bundle_of("reader"))
    whole = taken(ensemble.signature, golden.inputs, [0, 1])
    short = {name: array[:, :-1] for name, array in whole.items()}
    ids = {"cond_id": np.array([1, 1])}
    first, second = Answers(ensemble, batched=True).of([{**ids, **whole}, {**ids, **short}])
    for answer, inputs in ((first, whole), (second, short)):
        assert not isinstance(answer, str)
        expected = ensemble.outputs(1, inputs)
        assert {name: array.shape for name, array in answer.items()} == {
            name: array.shape for name, array in expected.items()
        }
        assert all(np.allclose(answer[name], expected[name], atol=1e-5) for name in expected)


@pytest.mark.parametrize("kind", first(2, KINDS))
def test_the_model_loads_from_its_version_without_the_bundle_that_it_is_of(kind: str, tmp_path: Path) -> None:
    options = TritonOptions(name="net", models=(Served.PYTHON,), threads=1)
    deploy_triton(bundle_of(kind), tmp_path, options)
    golden, batched = read_golden(bundle_of(kind)), kind in ("images", "uint8", "reader")
    parameters = {"strategy": {"string_value": "materialised"}, "threads": {"string_value": "1"}}
    model = TritonPythonModel()
    model.initialize(
        {
            "model_config": json.dumps({"max_batch_size": 8 if batched else 0, "parameters": parameters}),
            "model_repository": str(tmp_path / "net-python"),
            "model_version": "1",
            "model_instance_kind": "CPU",
            "model_instance_device_id": "0",
        }
    )
    count = len(golden.kinds) if batched else 1
    request = {name: np.atleast_1d(array) for name, array in golden.inputs.items()}
    (answer,) = model._answers.of([{"cond_id": np.full(count, 0), **request}])
    assert not isinstance(answer, str)
    for name, expected in golden.outputs.items():
        if expected.dtype.kind == "f":
            assert row_errors(answer[name], np.atleast_1d(expected[0])).max() < 1e-5
        else:
            assert np.array_equal(answer[name], expected[0])
