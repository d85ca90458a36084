"""Whose line an error comes from: a user's own, neither ours nor a library's."""

import re
import sysconfig
import traceback
from pathlib import Path

__all__ = ["users_line"]

_OTHERS = (
    str(Path(__file__).parent),
    *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")),
    "<frozen",
    "<string>",
)
# torch.export catches what a forward raises and quotes the line.
_QUOTED = re.compile(r'The following call raised this error:\s+File "(.+)", line (\d+), in (.+)\n\s*(.+)')


def users_line(error: BaseException) -> str:
    """The innermost line that is a user's, as a line of its own behind a message; empty where there is none."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"\n  {error.filename}:{error.lineno}: {(error.text or '').strip()}"
    quoted = _QUOTED.search(str(error))
    if quoted is not None:
        return f"\n  {quoted[1]}:{quoted[2]} in {quoted[3]}: {quoted[4]}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(_OTHERS)]
    if not frames:
        return ""
    last = frames[-1]
    return f"\n  {last.filename}:{last.lineno} in {last.name}: {last.line}"
