"""A scored set holds every row once, with what the runtime says of it, whatever form the pictures come in."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from pyarrow import parquet
from pyarrow.lib import Table
from scoring import DAMAGED, NAMES, OPTIONS, PART_ROWS, ROWS, ScoreBundle
from shared import built_list
from thorough import first

from hnexport.errors import RuntimeInputError
from hnexport.runtime import load
from hnexport.runtime.uncertainty import EnsemblePrediction
from hnexport.score import Scored, ScoreOptions, score
from hnexport.spec.usage import Normalisation

FORMS = ("photos", "rows.parquet", "file.arrow", "stream.arrow")


@pytest.fixture(scope="module")
def done(bundle: Path, forms: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scored]:
    """Every form, scored."""
    place = tmp_path_factory.mktemp("done")
    return {form: score(bundle, forms[form], place / f"{form}.parquet", options=OPTIONS) for form in FORMS}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_every_row_once_with_what_the_runtime_says(
    form: str, done: dict[str, Scored], expected: EnsemblePrediction
) -> None:
    out = done[form].out
    table = parquet.read_table(out)
    good = [number for number in range(ROWS) if number != DAMAGED]
    assert table.column("row").to_pylist() == list(range(ROWS))
    ids = [f"{number // 40}/{number:03}.png" for number in range(ROWS)]
    assert table.column("id").to_pylist() == (ids if form == "photos" else [f"p{number}" for number in range(ROWS)])
    chosen = table.take(good)
    probabilities = np.array(chosen.column("mean_probabilities").to_pylist())
    np.testing.assert_allclose(probabilities, expected.probabilities[good], rtol=1e-4, atol=1e-6)
    answers = expected.probabilities[good].argmax(-1)
    assert chosen.column("answer").to_pylist() == answers.tolist()
    assert chosen.column("class_name").to_pylist() == [NAMES[one] for one in answers]
    np.testing.assert_allclose(chosen.column("probability").to_numpy(), probabilities.max(-1), rtol=1e-6)
    assert chosen.column("votes").to_pylist() == expected.votes[good, answers].tolist()
    for name in ("predictive_entropy", "mutual_information"):
        np.testing.assert_allclose(chosen.column(name).to_numpy(), getattr(expected, name)[good], atol=1e-5)
    assert set(chosen.column("members_used").to_pylist()) == {3}
    assert chosen.column("error").null_count == len(good)
    assert not out.with_name(out.name + ".parts").exists()


@pytest.mark.parametrize("form", FORMS)
def test_a_damaged_picture_has_an_error_and_nothing_else_and_stops_nothing(form: str, done: dict[str, Scored]) -> None:
    (fault,) = done[form].faults.first
    assert (done[form].faults.count, fault.row) == (1, DAMAGED)
    row = parquet.read_table(done[form].out).slice(DAMAGED, 1).to_pylist()[0]
    assert {name for name, value in row.items() if value is not None} == {"id", "row", "error"}
    assert "cannot be read as an image" in row["error"]
    assert fault.error == row["error"]


def test_arrays_are_scored_by_their_numbers_and_rows_without_numbers_have_no_answer(
    scored: ScoreBundle, images: NDArray[np.float32], expected: EnsemblePrediction, tmp_path: Path
) -> None:
    array = images.copy()
    array[3, 0, 0, 0] = np.nan
    np.save(tmp_path / "images.npy", array)
    done = scored(tmp_path / "images.npy", tmp_path / "out.parquet")
    table = parquet.read_table(done.out)
    assert table.column("id").to_pylist() == table.column("row").to_pylist() == list(range(ROWS))
    (fault,) = done.faults.first
    assert fault.row == 3
    row = table.slice(3, 1).to_pylist()[0]
    assert (row["answer"], row["class_name"], row["probability"], row["votes"]) == (None, None, None, None)
    assert np.isnan(row["mean_probabilities"]).all()
    assert "not a number" in row["error"]
    rest = [number for number in range(ROWS) if number != 3]
    found = np.array(table.take(rest).column("mean_probabilities").to_pylist())
    np.testing.assert_allclose(found, expected.probabilities[rest], rtol=1e-4, atol=1e-6)


def test_members_rule_and_member_outputs_are_those_of_the_runtime(
    bundle: Path, images: NDArray[np.float32], tmp_path: Path
) -> None:
    np.save(tmp_path / "images.npy", images)
    ensemble = load(bundle, provider="cpu", threads=1)
    until = float(np.median(ensemble.predict_mean(images, members=[2]).probabilities.max(-1)))
    options = dataclasses.replace(OPTIONS, members=(2, 0), until=until, member_outputs=True)
    done = score(bundle, tmp_path / "images.npy", tmp_path / "out.parquet", options=options)
    expected = ensemble.predict_mean(images, members=(2, 0), until=until)
    table = parquet.read_table(done.out)
    assert table.column("members_used").to_pylist() == expected.members_used.tolist()
    assert set(expected.members_used.tolist()) == {1, 2}
    found = np.moveaxis(np.array(table.column("member_logits").to_pylist()), 1, 0)
    np.testing.assert_allclose(found, expected.logits, rtol=1e-3, atol=1e-5)
    assert (done.plan.members, done.plan.until) == ((2, 0), repr(until))


def test_the_file_says_what_it_was_made_of(whole: bytes, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "whole.parquet").write_bytes(whole)
    said = json.loads(parquet.read_metadata(tmp_path / "whole.parquet").metadata[b"hnexport"])
    assert said["digest"].startswith("sha256:")
    assert (said["members"], said["precision"], said["provider"], said["rows"]) == ([0, 1, 2], "float32", "cpu", ROWS)
    assert said["pictures"]["normalisation"] == {"by": "ensemble", "mean": [0.5], "std": [0.25]}
    assert said["class_names"] == {"logits": list(NAMES)}


@pytest.mark.thorough
def test_a_network_of_several_inputs_and_outputs_is_scored_from_columns(tmp_path: Path) -> None:
    built = built_list("transformer")
    random = np.random.default_rng(0)
    inputs: dict[str, NDArray[Any]] = {
        "tokens": random.integers(0, 50, (9, 12)),
        "weighting": random.standard_normal((9, 12)).astype(np.float32),
    }
    columns = {name: list(array) for name, array in inputs.items()}
    parquet.write_table(pa.table({**columns, "key": [f"k{n}" for n in range(9)]}), tmp_path / "in.parquet")
    options = ScoreOptions(provider="cpu", part_rows=4, identifier="key")
    done = score(built.path, tmp_path / "in.parquet", tmp_path / "out.parquet", options=options)
    table = parquet.read_table(done.out)
    expected = load(built.path, provider="cpu").predict_mean(inputs)
    assert table.column("id").to_pylist() == [f"k{n}" for n in range(9)]
    for name, one in expected.items():
        found = np.array(table.column(f"mean_probabilities_{name}").to_pylist())
        np.testing.assert_allclose(found, one.probabilities, rtol=1e-4, atol=1e-6)
    assert table.column("answer_classes").to_pylist() == expected["classes"].probabilities.argmax(-1).tolist()


@pytest.mark.thorough
def test_a_row_of_numbers_of_another_length_is_that_rows_error(tmp_path: Path) -> None:
    built = built_list("transformer")
    tokens = [list(range(12)) for _ in range(6)]
    tokens[4] = [1, 2]
    weighting = pa.array([[0.5] * 12] * 6, pa.list_(pa.float32()))
    table = pa.table({"tokens": tokens, "weighting": weighting})
    parquet.write_table(table, tmp_path / "in.parquet")
    done = score(built.path, tmp_path / "in.parquet", tmp_path / "out.parquet", options=ScoreOptions(provider="cpu"))
    assert [fault.row for fault in done.faults.first] == [4]
    assert "expected [12] numbers" in done.faults.first[0].error


REFUSED = {
    "no column of pictures": (pa.table({"label": [1, 2]}), {}, "has no column 'image': found label"),
    "two columns of pictures": (pa.table({"a": [b"x"], "b": [b"y"]}), {}, "several columns of pictures, a, b"),
    "text as numbers": (pa.table({"image": ["x", "y"]}), {}, "none of 2 rows, spread over 2, can be read"),
    "no row can be read": (pa.table({"picture": [b"x", b"y"]}), {}, "none of 2 rows, spread over 2, can be read"),
    "no rows": (pa.table({"picture": pa.array([], pa.binary())}), {}, "holds no samples"),
    "no such ids": (pa.table({"picture": [b"x"]}), {"identifier": "key"}, "has no column 'key' with what rows are"),
}


@pytest.mark.parametrize(("table", "changes", "message"), first(2, REFUSED.values()), ids=REFUSED.keys())
def test_a_wrong_schema_is_refused_before_anything_is_written(
    table: Table, changes: dict[str, Any], message: str, bundle: Path, tmp_path: Path
) -> None:
    parquet.write_table(table, tmp_path / "in.parquet")
    with pytest.raises(RuntimeInputError, match=message):
        score(
            bundle, tmp_path / "in.parquet", tmp_path / "out.parquet", options=dataclasses.replace(OPTIONS, **changes)
        )
    assert [one.name for one in tmp_path.iterdir()] == ["in.parquet"]


def test_what_is_no_data_set_is_refused(scored: ScoreBundle, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("none")
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1 no")
    (tmp_path / "damaged.arrow").write_bytes(b"ARROW1 no")
    for name, message in {
        "empty": "holds no files",
        "notes.txt": "is no data set: expected a folder",
        "none.npy": "cannot be read as a .npy file",
        "gone": "does not exist",
        "damaged.parquet": "cannot be read as Parquet",
        "damaged.arrow": "cannot be read as Arrow",
    }.items():
        with pytest.raises(RuntimeInputError, match=message):
            scored(tmp_path / name, tmp_path / "out.parquet")
    with pytest.raises(RuntimeInputError, match=r"must end in \.parquet"):
        scored(tmp_path / "empty", tmp_path / "out.csv")


def test_what_cannot_be_columns_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((2, 4), np.float32))
    for kind, message in {
        "reader": "only what has a row of one size",
        "scorer": "is given once for all samples",
    }.items():
        with pytest.raises(RuntimeInputError, match=message):
            score(built_list(kind).path, tmp_path / "x.npy", tmp_path / "out.parquet")


def test_pictures_that_nobody_said_how_to_normalise_are_refused_at_once(
    forms: dict[str, Path], tmp_path: Path, bundle: Path
) -> None:
    from bundles import small_bundle

    for form in ("photos", "rows.parquet"):
        with pytest.raises(RuntimeInputError, match="does not say how training normalised pictures"):
            score(small_bundle("hypernet"), forms[form], tmp_path / "out.parquet", options=OPTIONS)
    pictures = {"normalisation": Normalisation(mean=(0.5,), std=(0.25,))}
    options = dataclasses.replace(OPTIONS, pictures=pictures, class_names={"logits": NAMES})
    score(small_bundle("hypernet"), forms["photos"], tmp_path / "out.parquet", options=options)
    score(bundle, forms["photos"], tmp_path / "own.parquet", options=OPTIONS)
    one, other = (parquet.read_table(tmp_path / name) for name in ("out.parquet", "own.parquet"))
    assert one.equals(other)


def test_rows_of_a_part_do_not_depend_on_where_reading_began(
    scored: ScoreBundle, forms: dict[str, Path], bundle: Path
) -> None:
    from hnexport.bundle.manifest import read_manifest
    from hnexport.score.sources import open_source

    for form in FORMS:
        source = open_source(forms[form], read_manifest(bundle), OPTIONS)
        for start in (48, 0, 20, PART_ROWS):
            assert [row.id for row in source.read(start, start + 9)] == [
                row.id for row in open_source(forms[form], read_manifest(bundle), OPTIONS).read(0, ROWS)
            ][start : start + 9]
