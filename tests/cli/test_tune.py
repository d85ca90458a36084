from pathlib import Path

import pytest
from click.testing import CliRunner
from shared import Built, built_list

from hnexport.bundle import read_manifest
from hnexport.cli.main import cli
from hnexport.runtime.tuned import tuned_folder
from hnexport.tune import TunedBundle


def test_a_bundle_that_cannot_be_folded_is_not_a_crash(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    bundle = built_list("cnn").path
    done = CliRunner().invoke(cli, ["tune", str(bundle)])
    assert done.exit_code == 2
    assert "there is nothing to fold" in done.output
    assert not tuned_folder(read_manifest(bundle)).exists()


def test_what_was_made_is_told_with_its_place(built: Built, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from hnexport.tune import make

    monkeypatch.setattr(make, "tune", lambda *_, **__: TunedBundle(path=tmp_path / "key", parity=None, seconds=0.5))
    done = CliRunner().invoke(cli, ["tune", str(built.path)])
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == ["held already, 0.5 s", str(tmp_path / "key")]
