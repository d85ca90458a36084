"""The formats of a member's file, and how files and their marks are named."""

import json
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from hnexport import __version__
from hnexport.bundle.manifest import Identified
from hnexport.errors import RuntimeInputError
from hnexport.names import MEMBER_MARK
from hnexport.records import to_json
from hnexport.spec.usage import Usage
from hnexport.spelling import spelled

__all__ = ["DATA_SUFFIX", "MemberFormat", "file_name", "format_of", "is_member_name", "mark"]

DATA_SUFFIX = ".data"
"""What the file of an ONNX file's weights has behind its name."""

_NAME = re.compile(r"member-\d+\.(onnx|onnx\.data|pt2|pt)")


class MemberFormat(StrEnum):
    """How a member is written."""

    ONNX = "onnx"
    PT2 = "pt2"
    TORCHSCRIPT = "pt"


def format_of(target: Path, asked: MemberFormat | None) -> tuple[MemberFormat, bool]:
    """The format that a target's suffix stands for, and whether the target is a file. Without a suffix it is a folder.

    Raises:
        RuntimeInputError: suffix and `asked` contradict each other, or the suffix stands for something else.
    """
    suffix = target.suffix.lower().removeprefix(".")
    known = [str(one) for one in MemberFormat]
    if target.is_dir() or suffix not in known:
        if suffix and not target.is_dir() and not suffix.isdigit() and asked is None:
            raise RuntimeInputError(
                f"{target}: a member is written as {', '.join(f'.{one}' for one in known)}, found {target.suffix}; "
                f"for a folder of that name give {spelled('format=', '--format')} too"
            )
        return asked or MemberFormat.ONNX, False
    if asked not in (None, suffix):
        raise RuntimeInputError(
            f"{target} ends in .{suffix}, the format asked for is {asked}: leave out {spelled('format', '--format')}"
        )
    return MemberFormat(suffix), True


def file_name(member: int, kind: MemberFormat) -> str:
    """A member's file in a folder of several."""
    return f"member-{member}.{kind}"


def is_member_name(name: str) -> bool:
    """Whether a file of this name may be one of such a folder."""
    return _NAME.fullmatch(name) is not None


def mark(found: Identified, member: int) -> Mapping[str, str]:
    """What a member's file says about itself."""
    usage = found.manifest.usage
    said = {} if usage == Usage() else {"hnexport.usage": json.dumps(to_json(usage))}
    if found.manifest.temperature is not None:
        said["hnexport.temperature"] = repr(found.manifest.temperature.value)
    return {
        "hnexport.name": found.manifest.name,
        MEMBER_MARK: str(member),
        "hnexport.bundle": found.digest,
        "hnexport.version": __version__,
        **said,
    }
