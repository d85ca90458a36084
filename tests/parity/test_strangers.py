"""A stranger's programs run confined or not at all: nothing of this user's is written, read out or ended."""

import os
from pathlib import Path

import pytest
from strangers import by_expression, by_operator, by_pickle, by_sample_inputs, by_torchscript, writes

from hnexport.errors import NotRunError
from hnexport.parity import Verdict, VerifyOptions, verify
from hnexport.parity.locate import locate


@pytest.fixture(autouse=True)
def _nobody_is_trusted(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def canary(tmp_path) -> Path:
    return tmp_path / "canary"


def verified(bundle, *artifacts, **options):
    return verify(bundle, VerifyOptions(artifacts=artifacts, provider="cpu", **options))


def attempts(canary: Path) -> dict[str, str]:
    """Python sources, each of which would leave the canary."""
    home = canary.parent
    return {
        "writes a file": f"open({str(canary)!r}, 'w').write('x')",
        "makes a folder": f"__import__('os').mkdir({str(canary)!r})",
        "links a file": f"__import__('os').symlink('/', {str(canary)!r})",
        "runs a program": f"__import__('os').system('touch {canary}')",
        "starts a process": f"import os\nif os.fork() == 0: open({str(canary)!r}, 'w')",
        "ends its parent": "import os, signal; os.kill(os.getppid(), signal.SIGKILL)",
        "changes permissions": f"__import__('os').chmod({str(home / 'held')!r}, 0o777)",
        "changes times": f"__import__('os').utime({str(home / 'held')!r}, (0, 0))",
        "cuts a file": f"import os; os.close(os.open({str(home / 'held')!r}, os.O_RDONLY | os.O_TRUNC))",
        "removes a file": f"__import__('os').unlink({str(home / 'held')!r})",
        "moves a file": f"__import__('os').rename({str(home / 'held')!r}, {str(canary)!r})",
        "reads a secret": f"raise SystemError(open({str(home / 'held')!r}).read())",
        "opens a socket": "import socket; socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)",
    }


@pytest.mark.parametrize("attempt", attempts(Path("canary")))
def test_a_program_can_do_nothing_but_compute(copied, canary, attempt):
    held = canary.parent / "held"
    held.write_text("a secret")
    held.chmod(0o640)
    before = held.stat()
    bundle = copied("hypernet")
    source = f"try:\n  {attempts(canary)[attempt].replace(chr(10), chr(10) + '  ')}\nexcept OSError: pass\n"
    by_expression(bundle, source)
    report = verified(bundle, "pt2")
    assert report.verdict in (Verdict.SAME, Verdict.UNANSWERED)
    assert "a secret" not in str(dict(report.refused))
    after = held.stat()
    assert (after.st_mode, after.st_mtime_ns, after.st_size) == (before.st_mode, before.st_mtime_ns, before.st_size)
    assert held.read_text() == "a secret"
    assert not os.path.lexists(canary)


WAYS = {
    "sample inputs": lambda bundle, canary: by_sample_inputs(bundle, f"open({str(canary)!r}, 'w')"),
    "weights": lambda bundle, canary: by_pickle(bundle, "model.pt2!data/weights/", f"open({str(canary)!r}, 'w')"),
    "constants": lambda bundle, canary: by_pickle(bundle, "model.pt2!data/constants/", f"open({str(canary)!r}, 'w')"),
    "expression": lambda bundle, canary: by_expression(bundle, f"open({str(canary)!r}, 'w')"),
    "operator": lambda bundle, canary: by_operator(bundle, f"touch {canary}"),
    "TorchScript pickle": lambda bundle, canary: by_pickle(bundle, "model.pt!data.pkl", f"open({str(canary)!r}, 'w')"),
    "TorchScript": lambda bundle, canary: by_torchscript(bundle, writes(canary)),
}


@pytest.mark.parametrize("way", WAYS)
def test_no_way_into_a_program_leaves_anything_behind(copied, canary, way):
    bundle = copied("hypernet")
    WAYS[way](bundle, canary)
    artifact = "torchscript" if way.startswith("TorchScript") else "pt2"
    report = verified(bundle, artifact)
    assert report.verdict is not Verdict.DIFFERENT
    assert not os.path.lexists(canary)
    with pytest.raises(NotRunError, match="confined"):
        locate(bundle, artifact)
    assert not os.path.lexists(canary)
