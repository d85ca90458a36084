"""Whether this processor multiplies int8 with VNNI, AMX or Arm's dot product."""

import platform
from pathlib import Path

__all__ = ["integer_products"]

_X64 = ("avx512_vnni", "avx_vnni", "amx_int8")
_ARM = ("asimddp", "i8mm")


def integer_products() -> tuple[str, ...] | None:
    """The instructions of this processor that multiply int8, by Linux's names; None where the system does not say."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return None
    known = _ARM if platform.machine().lower() in ("aarch64", "arm64") else _X64
    flags = next((line.split() for line in text.splitlines() if line.startswith(("flags", "Features"))), [])
    return tuple(name for name in known if name in flags)
