"""The TypeScript module in Node, and what of the page needs no browser."""

import filecmp
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from web_sites import Node
from written import Written, written

from hnexport.rows import row_errors
from hnexport.runtime import load
from hnexport.runtime.uncertainty import summarise, summarise_value

pytestmark = pytest.mark.browser

SITE = Path(__file__).parents[2] / "hnexport" / "deploy" / "static"
KINDS = ("hypernet", "batch-ensemble", "pixels", "list of encoders", "list of GRUs")
LIMIT = 1e-5


def array(tensor: Any, shape: tuple[int, ...] | None = None) -> np.ndarray[Any, Any]:
    values = [float(one) for one in tensor["data"]]
    return np.array(values).reshape(shape or tensor["shape"])


@pytest.fixture(scope="module", params=["onnxruntime-node", "onnxruntime-web"])
def runtime(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module", params=KINDS)
def answers(request: pytest.FixtureRequest, runtime: str, node: Node) -> tuple[Written, Any]:
    files = written(request.param)
    return files, json.loads(node("module.mjs", runtime, files.folder))


def test_every_member_is_right_on_the_golden_samples(answers: tuple[Written, Any]) -> None:
    _, found = answers
    assert 0 < found["worst"] <= LIMIT


def test_members_together_are_what_the_runtime_says(answers: tuple[Written, Any]) -> None:
    from hnexport.bundle.golden import read_golden

    files, found = answers
    golden = read_golden(files.folder)
    ensemble = load(files.folder)
    expected = ensemble.predict_mean(golden.inputs)
    named = expected if isinstance(expected, dict) else {files.signature.outputs[0].name: expected}
    assert found["order"] == list(range(files.members))
    for name, own in named.items():
        said = found["mean"][name]
        if said["kind"] == "value":
            assert row_errors(array(said["mean"]), own.mean).max() <= LIMIT
            assert np.allclose(array(said["variance"]), own.variance, atol=1e-6)
            continue
        assert row_errors(array(said["logits"])[0], own.logits[0].astype(float)).max() <= LIMIT
        assert np.allclose(array(said["probabilities"]), own.probabilities, atol=1e-5)
        assert np.allclose(array(said["memberProbabilities"]), own.member_probabilities, atol=1e-5)
        assert np.allclose(array(said["predictiveEntropy"]), own.predictive_entropy, atol=1e-4)
        assert np.allclose(array(said["mutualInformation"]), own.mutual_information, atol=1e-4)


def test_members_that_are_asked_for_at_once_keep_their_own_answers(answers: tuple[Written, Any]) -> None:
    files, found = answers
    for output in files.signature.outputs:
        said = found["mean"][output.name]
        stacked = array(said["logits"] if said["kind"] == "logits" else said["values"])
        assert np.allclose(array(found["first"][output.name]), stacked[0], atol=1e-6, rtol=1e-6)
        assert np.allclose(array(found["last"][output.name]), stacked[-1], atol=1e-6, rtol=1e-6)


def test_arrays_that_change_while_a_call_waits_change_no_answer(answers: tuple[Written, Any]) -> None:
    files, found = answers
    for output in files.signature.outputs:
        assert found["overwritten"]["alone"][output.name]["data"] == found["first"][output.name]["data"]
        said, known = found["overwritten"]["pair"][output.name], found["mean"][output.name]
        kind = "logits" if said["kind"] == "logits" else "values"
        count = len(said[kind]["data"])
        assert said[kind]["data"] == known[kind]["data"][:count]


def test_no_more_members_are_kept_than_were_asked_for(answers: tuple[Written, Any]) -> None:
    assert len(answers[1]["resident"]) == 2


def test_what_cannot_be_answered_is_refused_in_words(answers: tuple[Written, Any]) -> None:
    files, found = answers
    name = files.signature.inputs[0].name
    existing = f"this ensemble has members 0 to {files.members - 1}"
    assert found["refused"]["too large"] == f"HnexportError: member {files.members} does not exist: {existing}"
    assert found["refused"]["negative"] == f"HnexportError: member -1 does not exist: {existing}"
    assert found["refused"]["a fraction"] == f"HnexportError: member 0.5 does not exist: {existing}"
    assert found["refused"]["no members"] == "HnexportError: members is empty: name at least one"
    assert found["refused"]["no member"] == f"HnexportError: member: expected a number, found undefined: {existing}"
    assert found["refused"]["a text"] == f'HnexportError: member: expected a number, found string "1": {existing}'
    assert found["refused"]["nothing"].startswith("HnexportError: inputs: expected ")
    assert found["refused"]["no address"].startswith("HnexportError: bundles/x/ is no address: give one, or a function")
    assert found["refused"]["half a manifest"].startswith("HnexportError: manifest.json is damaged: it has no slots")
    assert found["refused"]["of a vector"].startswith("HnexportError: a member's weights are made of code")
    assert found["refused"]["no input"].startswith(f"HnexportError: the input {name} is missing: expected ")
    assert found["refused"]["unknown input"].startswith("HnexportError: there is no input other, only ")


@pytest.fixture(scope="module")
def numbers(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    def run(summaries: tuple[()] = (), pictures: tuple[()] = ()) -> Any:
        jobs = tmp_path_factory.mktemp("jobs") / "jobs.json"
        jobs.write_text(json.dumps({"summaries": list(summaries), "pictures": list(pictures)}))
        return json.loads(node("numbers.mjs", jobs))

    return run


LOGITS = {
    "plain": (np.random.default_rng(0).normal(size=(4, 5, 7)), 1),
    "large": (np.random.default_rng(1).normal(size=(3, 2, 5)) * 1e4, 1),
    "classes in the middle": (np.random.default_rng(2).normal(size=(3, 2, 4, 3)), 1),
    "classes last of three": (np.random.default_rng(3).normal(size=(2, 2, 3, 4)), 2),
    "minus infinity": (np.array([[[0.0, -np.inf, 1.0]], [[0.5, 0.25, -np.inf]]]), 1),
    "one member": (np.random.default_rng(4).normal(size=(1, 2, 3)), 1),
    "all the same": (np.zeros((3, 2, 4)), 1),
}


@pytest.mark.parametrize(("logits", "axis"), LOGITS.values(), ids=LOGITS.keys())
def test_uncertainty_is_pythons_to_the_last_digits(
    numbers: Callable[..., Any], logits: NDArray[Any], axis: int
) -> None:
    logits = logits.astype(np.float32)
    job = {"kind": "logits", "axis": axis, "shape": logits.shape[1:]}
    members = [[str(one) if np.isinf(one) else float(one) for one in member.ravel()] for member in logits]
    for member in members:
        member[:] = ["-Infinity" if one == "-inf" else one for one in member]
    (found,) = numbers([{**job, "members": members}])["summaries"]
    expected = summarise(logits, axis=axis - logits.ndim + 1)
    pairs = {
        "probabilities": expected.probabilities,
        "memberProbabilities": expected.member_probabilities,
        "predictiveEntropy": expected.predictive_entropy,
        "mutualInformation": expected.mutual_information,
        "votes": expected.votes,
    }
    for name, exact in pairs.items():
        assert np.allclose(np.array(found[name], float), exact.ravel(), rtol=1e-10, atol=1e-12), name


def test_a_sample_with_nan_spoils_only_itself(numbers: Callable[..., Any]) -> None:
    logits = np.array([[[0.0, 1.0], [np.nan, 1.0]], [[1.0, 0.0], [0.0, 1.0]]])
    job = {"kind": "logits", "axis": 1, "shape": (2, 2)}
    (found,) = numbers([{**job, "members": [[None if np.isnan(x) else x for x in m.ravel()] for m in logits]}])[
        "summaries"
    ]
    assert found["votes"] == [1, 1, 0, 1]
    assert found["probabilities"][2:] == ["NaN", "NaN"]
    assert found["predictiveEntropy"][1] == found["mutualInformation"][1] == "NaN"
    assert float(found["predictiveEntropy"][0]) == pytest.approx(np.log(2))


def test_values_have_pythons_mean_and_variance(numbers: Callable[..., Any]) -> None:
    values = np.random.default_rng(0).normal(size=(3, 2, 4)).astype(np.float32)
    job = {"kind": "value", "axis": None, "shape": (2, 4), "members": [m.ravel().tolist() for m in values]}
    (found,) = numbers([job])["summaries"]
    expected = summarise_value(values, (0, 1, 2))
    assert np.allclose(found["mean"], expected.mean.ravel(), rtol=1e-12)
    assert np.allclose(found["variance"], expected.variance.ravel(), rtol=1e-12)


def test_pictures_are_scaled_as_predict_scales_them(numbers: Callable[..., Any]) -> None:
    random = np.random.default_rng(0)
    sizes = [((32, 32), (8, 8)), ((5, 7), (32, 32)), ((150, 200), (32, 32)), ((33, 8), (8, 33)), ((1, 1), (4, 3)),
             ((64, 8), (8, 8)), ((301, 17), (28, 28)), ((8, 8), (8, 8))]  # fmt: skip
    jobs, expected = [], []
    for size, to in sizes:
        for channels in (1, 3):
            pixels = random.integers(0, 256, (*size, channels), dtype=np.uint8)
            jobs.append({"pixels": pixels.ravel().tolist(), "size": size, "to": to, "channels": channels})
            picture = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
            expected.append(np.asarray(picture.resize(to[::-1], Image.Resampling.BICUBIC)).ravel().tolist())
    assert numbers(pictures=jobs)["pictures"] == expected


def test_the_shipped_scripts_are_what_the_typescript_compiles_to(compiled: Path) -> None:
    for folder in ("module", "page"):
        names = {path.name for path in (compiled / folder).glob("*.js")}
        assert names == {path.name for path in (SITE / folder).glob("*.js")}
        _, *different = filecmp.cmpfiles(compiled / folder, SITE / folder, names, shallow=False)
        assert different == [[], []], "run `make page`"
