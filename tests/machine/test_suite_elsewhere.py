"""The tests that the hosted workflow runs on macOS and Windows can be collected there: what POSIX alone has is gone.

Whether they pass there only that workflow can say.
"""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COLLECT = """
import os, signal, sys
for module, names in (
    (os, "fork killpg geteuid getuid setuid setsid getpgid set_blocking readv sysconf mkfifo mknod wait4 getloadavg"),
    (os, "fchmod sched_getaffinity sched_setaffinity O_NONBLOCK O_NOFOLLOW O_CLOEXEC"),
    (signal, "SIGHUP SIGKILL SIGALRM SIGUSR1 SIGUSR2 alarm setitimer"),
):
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
for name in ("resource", "pwd", "grp", "termios", "pty"):
    sys.modules[name] = None
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""


def asked_elsewhere() -> list[str]:
    steps = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]["elsewhere"][
        "steps"
    ]
    (found,) = (step["run"].split('TESTS="')[1].rstrip('"\n') for step in steps if "TESTS=" in step.get("run", ""))
    return str(found).split()


def collect(*tests: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", COLLECT, "--collect-only", "-q", "-n0", *tests]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False)


@pytest.mark.thorough
def test_what_other_systems_run_needs_nothing_of_posix_to_be_collected() -> None:
    tests = asked_elsewhere()
    assert all((ROOT / name).exists() for name in tests)
    done = collect(*tests)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr


@pytest.mark.thorough
def test_what_is_taken_away_is_missed() -> None:
    done = collect("tests/cli/test_signals.py")
    assert "has no attribute 'SIGHUP'" in done.stdout
