"""`hnexport card`: writes a bundle's card, and keeps what somebody completed."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from diabetes import TrainedRegressors, held_out
from digits import TrainedDigits, splits
from shared import Built, built_kind

from hnexport.bundle.manifest import read_identified
from hnexport.cli.main import cli

OLD = Path(__file__).parents[1] / "data/bundle-v1"


def run(*arguments: Path | str) -> Result:
    return CliRunner().invoke(cli, ["card", *map(str, arguments)])


def metadata(path: Path) -> Any:
    head = re.match(r"---\n(.*?)\n---\n", path.read_text(encoding="utf-8"), re.DOTALL)
    assert head
    return yaml.safe_load(head[1])


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """A copy of the bundle, and data to test it with."""
    tested, source = splits()[2], built_kind("digits", TrainedDigits()).path
    np.savez(tmp_path / "test.npz", input=tested.images, label=tested.labels)
    return shutil.copytree(source, tmp_path / "bundle")


def evaluated(bundle: Path, data: Path, *options: str) -> Path:
    done = CliRunner().invoke(cli, ["evaluate", str(bundle), str(data), "--json", "--provider", "cpu", *options])
    assert done.exit_code == 0, done.output
    path = data.with_suffix(".json")
    path.write_text(done.stdout)
    return path


def test_a_bundle_that_has_none_gets_one_and_stays_the_bundle_that_it_is(tmp_path: Path) -> None:
    bundle = shutil.copytree(OLD, tmp_path / "bundle")
    digest = read_identified(bundle).digest
    done = run(bundle)
    assert (done.exit_code, done.output.strip()) == (0, str(bundle / "README.md"))
    assert read_identified(bundle).digest == digest
    assert digest in (bundle / "README.md").read_text(encoding="utf-8")
    assert CliRunner().invoke(cli, ["inspect", str(bundle)]).exit_code == 0
    assert sorted(path.name for path in bundle.iterdir()) == sorted(
        {path.name for path in OLD.iterdir()} | {"README.md"}
    )


def test_a_card_that_somebody_completed_stays_unless_force_is_given(built: Built, bundle: Path) -> None:
    card = bundle / "README.md"
    made = card.read_text(encoding="utf-8")
    assert run(bundle).exit_code == 0
    assert card.read_text(encoding="utf-8") == made
    card.write_text(made.replace("## Limits", "## Intended use\n\nMine.\n\n## Limits"), encoding="utf-8")
    done = run(bundle)
    assert (done.exit_code, "was written or completed by hand: it stays; give --force" in done.output) == (2, True)
    assert "Mine." in card.read_text(encoding="utf-8")
    assert run(bundle, "--force").exit_code == 0
    assert card.read_text(encoding="utf-8") == made


def test_a_card_is_written_elsewhere_but_not_into_a_bundle_under_another_name(
    built: Built, bundle: Path, tmp_path: Path
) -> None:
    assert run(built.path, "--out", tmp_path / "card.md").exit_code == 0
    assert (tmp_path / "card.md").read_bytes() == (built.path / "README.md").read_bytes()
    done = run(built.path, "--out", bundle / "card.md")
    assert (done.exit_code, "which never changes" in done.output) == (2, True)
    done = run(built.path, "--out", bundle / "README.md")
    assert (done.exit_code, "which never changes" in done.output) == (2, True)
    assert run(bundle, "--out", bundle / ".." / "bundle" / "README.md").exit_code == 0
    (bundle / "README.md").unlink()
    (bundle / "README.md").symlink_to(tmp_path / "card.md")  # as model hubs store files
    done = run(bundle)
    assert (done.exit_code, "is a symbolic link" in done.output) == (2, True)


def test_another_digest_is_refused(built: Built) -> None:
    done = run(built.path, "--digest", "sha256:" + "0" * 64)
    assert (done.exit_code, "sha256:000" in done.output) == (2, True)


def test_an_evaluation_comes_into_the_card(digits: Path, tmp_path: Path) -> None:
    path = evaluated(digits, tmp_path / "test.npz", "--runtimes", "onnx")
    found = json.loads(path.read_text())
    path.write_text(json.dumps(found | {"derived": "sha256:" + "0" * 64}))  # as with --out
    done = run(digits, "--evaluation", path)
    assert done.exit_code == 0, done.output
    source = next(one for one in found["sources"] if one["name"] == "runtime")
    (entry,) = metadata(digits / "README.md")["model-index"]
    scores = {one["type"]: one["value"] for one in entry["results"][0]["metrics"]}
    assert scores["accuracy"] == pytest.approx(source["classification"]["ensemble"]["accuracy"], abs=1e-6)
    assert scores["nll"] == pytest.approx(source["classification"]["ensemble"]["nll"], abs=1e-6)
    assert entry["results"][0]["dataset"]["name"] == "test.npz"
    card = (digits / "README.md").read_text(encoding="utf-8")
    assert "| member 2 |" in card
    assert "| onnx |" in card
    assert str(tmp_path) not in card


def test_an_evaluation_of_a_value_comes_into_the_card(tmp_path: Path) -> None:
    bundle = shutil.copytree(built_kind("diabetes", TrainedRegressors()).path, tmp_path / "bundle")
    features, targets = held_out()
    np.savez(tmp_path / "test.npz", input=features, target=targets)
    path = evaluated(bundle, tmp_path / "test.npz")
    assert run(bundle, "--evaluation", path).exit_code == 0
    (entry,) = metadata(bundle / "README.md")["model-index"]
    assert entry["results"][0]["task"] == {"type": "regression"}
    rmse = json.loads(path.read_text())["sources"][0]["regression"]["rmse"]
    assert entry["results"][0]["metrics"][0]["value"] == pytest.approx(rmse, abs=1e-6)


def test_an_evaluation_of_another_bundle_and_what_is_none_are_refused(
    built: Built, digits: Path, tmp_path: Path
) -> None:
    path = evaluated(digits, tmp_path / "test.npz")
    before = (built.path / "README.md").read_bytes()
    done = run(built.path, "--evaluation", path)
    assert (done.exit_code, "is an evaluation of digits-3" in done.output) == (2, True)
    kept = json.loads(path.read_text())
    (source,) = kept["sources"]
    scored = source["classification"]
    for change, message in (
        ({"sources": []}, "it has no sources"),
        ({"samples": -5}, "it has no sources, members, samples or bins"),
        ({"members": [0]}, "runtime has 3 members, it says 1"),
        ({"sources": [source | {"classification": None}]}, "runtime is evaluated as neither logits nor a value"),
        (
            {"sources": [source | {"classification": scored | {"ensemble": scored["ensemble"] | {"accuracy": 17.0}}}]},
            "an accuracy of runtime is no share",
        ),
    ):
        path.write_text(json.dumps(kept | change))
        done = run(digits, "--evaluation", path)
        assert (done.exit_code, message in " ".join(done.output.split())) == (2, True), done.output
    path.write_text('{"bundle": 1}')
    done = run(digits, "--evaluation", path)
    assert (done.exit_code, "is not what `hnexport evaluate --json` prints" in " ".join(done.output.split())) == (
        2,
        True,
    )
    assert (built.path / "README.md").read_bytes() == before
