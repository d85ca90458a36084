"""Whether what a block prints is of the kind that its page shows.

Words have to be the same. Numbers may differ as far as another machine, another version or another order of additions
makes them differ: training ends a little elsewhere, times are another machine's, errors are of some magnitude.
"""

import itertools
import math
import re

_RULE = re.compile(r"([━─])\1+")  # around a table, as long as its numbers are wide
_DIGEST = re.compile(r"\b[0-9a-f]{12,}\b")
_TIME = re.compile(r"^\s?(s|ms|us|min|h|KB|MB|GB)\b")  # sizes hold measurements and versions as text
_PIECES = re.compile(r"(?<![A-Za-z_\d.])[-+]?\d[\d,]*(?:\.\d+)*(?:e[-+]?\d+)?")
_SHARE, _LEAST, _COUNT = 0.15, 0.05, 3


def differences(shown: str, printed: str, *, times: bool = False) -> list[str]:
    """Lines that differ in kind, as `- what the page shows` and `+ what was printed`; empty if there are none.

    Args:
        times: numbers are times, and ratios of times: any will do.
    """
    pairs = itertools.zip_longest(_lines(shown), _lines(printed), fillvalue="")
    unlike = [(left, right) for left, right in pairs if not _alike(left, right, times=times)]
    return [text for left, right in unlike for text in (f"- {left}", f"+ {right}")]


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().splitlines() if line.strip()]


def _alike(shown: str, printed: str, *, times: bool) -> bool:
    shown, printed = (_DIGEST.sub("DIGEST", _RULE.sub(r"\1", line)) for line in (shown, printed))
    words = [[" ".join(part.split()) for part in _PIECES.split(line)] for line in (shown, printed)]
    if words[0] != words[1]:
        return False
    found = zip(_PIECES.finditer(shown), _PIECES.finditer(printed), strict=True)
    return times or all(_TIME.match(shown[one.end() :]) or _near(one[0], other[0]) for one, other in found)


def _near(shown: str, printed: str) -> bool:
    if shown == printed:
        return True
    if shown.count(".") > 1:
        return printed.count(".") > 1  # versions
    left, right = (float(text.replace(",", "")) for text in (shown, printed))
    if "e" in shown or "e" in printed or 0 < abs(left) < 1e-3:
        return right == 0 or left == 0 or abs(math.log10(abs(left / right))) <= 1.5
    whole = left.is_integer() and right.is_integer() and "." not in shown
    return abs(left - right) <= max(_SHARE * abs(left), _COUNT if whole else _LEAST)
