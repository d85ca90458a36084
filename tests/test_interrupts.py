"""An interrupt stays one, whatever a library made of it."""

import subprocess
import sys
from pathlib import Path

import pytest
from thorough import first

from hnexport.interrupts import interrupts_kept

# As a module of pybind11 that is interrupted while it is imported.
INTERRUPTED = """
try:
    raise SystemExit(143)
except BaseException as end:
    raise ImportError("initialization failed") from end
"""


def fail(*, interrupt: BaseException | None, explicitly: bool) -> None:
    try:
        if interrupt is not None:
            raise interrupt
        raise KeyError("a")
    except BaseException as end:
        if explicitly:
            raise ImportError("initialization failed") from end
        raise ImportError("initialization failed")  # noqa: B904 - as a library may


@pytest.mark.parametrize("explicitly", [True, False], ids=["from it", "while it was handled"])
@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), SystemExit(143)], ids=["Ctrl-C", "a signal of the command"])
def test_an_interrupt_that_became_an_error_is_raised_as_what_it_was(interrupt: BaseException, explicitly: bool) -> None:
    with pytest.raises(type(interrupt)) as raised, interrupts_kept():
        fail(interrupt=interrupt, explicitly=explicitly)
    assert raised.value is interrupt


def test_an_error_without_an_interrupt_behind_it_stays_what_it_is() -> None:
    with pytest.raises(ImportError, match="initialization failed"), interrupts_kept():
        fail(interrupt=None, explicitly=True)


@pytest.mark.parametrize("library", first(1, ["torch", "onnxruntime", "openvino"]))
def test_a_signal_during_an_import_does_not_become_a_broken_installation(library: str, tmp_path: Path) -> None:
    (tmp_path / library).mkdir()
    (tmp_path / library / "__init__.py").write_text(INTERRUPTED)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from hnexport.cli.main import main; main()"
    command = [sys.executable, "-c", code, "doctor"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (143, "", "")
