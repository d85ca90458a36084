"""Progress where standard error is a file: a line for each stage that is done, once."""

import re

import pytest
from fixture_types import Hnexport

from hnexport.cli.progress import live_progress


def test_where_there_is_no_terminal_each_stage_is_a_line_when_it_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    with live_progress(quiet=False) as progress:
        progress("capture", 0, 1)
        assert capsys.readouterr().err == ""
        progress("capture", 1, 1)
        assert re.fullmatch(r"capture \(torch\.export\): \d+\.\d s\n", capsys.readouterr().err)
        for done in range(3):
            progress("reference", done, 2)
        progress("reference", 1, 1)
        progress("verify", 1, 1)
    assert re.fullmatch(r"float64 reference: 2/2 \d+\.\d s\n", capsys.readouterr().err)


def test_nothing_is_said_where_json_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with live_progress(quiet=True) as progress:
        progress("capture", 1, 1)
    assert capsys.readouterr().err == ""


def test_a_build_into_a_file_shows_its_stages(hnexport: Hnexport) -> None:
    done = hnexport("build", "--network", "wrn-10-1", "--image", "3,8,8", "--members", 2, "--formats", "onnx")
    assert done.returncode == 0, done.stderr
    stages = re.findall(r"^([^:]+): .*\d s$", done.stderr, re.MULTILINE)
    assert stages[:3] == ["capture (torch.export)", "write ONNX", "float64 reference"]
