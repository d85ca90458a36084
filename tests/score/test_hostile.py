"""Data that lie oddly, change, or hold what the network does not compute: no row is lost, doubled or mixed."""

import dataclasses
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from module_ensembles import Kind, normal
from numpy.typing import NDArray
from pyarrow import ipc, parquet
from scoring import OPTIONS, PART_ROWS, ROWS, ScoreBundle
from shared import built_kind, built_list
from torch import Tensor, nn

from hnexport import Logits
from hnexport.errors import RuntimeInputError
from hnexport.runtime import load
from hnexport.score import ScoreOptions, score


@pytest.fixture
def photos(forms: dict[str, Path], tmp_path: Path) -> Path:
    """Ten pictures in a folder of the test's own."""
    (folder := tmp_path / "photos").mkdir()
    for path in sorted(forms["photos"].glob("0/*.png"))[:10]:
        shutil.copy(path, folder)
    return folder


def test_predictions_among_the_data_are_refused(scored: ScoreBundle, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(photos)
    for out in (photos / "out.parquet", photos / "new/out.parquet", tmp_path / "link/out.parquet"):
        with pytest.raises(RuntimeInputError, match="lies in .*photos, whose files are scored"):
            scored(photos, out)
    assert len(list(photos.iterdir())) == 10


def test_a_link_to_a_folder_around_it_is_refused_and_one_to_another_is_followed(
    scored: ScoreBundle, photos: Path, tmp_path: Path
) -> None:
    (photos / "deeper").mkdir()
    (photos / "deeper/again").symlink_to("..")
    with pytest.raises(RuntimeInputError, match="again is a link to .*photos, in which it lies"):
        scored(photos, tmp_path / "out.parquet")
    (photos / "deeper/again").unlink()
    (tmp_path / "other").mkdir()
    shutil.copy(photos / "000.png", tmp_path / "other")
    (photos / "deeper/other").symlink_to(tmp_path / "other")
    assert scored(photos, tmp_path / "out.parquet").plan.rows == 11


def test_a_damaged_picture_whose_name_is_no_text_is_a_row(scored: ScoreBundle, photos: Path, tmp_path: Path) -> None:
    with open(os.fsencode(photos) + b"/\xfe.png", "wb") as file:
        file.write(b"no picture")
    done = scored(photos, tmp_path / "out.parquet")
    assert (done.plan.rows, done.faults.count) == (11, 1)
    assert done.faults.first[0].id == "\\udcfe.png"
    assert "\\udcfe.png cannot be read" in done.faults.first[0].error


@pytest.mark.parametrize("kind", ["dictionary", "view"])
def test_pictures_in_other_arrow_types_are_the_same_pictures(
    scored: ScoreBundle, photos: Path, tmp_path: Path, kind: str
) -> None:
    column = pa.array([path.read_bytes() for path in sorted(photos.iterdir())])
    other = column.dictionary_encode() if kind == "dictionary" else column.cast(pa.binary_view())
    answers = []
    for name, pictures in (("plain", column), (kind, other)):
        parquet.write_table(pa.table({"image": pictures}), tmp_path / f"{name}.parquet")
        scored(tmp_path / f"{name}.parquet", tmp_path / f"{name}-out.parquet")
        answers.append(parquet.read_table(tmp_path / f"{name}-out.parquet").column("mean_probabilities"))
    assert answers[0] == answers[1]


def test_columns_that_stand_twice_and_no_columns_are_refused(scored: ScoreBundle, tmp_path: Path) -> None:
    one = pa.array([b"x", b"y"])
    for names in (["image", "image"], ["image", "id", "id"]):
        table = pa.Table.from_arrays([one] * len(names), names=names)
        parquet.write_table(table, tmp_path / "twice.parquet")
        with ipc.new_file(tmp_path / "twice.arrow", table.schema) as writer:
            writer.write_table(table)
        for form in ("parquet", "arrow"):
            with pytest.raises(RuntimeInputError, match=f"has several columns '{names[-1]}'"):
                scored(tmp_path / f"twice.{form}", tmp_path / "out.parquet")
    with ipc.new_file(tmp_path / "none.arrow", pa.schema([])):
        pass
    with pytest.raises(RuntimeInputError, match="holds no columns"):
        scored(tmp_path / "none.arrow", tmp_path / "out.parquet")


def test_a_row_that_the_network_cannot_compute_is_that_rows_error(tmp_path: Path) -> None:
    built = built_list("transformer")
    tokens = np.random.default_rng(0).integers(0, 50, (6, 12))
    weighting = np.random.default_rng(1).standard_normal((6, 12)).astype(np.float32)
    tokens[2, 3] = 10**6
    parquet.write_table(pa.table({"tokens": list(tokens), "weighting": list(weighting)}), tmp_path / "in.parquet")
    done = score(built.path, tmp_path / "in.parquet", tmp_path / "out.parquet", options=ScoreOptions(provider="cpu"))
    assert [fault.row for fault in done.faults.first] == [2]
    assert "the network cannot compute it" in done.faults.first[0].error
    good = [0, 1, 3, 4, 5]
    expected = load(built.path, provider="cpu").predict_mean({"tokens": tokens[good], "weighting": weighting[good]})
    answers = parquet.read_table(done.out).column("answer_classes").to_pylist()
    assert answers == [
        *expected["classes"].probabilities.argmax(-1)[:2],
        None,
        *expected["classes"].probabilities.argmax(-1)[2:],
    ]


class Pooled(nn.Module):
    """Logits of a series of any length."""

    def __init__(self) -> None:
        super().__init__()
        self.classify = nn.Linear(3, 4)

    def forward(self, series: Tensor) -> Tensor:
        return self.classify(series).mean(1)


def test_rows_of_different_lengths_are_scored_each_as_it_is(tmp_path: Path) -> None:
    axes = {"dynamic_axes": {"series": {0: "batch", 1: "time"}}, "outputs": {"logits": Logits()}}
    built = built_kind("pooled", Kind(make=Pooled, count=2, inputs=normal(series=(5, 3)), options=axes))
    ensemble, random = load(built.path, provider="cpu"), np.random.default_rng(0)
    rows = [random.standard_normal((length, 3)).astype(np.float32) for length in (4, 6, 4, 5, 6)]
    column = pa.array([row.tolist() for row in rows], pa.list_(pa.list_(pa.float32())))
    parquet.write_table(pa.table({"series": column}), tmp_path / "in.parquet")
    (tmp_path / "arrays").mkdir()
    for number, row in enumerate(rows):
        np.save(tmp_path / f"arrays/{number}.npy", row)
    for form in ("in.parquet", "arrays"):
        done = score(
            built.path, tmp_path / form, tmp_path / f"{form}-out.parquet", options=ScoreOptions(provider="cpu")
        )
        assert done.faults.count == 0
        found = parquet.read_table(done.out).column("mean_probabilities").to_pylist()
        for row, said in zip(rows, found, strict=True):
            expected = ensemble.predict_mean(row[np.newaxis]).probabilities[0]
            np.testing.assert_allclose(said, expected, rtol=1e-4, atol=1e-6)


def test_a_part_that_was_damaged_where_its_rows_lie_is_found_and_scored_again(
    bundle: Path, forms: dict[str, Path], scored: ScoreBundle, whole: bytes, tmp_path: Path
) -> None:
    out = tmp_path / "out.parquet"
    part = tmp_path / "out.parquet.parts/part-0000001.parquet"

    def damage(stage: str, rows: int, total: int) -> None:
        if rows == total:
            content = bytearray(part.read_bytes())
            content[len(content) // 4] ^= 1
            part.write_bytes(content)

    with pytest.raises(RuntimeInputError, match="part-0000001.parquet was damaged after it was written"):
        score(bundle, forms["photos"], out, options=OPTIONS, progress=damage)
    assert scored(forms["photos"], out).scored == PART_ROWS
    assert out.read_bytes() == whole


@pytest.mark.parametrize("form", ["parquet", "npy"])
def test_a_file_that_is_replaced_while_it_is_scored_is_refused_before_rows_are_mixed(
    bundle: Path, forms: dict[str, Path], images: NDArray[np.float32], tmp_path: Path, form: str
) -> None:
    data = tmp_path / f"in.{form}"
    if form == "npy":
        np.save(data, images)
    else:
        shutil.copy(forms["rows.parquet"], data)

    def replace(stage: str, rows: int, total: int) -> None:
        if rows == PART_ROWS:
            shutil.copy(data, tmp_path / "other")
            (tmp_path / "other").replace(data)

    with pytest.raises(RuntimeInputError, match="has changed while it was scored"):
        score(bundle, data, tmp_path / "out.parquet", options=OPTIONS, progress=replace)
    held = sorted(path.name for path in (tmp_path / "out.parquet.parts").iterdir())
    assert held == ["lock", "part-0000000.parquet", "plan.json"]


def test_what_was_begun_with_a_strategy_goes_on_with_it(
    bundle: Path, forms: dict[str, Path], scored: ScoreBundle, tmp_path: Path
) -> None:
    generated, out = dataclasses.replace(OPTIONS, strategy="generated"), tmp_path / "out.parquet"
    score(bundle, forms["photos"], tmp_path / "whole.parquet", options=generated)

    def stop(stage: str, rows: int, total: int) -> None:
        if rows == 2 * PART_ROWS:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score(bundle, forms["photos"], out, options=generated, progress=stop)
    with pytest.raises(RuntimeInputError, match='with strategy "generated", and this call says "materialised"'):
        score(bundle, forms["photos"], out, options=dataclasses.replace(OPTIONS, strategy="materialised"))
    assert scored(forms["photos"], out).scored == ROWS - 2 * PART_ROWS
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert scored(forms["photos"], out).scored == 0
