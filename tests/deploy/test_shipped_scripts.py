"""The scripts of the page are those of the TypeScript beside them. (`make web-test` compiles it and compares.)"""

import importlib.util
import json
from pathlib import Path

TOOL = Path(__file__).parents[2] / "tools" / "compile_page.py"


def test_the_shipped_scripts_were_compiled_from_these_sources() -> None:
    spec = importlib.util.spec_from_file_location("compile_page", TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert json.loads(tool.NOTE.read_text()) == tool.digests(), "run `make page`"
