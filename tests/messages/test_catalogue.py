"""docs/reference/errors.md says what is raised, and what to do about it."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hnexport import errors

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tool() -> Iterator[ModuleType]:
    """`tools/error_catalogue.py`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tools"))
        yield importlib.import_module("error_catalogue")
    for name in [name for name in sys.modules if name.split(".")[0] in ("error_catalogue", "messages")]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def found(tool: ModuleType) -> Any:
    """What is in the package, a `Found`."""
    return tool.find(ROOT / "hnexport")


def test_the_page_is_as_make_errors_makes_it(tool: ModuleType, found: Any) -> None:
    assert tool.stale(found, tool.read_remedies(tool.REMEDIES)) == []
    assert tool.PAGE.read_text(encoding="utf-8") == tool.made(found), "make errors writes it"


def test_every_public_class_has_its_place(tool: ModuleType) -> None:
    page = tool.PAGE.read_text(encoding="utf-8")
    assert all(f"\n### {name}\n" in page for name in errors.__all__)


def test_every_message_can_be_read_or_it_is_known_why_not(tool: ModuleType, found: Any) -> None:
    known = tool.read_unread(tool.UNREAD)
    assert tool.unlisted(found, known) == []
    assert tool.unlisted(found, known | {"hnexport.gone:f": "it was"}) == ["hnexport.gone:f: nothing is unread there"]


SOURCE = '''
import logging, warnings
import click
logger = logging.getLogger(__name__)
class HnexportError(Exception):
    """Root."""
class LostError(HnexportError):
    """Lost."""
def _require(condition, message):
    if not condition:
        raise LostError(message)
def spelled(argument, flag): ...
def f(path, names, x):
    _require(x, f"{path} is lost: give {spelled('where=…', '--where')}")
    what = f"{x.size} of them"
    if x:
        raise LostError(f"found {what} in {', '.join(names)}; " + ("look" if x else "wait"))
    logger.warning("%s is near", x)
    raise click.UsageError("say where it is")
    raise ValueError("not ours")
'''


def test_constants_stand_in_messages_as_they_are_printed(tool: ModuleType, tmp_path: Path) -> None:
    """A reader searches for what a command printed, `it has no manifest.json`, and not for a name in the source."""
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "names.py").write_text(
        'MANIFEST_FILE = "manifest.json"\n_MOST: int = 16 * 2**20\nMOST = _MOST\n'
    )
    (tmp_path / "pkg" / "bundle.py").write_text(
        "from pkg.names import MANIFEST_FILE as FILE, MOST\n"
        "class HnexportError(Exception): ...\n"
        "READS = {1: 2}\n"
        "def f(path, most):\n"
        "    raise HnexportError(f'{path}: no {FILE!r}, or {FILE} above {MOST // 2**20} MiB, '\n"
        "                        f'{MOST:,} bytes, {most}, {READS}')\n",
    )
    (message,) = tool.find(tmp_path / "pkg").messages
    assert message.text == "PATH: no 'manifest.json', or manifest.json above 16 MiB, 16,777,216 bytes, MOST, READS"


def test_messages_are_read_out_of_source(tool: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "bundle.py").write_text(SOURCE, encoding="utf-8")
    found = tool.find(tmp_path / "pkg")
    assert [(message.kind, message.text) for message in found.messages] == [
        ("LostError", "PATH is lost: give --where"),
        ("LostError", "found SIZE of them in …; (look|wait)"),
        ("UsageError", "say where it is"),
        ("warning", "%s is near"),
    ]
    assert found.classes["LostError"] == ("HnexportError", "Lost.")
    assert found.unreadable == ()
    remedy = tool.read_remedies(tool.REMEDIES)[0]
    assert tool.stale(found, [remedy]) == [remedy.message]


ROOT_ERROR = "class HnexportError(Exception): ...\nclass LostError(HnexportError): ...\n"


