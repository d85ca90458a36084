"""`hnexport verify FILE`: every file ends in an exit code that means what it says."""

import json
import shutil
from pathlib import Path

import variants
from fixture_types import Hnexport
from shared import Built


def test_a_fixed_batch_is_answered_and_what_could_not_be_checked_is_said(
    hnexport: Hnexport, built: Built, tmp_path: Path
) -> None:
    file = variants.with_fixed_batch(Path(shutil.copytree(built.path, tmp_path / "copy")), 1)
    done = hnexport("verify", file, "--bundle", built.path)
    assert done.returncode == 0, done.stderr
    assert "not checked: model.onnx: a row does not depend on the others" in done.stdout
    done = hnexport("verify", file, "--bundle", built.path, "--json", "--members", "2,0")
    assert set(json.loads(done.stdout)["artifacts"][0]["not_checked"]) == {
        "a row does not depend on the others",
        "a NaN or infinite sample spoils its own row only",
    }


def test_a_question_that_a_file_cannot_be_asked_exits_with_2(hnexport: Hnexport, built: Built, tmp_path: Path) -> None:
    file = variants.with_fixed_batch(Path(shutil.copytree(built.path, tmp_path / "copy")), 4)
    done = hnexport("verify", file, "--bundle", built.path, "--batch-sizes", "1,3,6")
    assert done.returncode == 2
    assert "only of 4: leave out --batch-sizes" in done.stderr
    done = hnexport("locate", built.path, "--against", built.path / "ensemble.onnx")
    assert done.returncode == 2
    assert "locate follows one" in done.stderr


def test_a_members_own_file_is_judged_as_that_member(hnexport: Hnexport, built: Built, tmp_path: Path) -> None:
    plain = tmp_path / "plain.onnx"
    assert hnexport("member", built.path, "1", "--out", plain).returncode == 0
    done = hnexport("verify", plain, "--bundle", built.path)
    assert (done.returncode, "Same: 1 of 3 members" in done.stdout) == (0, True), done.stdout + done.stderr
    done = hnexport("verify", plain, "--bundle", built.path, "--members", "0")
    assert (done.returncode, "most for member 0" in done.stdout, "locate" in done.stdout) == (1, True, False)
