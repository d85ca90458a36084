"""What has begun to be put away is put away before the next interrupt is heard."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hnexport.publishing import deferred_signals

# In a process of its own: a signal that ended the test process would take every test after this one with it.
HEARD = """
import signal, sys
from hnexport.publishing import deferred_signals

heard = []
number = getattr(signal, sys.argv[1])
signal.signal(number, lambda number, frame: heard.append(number))
"""
CASES = {
    "to the end": """
with deferred_signals():
    with deferred_signals():
        signal.raise_signal(number)
        assert heard == []
    assert heard == []
assert heard == [number]
signal.raise_signal(number)
assert heard == [number, number]
""",
    "to the end of a failure": """
failed = False
try:
    with deferred_signals():
        signal.raise_signal(number)
        assert heard == []
        raise RuntimeError
except RuntimeError:
    failed = True
assert failed and heard == [number]
""",
    "not at all if ignored": """
signal.signal(number, signal.SIG_IGN)
with deferred_signals():
    assert signal.getsignal(number) is signal.SIG_IGN
    signal.raise_signal(number)
assert signal.getsignal(number) is signal.SIG_IGN
""",
}


@pytest.mark.each_once
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("code", CASES.values(), ids=CASES)
def test_a_signal_waits(code: str, number: str) -> None:
    command = [sys.executable, "-c", HEARD + code, number]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_other_threads_need_none_of_it() -> None:
    done = []

    def work() -> None:
        with deferred_signals():
            done.append(1)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [1]


INTERRUPTED = """
import os, signal, sys
from pathlib import Path
from hnexport.publishing import contents, staged_folder
import hnexport.publishing.container as container

first, second = (getattr(signal, name) for name in sys.argv[2:])
remove = container.remove_listed

def slow(*arguments):
    os.kill(os.getpid(), second)  # while it is being cleaned up
    return remove(*arguments)

def leave(number, frame):
    raise SystemExit(128 + number)

for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, leave)
container.remove_listed = slow
with staged_folder(Path(sys.argv[1]) / "target") as folder:
    (folder / "weights.bin").write_text("half")
    os.kill(os.getpid(), first)
"""


@pytest.mark.parametrize("second", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_second_signal_does_not_cut_the_clean_up_short(tmp_path: Path, second: str) -> None:
    command = [sys.executable, "-c", INTERRUPTED, str(tmp_path), "SIGINT", second]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 128 + getattr(signal, second), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_fork_does_not_remove_what_its_parent_is_writing(tmp_path: Path) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom hnexport.publishing import staged_folder\n"
        "with staged_folder(Path(sys.argv[1]) / 'target') as folder:\n"
        "    (folder / 'file').write_text('whole')\n"
        "    child = os.fork()\n"
        "    if child == 0: sys.exit(0)\n"
        "    os.waitpid(child, 0)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert [path.name for path in tmp_path.rglob("*")] == ["target", "file"]
