"""What is shown and printed as JSON of several outputs of different kinds."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from hnexport.cli.predict_arrays import check_target, write_arrays
from hnexport.cli.predict_json import as_json_value
from hnexport.cli.render_predict import Shown, print_predictions
from hnexport.errors import RuntimeInputError
from hnexport.runtime.uncertainty import summarise_outputs
from hnexport.spec import BATCH, OutputKind, OutputSpec, Signature

OUTPUTS = (
    OutputSpec(name="intent", dtype="float32", shape=(BATCH, 3), kind=OutputKind.LOGITS, axis=1),
    OutputSpec(name="map", dtype="float32", shape=(BATCH, 2, 4), kind=OutputKind.LOGITS, axis=1),
    OutputSpec(name="width", dtype="float32", shape=(BATCH, 5, 3)),
    OutputSpec(name="length", dtype="int64", shape=(BATCH,)),
    OutputSpec(name="scale", dtype="float32", shape=()),
)
RANDOM = np.random.default_rng(0)
VALUES = {
    "intent": RANDOM.standard_normal((2, 2, 3)).astype(np.float32),
    "map": RANDOM.standard_normal((2, 2, 2, 4)).astype(np.float32),
    "width": RANDOM.standard_normal((2, 2, 5, 3)).astype(np.float32),
    "length": np.array([[3, 4], [3, 5]]),
    "scale": np.array([1.5, 2.5], np.float32),
}


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    monkeypatch.setenv("COLUMNS", "120")
    return Shown(
        signature=Signature(inputs=(), outputs=OUTPUTS),
        outputs=summarise_outputs(VALUES, OUTPUTS, (4, 7)),
        samples=("first", "second"),
    )


def test_every_output_of_every_sample_is_shown(shown: Shown, capsys: pytest.CaptureFixture[str]) -> None:
    print_predictions(shown)
    text = capsys.readouterr().out
    titles = [f"{sample}, {name}" for sample in shown.samples for name in ("intent", "map", "width", "length")]
    places = [text.index(title) for title in [*titles, "scale"]]
    assert places == sorted(places)
    assert text.count("predictive entropy") == 2
    width = VALUES["width"][:, 0, 0, 0].astype(np.float64)
    assert f"{width.mean():.5g}" in text
    assert f"{width.var():.5g}" in text
    assert "the first 12 of 15" in text
    assert "2 │     0.25 │ 1.5, 2.5" in text
    assert re.search("│ all +│ 4, 5 +│", text)


def test_json_has_every_output_whole(shown: Shown) -> None:
    value = json.loads(json.dumps(as_json_value(shown, word="sample"), allow_nan=False))
    assert (value["samples"], value["members"]) == (["first", "second"], [4, 7])
    assert list(value["outputs"]) == [output.name for output in OUTPUTS]
    assert np.shape(value["outputs"]["width"]["members"]) == (2, 2, 5, 3)
    np.testing.assert_allclose(value["outputs"]["width"]["variance"], VALUES["width"].astype(float).var(axis=0))
    assert value["outputs"]["length"] == {"kind": "value", "members": [[3, 4], [3, 5]]}
    assert np.shape(value["outputs"]["map"]["predictive_entropy_nats"]) == (2, 4)


def test_what_is_not_finite_is_null_in_json_and_nan_in_tables(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    values = {name: array.copy() for name, array in VALUES.items()}
    for name in ("intent", "map", "width"):
        values[name][:, 1] = np.nan
    shown = Shown(
        signature=Signature(inputs=(), outputs=OUTPUTS),
        outputs=summarise_outputs(values, OUTPUTS, (0, 1)),
        samples=("a", "b"),
    )
    value = as_json_value(shown, word="sample")
    assert value["outputs"]["width"]["mean"][1][0] == [None] * 3
    assert value["outputs"]["intent"]["mean_probabilities"][1] == [None] * 3
    print_predictions(shown)
    assert capsys.readouterr().out.count("nothing (NaN)") == 3 + 4


def test_classes_have_their_names_in_every_output(shown: Shown, capsys: pytest.CaptureFixture[str]) -> None:
    names = {"intent": ("book", "cancel", "ask"), "map": ("road", "grass")}
    named = dataclasses.replace(shown, labels=names)
    print_predictions(named)
    text = capsys.readouterr().out
    assert "class " not in text
    best = [names["map"][one] for one in shown.outputs["map"].probabilities[0].argmax(0)]
    assert [row.split("│")[2].strip() for row in text.splitlines() if re.match("│ +[0-3] +│ (road|grass)", row)][
        :4
    ] == best
    outputs = as_json_value(named, word="sample")["outputs"]
    assert (outputs["intent"]["labels"], outputs["map"]["labels"]) == (["book", "cancel", "ask"], ["road", "grass"])
    assert "labels" not in outputs["width"]


def test_arrays_have_the_names_of_the_ensemble_graph(shown: Shown, tmp_path: Path) -> None:
    write_arrays(tmp_path / "o.npz", shown.signature, shown.outputs)
    with np.load(tmp_path / "o.npz") as found:
        assert found["cond_ids"].tolist() == [4, 7]
        for name, array in VALUES.items():
            assert np.array_equal(found[f"member_{name}"], array)
        assert found["mean_probabilities_intent"].shape == (2, 3)
        assert found["predictive_entropy_map"].shape == (2, 4)
        np.testing.assert_allclose(found["variance_width"], VALUES["width"].astype(float).var(axis=0))
        assert "mean_length" not in found


def test_several_outputs_do_not_fit_into_one_array(shown: Shown, tmp_path: Path) -> None:
    with pytest.raises(RuntimeInputError, match="this network has 5 outputs"):
        check_target(tmp_path / "o.npy", shown.signature)
