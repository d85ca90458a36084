"""What is advised can be done: on a folder, and where all of hnexport is installed."""

import re
from pathlib import Path

import pytest
from shared import Built

from hnexport import installed
from hnexport.bundle import read_manifest
from hnexport.errors import RuntimeInputError
from hnexport.runtime.advice import how_to_tune
from hnexport.runtime.half import require_half


def test_a_bundle_on_disk_is_tuned_where_it_lies() -> None:
    assert how_to_tune(Path("a/b")) == "run `hnexport tune a/b` once"
    assert how_to_tune(Path("a/b"), half=True) == "run `hnexport tune a/b --precision float16` once"


def test_a_bundle_in_memory_needs_a_folder(built: Built) -> None:
    assert how_to_tune(None) == "run `hnexport tune` once on a folder with its files"
    said = "run `hnexport tune FOLDER --precision float16` once on a folder with its files, or choose precision='tf32'"
    with pytest.raises(RuntimeInputError, match=f"{re.escape(said)}$"):
        require_half(read_manifest(built.path), None)


def test_the_runtime_alone_says_that_it_cannot_tune(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "missing_for_building", lambda: ("torch",))
    assert how_to_tune(Path("b")) == "run `hnexport tune b` once (it needs all of hnexport: pip install hnexport)"
    with pytest.raises(RuntimeInputError, match=r"pip install hnexport\), or choose precision"):
        require_half(read_manifest(built.path), built.path)