def _read(tool: ModuleType, folder: Path, source: str) -> tuple[list[tuple[str, str]], tuple[str, ...]]:
    """The kinds and texts in a module beside one that has the errors, and the lines that are unreadable."""
    package = folder / "pkg"
    package.mkdir()
    (package / "errors.py").write_text(ROOT_ERROR, encoding="utf-8")
    (package / "here.py").write_text(source, encoding="utf-8")
    found = tool.find(package)
    lines = tuple(f"{one.module}:{one.line}" for one in found.unreadable)
    return [(message.kind, message.text) for message in found.messages], lines


@pytest.mark.parametrize(
    ("raised", "kind", "text"),
    [
        ("raise Renamed(f'{x} went')", "LostError", "X went"),
        ("raise errors.LostError('it went')", "LostError", "it went"),
        ("raise (HnexportError if x else ValueError)('it went')", "HnexportError", "it went"),
        ("raise x or Renamed('it went')", "LostError", "it went"),
        ("raise click.ClickException('it went')", "UsageError", "it went"),
        ("raise click.BadArgumentUsage(message='it went')", "UsageError", "it went"),
        ("raise click.BadOptionUsage('--out', 'it went')", "UsageError", "it went"),
        ("raise Own('it went')", "UsageError", "it went"),
        ("self.fail(f'{x!r} is not a format', param, ctx)", "UsageError", "X is not a format"),
        ("ctx.fail('it went')", "UsageError", "it went"),
        ("raise rules.error(f'{x} is a mount point')", "LostError", "X is a mount point"),
    ],
)
def test_other_calls_that_make_errors_are_read(
    tool: ModuleType, tmp_path: Path, raised: str, kind: str, text: str
) -> None:
    source = (
        "import click\n"
        "from pkg import errors\n"
        "from pkg.errors import HnexportError, LostError as Renamed\n"
        "class Own(click.ClickException): ...\n"
        "class Rules:\n"
        "    error: type[HnexportError] = errors.LostError\n"
        f"def f(self, rules, param, ctx, x):\n    {raised}\n"
    )
    assert _read(tool, tmp_path, source) == ([(kind, text)], ())


def test_methods_that_make_errors_are_read_where_they_are_called(tool: ModuleType, tmp_path: Path) -> None:
    source = (
        "from pkg.errors import LostError\n"
        "class Check:\n"
        "    def _require(self, holds, what):\n"
        "        if not holds:\n"
        "            raise LostError(what)\n"
        "    def _refused(self, row, what):\n"
        "        wait = 'wait a day'\n"
        "        return LostError(f'row {row}: {what}; {wait}')\n"
        "    def f(self, number, path):\n"
        "        self._require(number, f'{path} went')\n"
        "        raise self._refused(number, f'{path.name} differs')\n"
    )
    assert _read(tool, tmp_path, source) == (
        [
            ("LostError", "PATH went"),
            ("LostError", "row ROW: NAME differs; wait a day"),
            ("LostError", "row ROW: WHAT; wait a day"),
        ],
        (),
    )


def test_what_is_raised_and_not_known_is_counted(tool: ModuleType, tmp_path: Path) -> None:
    source = (
        "from pkg.errors import LostError\n"
        "def made(): return LostError('it went')\n"
        "def f(self, kind, kinds, logger, error):\n"
        "    logger.info('not a message of ours')\n"
        "    raise kind('it went')\n"
        "    raise kinds[0]('it went')\n"
        "    raise self._error('it went')\n"
        "    raise (LostError if error else kind)('it went')\n"
        "    raise LostError(str(error))\n"
        "    raise made()\n"
        "    raise ValueError('not ours')\n"
        "    raise error\n"
    )
    messages, unreadable = _read(tool, tmp_path, source)
    assert messages == [("LostError", "it went")]
    assert unreadable == tuple(f"pkg.here:{line}" for line in (5, 6, 7, 8))  # 9 passes on what another says


def test_errors_after_which_a_command_ends_with_1_are_what_is_derived_from_one_class(tool: ModuleType) -> None:
    assert tool.exit_one(ROOT / "hnexport") == {
        "DifferentError",
        "MembersFailedError",
        "NotAsTrainedError",
        "ParityFailedError",
        "RoundedTooMuchError",
        "TuneFailedError",
    }


