"""The tool that makes the schemas, as a module."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture(scope="session")
def tool() -> Iterator[ModuleType]:
    """`tools/make_schemas.py`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TOOLS))
        import make_schemas

        yield make_schemas
    for name in [name for name in sys.modules if name.split(".")[0] in ("make_schemas", "schemas")]:
        del sys.modules[name]
