"""`hnexport predict BUNDLE DATASET --out FILE.parquet`: what is said, and what is refused before anything is scored."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bundles import with_usage
from click.testing import CliRunner, Result
from PIL import Image
from pyarrow import parquet
from shared import Built
from thorough import first

from hnexport.cli.main import cli
from hnexport.spec.usage import Normalisation, Usage


@pytest.fixture(scope="module")
def said(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    usage = Usage(normalisation=Normalisation(mean=(0.5,), std=(0.25,)))
    return with_usage(built.path, usage, tmp_path_factory.mktemp("said") / "bundle")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (folder := tmp_path / "photos").mkdir()
    for number in range(5):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "4.png").write_bytes(b"no picture")
    return folder


@pytest.fixture
def predict(said: Path) -> Callable[..., Result]:
    return lambda *arguments: CliRunner().invoke(cli, ["predict", str(said), *map(str, arguments), "--provider", "cpu"])


def test_a_data_set_is_scored_and_the_same_command_again_does_nothing(
    predict: Callable[..., Result], photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.parquet"
    command = (photos, "--out", out, "--part-rows", 2, "--members", "0,2", "--member-outputs", "--until", "exact")
    done = predict(*command)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].startswith("scored 5 rows, in ")
    assert lines[0].endswith(f"s: {out}")
    assert lines[1] == "1 of them have no prediction, and say why in the column error:"
    assert lines[2].startswith(f"  row 4, 4.png: {photos / '4.png'} cannot be read as an image")
    assert lines[3] == "pictures: (pixel/255 - mean) / std, mean 0.5, std 0.25, as the bundle says"
    assert "score: 5/5" in done.stderr
    content = out.read_bytes()
    again = json.loads(predict(*command, "--json").stdout)
    assert (again["rows"], again["scored"], again["without_prediction"]) == (5, 0, 1)
    assert (again["plan"]["members"], again["plan"]["until"], again["first_errors"][0]["row"]) == ([0, 2], "exact", 4)
    assert out.read_bytes() == content
    assert len(parquet.read_table(out).column("member_logits")[0]) == 2


def test_labels_and_normalisation_of_the_command_win(
    predict: Callable[..., Result], photos: Path, built: Built, tmp_path: Path
) -> None:
    names = [f"name {number}" for number in range(built.manifest.signature.outputs[0].shape[1])]
    (tmp_path / "names.txt").write_text("\n".join(names))
    out = tmp_path / "out.parquet"
    done = predict(photos, "--out", out, "--labels", tmp_path / "names.txt", "--mean", 0, "--std", 1, "--member", 1)
    assert done.stdout.splitlines()[-1] == "pictures: (pixel/255 - mean) / std, mean 0, std 1, as the command says"
    table = parquet.read_table(out)
    answers = table.column("answer").to_pylist()
    assert table.column("class_name").to_pylist() == [None if one is None else names[one] for one in answers]
    assert table.column("members_used").to_pylist() == [1, 1, 1, 1, None]


REFUSED = {
    "two data sets": (("photos", "photos", "--out", "x.parquet"), "scores one data set"),
    "no data set": (("--out", "x.parquet"), "scores one data set"),
    "arrays by name": (("photos", "--out", "x.parquet", "--input", "image=a.npy"), "a data set with several inputs is"),
    "member and members": (("photos", "--out", "x.parquet", "--member", "0", "--members", "1"), "not both"),
    "Ray's cluster without Ray": (
        ("photos", "--out", "x.parquet", "--address", "auto"),
        "--address goes with --workers",
    ),
    "workers of pictures": (("photos/0.png", "--workers", "ray"), "--workers goes with --out FILE.parquet"),
    "a part of pictures": (("photos/0.png", "--part-rows", "3"), "--part-rows goes with --out FILE.parquet"),
    "ids of pictures": (("photos", "--id", "key", "--out", "x.parquet"), "has no columns, its rows are called"),
    "pictures of another size": (("wide", "--out", "x.parquet"), "can be read, and nothing was scored; the first"),
}


@pytest.mark.parametrize(("arguments", "message"), first(3, REFUSED.values()), ids=REFUSED.keys())
def test_what_does_not_go_together_is_refused(
    arguments: tuple[str, ...],
    message: str,
    predict: Callable[..., Result],
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wide").mkdir()
    for number in range(2):
        Image.new("RGB", (20, 8)).save(tmp_path / f"wide/{number}.png")
    done = predict(*arguments)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
    assert not list(tmp_path.glob("x.parquet*"))