@pytest.mark.parametrize(
    ("called", "kind", "text"),
    [
        ("logger.warning('%s is lost', x)", "warning", "%s is lost"),
        ("_log.error('it is lost')", "error", "it is lost"),
        ("logger.exception('it is lost')", "error", "it is lost"),
        ("self.log.critical('it is lost')", "error", "it is lost"),
        ("logger.log(logging.ERROR, 'it is lost')", "error", "it is lost"),
        ("warnings.warn('it is lost', stacklevel=2)", "warning", "it is lost"),
        ("warnings.warn(message='it is lost')", "warning", "it is lost"),
        ("sys.exit(f'{x} is lost')", "error", "X is lost"),
        ("raise SystemExit('it is lost')", "error", "it is lost"),
        ("click.echo('it is lost', err=True)", "error", "it is lost"),
        ("click.secho('it is lost', fg='red', err=True)", "error", "it is lost"),
        ("print('it is lost', file=sys.stderr)", "error", "it is lost"),
        ("sys.stderr.write('it is lost')", "error", "it is lost"),
        ("render.tell(f'{x} is lost')", "error", "X is lost"),
    ],
)
def test_what_is_only_said_is_read(tool: ModuleType, tmp_path: Path, called: str, kind: str, text: str) -> None:
    """And where the source does not show its text, it is unread."""
    assert _read(tool, tmp_path, f"def f(self, x):\n    {called}\n") == ([(kind, text)], ())
    (tmp_path / "other").mkdir()
    hidden = called.replace(f"f'{text.replace('X', '{x}')}'", "''.join(x)").replace(f"'{text}'", "''.join(x)")
    assert _read(tool, tmp_path / "other", f"def f(self, x):\n    {hidden}\n") == ([], ("pkg.here:2",))


def test_what_is_no_warning_and_no_error_is_not_read(tool: ModuleType, tmp_path: Path) -> None:
    source = (
        "def f(x, file, code, passed):\n"
        "    logger.info(''.join(x))\n"
        "    logger.log(logging.INFO, ''.join(x))\n"
        "    math.log(x)\n"
        "    print(''.join(x))\n"
        "    click.echo(''.join(x))\n"
        "    file.tell()\n"
        "    sys.exit(exit_codes.YES if passed else exit_codes.VERDICTS[x])\n"
        "    sys.exit(code)\n"
        "    sys.exit(2)\n"
        "    sys.exit()\n"
        "    raise SystemExit(1)\n"
    )
    assert _read(tool, tmp_path, source) == ([], ())


def test_texts_that_functions_make_are_read(tool: ModuleType, tmp_path: Path) -> None:
    """One that calls another as well; what an argument or a caught error says is passed on, and no message."""
    source = (
        "from pkg.errors import LostError\n"
        "class OwnError(LostError):\n"
        "    def __init__(self, report):\n"
        "        super().__init__(f'lost: {report}')\n"
        "def _why(path, tail):\n"
        "    end = f'{path} {tail}'\n"
        "    return end\n"
        "def _reason(path, x) -> str:\n"
        "    if x:\n"
        "        return _told(path, 'again')\n"
        "    return f'{path} went'\n"
        "def _told(path, tail) -> str:\n"
        "    return f'{path} is lost {tail}'\n"
        "def f(path, x):\n"
        "    try:\n"
        "        raise LostError(_reason(path, x))\n"
        "    except LostError as error:\n"
        "        raise LostError(f'{path}: {error}')\n"
        "    logger.warning('%s', _told(path, 'for good'))\n"
        "    raise OwnError(x.report())\n"
        "def g(report, message):\n"
        "    raise LostError(message)\n"
        "    raise LostError(_why(report, message))\n"
    )
    assert _read(tool, tmp_path, source) == (
        [
            ("LostError", "PATH is lost again"),
            ("LostError", "PATH went"),
            ("OwnError", "lost: REPORT"),
            ("warning", "PATH is lost for good"),
        ],
        ("pkg.here:23",),
    )
