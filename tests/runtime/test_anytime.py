"""Members one after the other: when they are enough, and that nothing but a sample itself decides that."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from fixture_types import BuiltOnce
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy.special import softmax
from shared import built_list

from hnexport.errors import RuntimeInputError
from hnexport.runtime import AnytimePrediction, LoadedEnsemble, Until, load
from hnexport.runtime.anytime import check_anytime, predict_until
from hnexport.runtime.uncertainty import summarise
from hnexport.runtime.until import as_until
from hnexport.spec import OutputKind, OutputSpec, Signature, TensorSpec

SIGNATURE = Signature(
    inputs=(TensorSpec(name="row", dtype="int64", shape=("batch",)),),
    outputs=(OutputSpec(name="logits", dtype="float64", shape=("batch", "class"), kind=OutputKind.LOGITS, axis=1),),
)
ALL_RULES = ("exact", "votes", 0.4, 0.6, 0.9)


def asked(
    logits: NDArray[Any] | NDArray[np.float64], until: str | float, members: tuple[int, ...] | None = None
) -> tuple[AnytimePrediction, list[Any]]:
    """The prediction of members whose logits `[member, row, class]` are known, and the rows that each was given."""
    seen = []

    def run(member: int, inputs: Mapping[str, NDArray[Any]]) -> dict[Any, Any]:
        seen.append(inputs["row"].tolist())
        return {"logits": logits[member, inputs["row"]]}

    order = tuple(range(len(logits))) if members is None else members
    found = predict_until(run, SIGNATURE, order, {"row": np.arange(logits.shape[1])}, as_until(until))
    return found, seen


# one class has everything, two or more share it, or it is spread: sums meet exactly and answers are overturned at last
hostile = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 7), st.integers(1, 4), st.integers(1, 4)),
    elements=st.sampled_from([0.0, 0.0, 1.0, 1000.0, 1000.0, -1000.0, 0.5, np.log(3.0)]),
)


@given(logits=hostile)
def test_exact_answers_are_those_of_all_members(logits: NDArray[np.float64]) -> None:
    found, _ = asked(logits, "exact")
    assert np.array_equal(found.probabilities.argmax(-1), summarise(logits).probabilities.argmax(-1))


@given(logits=hostile)
def test_exact_votes_are_those_of_all_members(logits: NDArray[np.float64]) -> None:
    found, _ = asked(logits, "votes")
    assert np.array_equal(found.votes.argmax(-1), summarise(logits).votes.argmax(-1))


@pytest.mark.parametrize("members", [2, 4, 7])
def test_thousands_of_rows_whose_members_are_sure_and_disagree_keep_their_answers(members: int) -> None:
    random = np.random.default_rng(members)
    logits = random.choice([0.0, 1.0, 1000.0], size=(members, 5000, 3))
    whole = summarise(logits)
    found, votes = asked(logits, "exact")[0], asked(logits, "votes")[0]
    assert np.array_equal(found.probabilities.argmax(-1), whole.probabilities.argmax(-1))
    assert np.array_equal(votes.votes.argmax(-1), whole.votes.argmax(-1))
    for used in (found.members_used, votes.members_used):
        assert used.max() == members
        assert members == 2 or used.min() < members


@given(logits=hostile)
def test_no_fewer_members_could_be_sure_of_the_answer(logits: NDArray[np.float64]) -> None:
    members, rows, classes = logits.shape
    for until, said in (("exact", softmax(logits, axis=-1)), ("votes", np.eye(classes)[logits.argmax(-1)])):
        found, _ = asked(logits, until)
        for row in range(rows):
            before = found.members_used[row] - 1
            so_far = said[:before, row].sum(axis=0)
            ends = so_far + (members - before) * np.eye(classes)  # the others are sure of one class, whichever it is
            answers = {tuple(np.flatnonzero(end >= end.max() - 1e-5)) for end in ends}
            assert before == 0 or len(answers) > 1


def test_the_last_member_can_overturn_the_answer_by_a_tie() -> None:
    sure = 1000.0 * np.eye(3)
    logits = np.stack([[sure[1], sure[0]], [sure[0], sure[1]]])  # the smaller class wins a tie
    assert asked(logits, "votes")[0].members_used.tolist() == [2, 1]
    assert asked(logits, "exact")[0].members_used.tolist() == [2, 2]
    assert asked(logits, "exact")[0].probabilities.argmax(-1).tolist() == [0, 0]


def reference(logits: NDArray[np.float64], confidence: float, least: int = 1) -> tuple[NDArray[Any], NDArray[Any]]:
    """How many members each row takes, and their mean probabilities, row by row in float64."""
    used, means = [], []
    for row in range(logits.shape[1]):
        p = softmax(logits[:, row].astype(np.float64), axis=-1)
        count = next((k for k in range(least, len(p)) if p[:k].mean(axis=0).max() >= confidence), len(p))
        used.append(count)
        means.append(p[:count].mean(axis=0))
    return np.array(used), np.array(means)


def telling(logits: Any, least: int = 1) -> float:
    """The confidence at which rows take the most different numbers of members; no mean probability comes near it."""
    sums = np.cumsum(softmax(logits.astype(np.float64), axis=-1), axis=0)
    values = np.sort((sums / np.arange(1, len(logits) + 1)[:, np.newaxis, np.newaxis]).max(axis=-1).reshape(-1))
    middles = ((values[:-1] + values[1:]) / 2)[np.diff(values) > 1e-4]
    return max(map(float, middles), key=lambda one: len(set(reference(logits, one, least)[0])))


@pytest.mark.parametrize("least", [1, 3])
def test_members_are_counted_as_a_plain_loop_counts_them(ensemble: LoadedEnsemble, least: int) -> None:
    images = np.random.default_rng(5).standard_normal((16, 3, 8, 8)).astype(np.float32)
    logits = ensemble.predict(images, members="all")
    confidence = telling(logits, least)
    used, means = reference(logits, confidence, least)
    assert len(set(used)) > 1
    found = ensemble.predict_mean(images, until=Until(confidence=confidence, least=least))
    assert isinstance(found, AnytimePrediction)
    assert found.members_used.dtype == np.int64
    assert found.members_used.tolist() == used.tolist()
    np.testing.assert_allclose(found.probabilities, means, atol=1e-6)
    for row, count in enumerate(used):
        own = summarise(logits[:count, row : row + 1])
        np.testing.assert_allclose(found.predictive_entropy[row], own.predictive_entropy[0], atol=1e-6)
        np.testing.assert_allclose(found.mutual_information[row], own.mutual_information[0], atol=1e-6)
        assert found.votes[row].tolist() == own.votes[0].tolist()
        assert np.isnan(found.logits[count:, row]).all()
        np.testing.assert_allclose(found.logits[:count, row], logits[:count, row], atol=1e-5)


@pytest.mark.each_once
@pytest.mark.parametrize("strategy", ["materialised", "generated"])
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("name", ["hypernet", "batch-ensemble", "list"])
def test_members_of_an_image_do_not_depend_on_the_others_of_its_batch(
    built_once: BuiltOnce, name: str, engine: str, strategy: str
) -> None:
    bundle = built_list("cnn").path if name == "list" else built_once(name)
    ensemble = load(bundle, engine=engine, strategy=strategy, provider="cpu", check="none")
    (image,) = ensemble.signature.inputs
    images = np.random.default_rng(5).standard_normal((16, *image.row)).astype(np.float32)
    confidence = telling(ensemble.predict(images, members="all"))
    for until in (confidence, "exact"):
        together = ensemble.predict_mean(images, until=until)
        for row in range(5):
            alone = ensemble.predict_mean(images[row : row + 1], until=until)
            assert alone.members_used[0] == together.members_used[row]
            np.testing.assert_allclose(alone.probabilities[0], together.probabilities[row], atol=1e-6)
            np.testing.assert_allclose(alone.predictive_entropy[0], together.predictive_entropy[row], atol=1e-5)
    assert len(set(ensemble.predict_mean(images, until=confidence).members_used)) > 1


@pytest.mark.parametrize("confidence", [0.5, 0.65])
def test_each_row_takes_what_its_own_members_say(confidence: float) -> None:
    logits = 2 * np.random.default_rng(7).standard_normal((8, 200, 4))
    used, means = reference(logits, confidence)
    found, _ = asked(logits, confidence)
    assert np.array_equal(found.members_used, used)
    assert len(set(used)) > 2
    np.testing.assert_allclose(found.probabilities, means, rtol=1e-12)


def test_a_member_is_given_only_what_is_open() -> None:
    unsure, sure = np.zeros(3), 1000.0 * np.eye(3)[0]
    logits = np.array([[sure, unsure, unsure], [sure, sure, unsure], [sure, sure, unsure], [sure, sure, sure]])
    found, seen = asked(logits, 0.6)
    assert seen == [[0, 1, 2], [1, 2], [2], [2]]
    assert found.members_used.tolist() == [1, 2, 4]
    assert asked(logits[:, :2], 0.6)[1] == [[0, 1], [1]]  # the others are not run at all


def test_members_are_asked_in_the_order_that_is_given(ensemble: LoadedEnsemble, images: NDArray[np.float32]) -> None:
    found = ensemble.predict_mean(images, members=[4, 1, 7], until=Until(confidence=0.01, least=2))
    assert found.members == (4, 1, 7)
    assert found.members_used.tolist() == [2, 2, 2, 2]
    np.testing.assert_allclose(
        found.probabilities, ensemble.predict_mean(images, members=[4, 1]).probabilities, atol=1e-12
    )


@pytest.mark.parametrize("until", ALL_RULES, ids=str)
def test_nan_in_an_image_is_its_own_affair(
    ensemble: LoadedEnsemble, images: NDArray[np.float32], until: float | str
) -> None:
    broken = images.copy()
    broken[1] = np.nan
    found, whole = ensemble.predict_mean(broken, until=until), ensemble.predict_mean(images, until=until)
    assert np.isnan(found.probabilities[1]).all()
    assert found.votes[1].sum() == 0
    assert np.array_equal(np.delete(found.members_used, 1), np.delete(whole.members_used, 1))
    np.testing.assert_allclose(
        np.delete(found.probabilities, 1, axis=0), np.delete(whole.probabilities, 1, axis=0), atol=1e-6
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("reader", "this one has the outputs logits, decoded, choice"),
        ("regressor", "this one has the outputs mean, whole"),
        ("pixels", "classes along axis"),
    ],
)
def test_only_logits_of_a_batch_can_be_stopped(name: str, reason: str) -> None:
    ensemble = load(built_list(name).path, provider="cpu", check="none")
    with pytest.raises(RuntimeInputError, match=f"only output is logits .batch, class., .*{reason}.*leave it out"):
        ensemble.predict_mean({}, until="exact")


def test_a_value_cannot_be_stopped() -> None:
    value = OutputSpec(name="mean", dtype="float32", shape=("batch", 2), kind=OutputKind.VALUE)
    with pytest.raises(RuntimeInputError, match="mean is a value: leave it out"):
        check_anytime(dataclasses.replace(SIGNATURE, outputs=(value,)))


@pytest.mark.parametrize(
    ("until", "message"),
    [
        ("sure", "until is 'exact', 'votes', 'bundle' or a probability such as 0.8, found 'sure'"),
        (80, "above 0 and below 1, found 80; for 80 % say 0.8"),
        (1, "above 0 and below 1, found 1$"),
        (0.0, "above 0 and below 1"),
        (float("nan"), "above 0 and below 1"),
        (True, "a probability such as 0.8 or Until.*found True"),
        ([0.8], "a probability such as 0.8 or Until"),
    ],
    ids=str,
)
def test_what_is_no_rule_is_refused(
    ensemble: LoadedEnsemble, images: NDArray[np.float32], until: Any, message: str
) -> None:
    with pytest.raises(RuntimeInputError, match=message):
        ensemble.predict_mean(images, until=until)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give either"),
        ({"confidence": 0.8, "answer": "mean"}, "give either"),
        ({"answer": "median"}, "answer must be one of 'mean', 'votes'"),
        ({"confidence": 0.8, "least": 0}, "least must be a whole number from 1"),
    ],
)
def test_a_rule_says_one_thing(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(RuntimeInputError, match=message):
        Until(**arguments)
