"""How a bundle is loaded."""

from dataclasses import dataclass
from enum import StrEnum

from hnexport.errors import RuntimeInputError

__all__ = ["Check", "Checksums", "EngineName", "LoadOptions", "Precision", "Strategy"]


class EngineName(StrEnum):
    """Which library computes."""

    ONNXRUNTIME = "onnxruntime"
    OPENVINO = "openvino"


class Strategy(StrEnum):
    """Where a member's weights are while it predicts.

    `materialised`: generated once, then kept as the constants of a plain network of its own: the speed of a network
    that never had a hypernetwork, for the memory of one set of weights a member. `folded`: the same speed and memory
    over graphs that `hnexport tune` made for this machine; another member is there in milliseconds. `generated`: one
    session for all members, which computes the weights anew in every call. `auto` materialises on the CPU if all fit
    into memory and the recipe generates the convolutions; otherwise it takes the tuned graphs where they are, and
    generates where they are not.
    """

    AUTO = "auto"
    MATERIALISED = "materialised"
    FOLDED = "folded"
    GENERATED = "generated"


class Checksums(StrEnum):
    """When SHA-256 is computed; file sizes and small files are always compared.

    `remembered` reads a large file once and notes that this very file (inode, size, times) was whole.
    """

    ALWAYS = "always"
    REMEMBERED = "remembered"
    NEVER = "never"


class Check(StrEnum):
    """How much of the golden sample is computed at load: one image of one member, everything, or nothing."""

    SAMPLE = "sample"
    ALL = "all"
    NONE = "none"


class Precision(StrEnum):
    """The arithmetic. `bfloat16` is a choice to make by name, and only OpenVINO has it."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """The options of `hnexport.runtime.load`, validated; see there."""

    provider: str = "auto"
    engine: EngineName = EngineName.ONNXRUNTIME
    strategy: Strategy = Strategy.AUTO
    resident_members: int | None = None
    threads: int | None = None
    precision: Precision = Precision.FLOAT32
    checksums: Checksums = Checksums.REMEMBERED
    check: Check = Check.SAMPLE
    tune: bool = False

    def __post_init__(self) -> None:
        kinds: dict[str, type[StrEnum]] = {
            "engine": EngineName,
            "strategy": Strategy,
            "precision": Precision,
            "checksums": Checksums,
            "check": Check,
        }
        for name, kind in kinds.items():
            object.__setattr__(self, name, _choice(name, kind, getattr(self, name)))
        for name in ("resident_members", "threads"):
            _require_count(name, getattr(self, name))
        if self.engine is EngineName.OPENVINO and (self.tune or self.strategy is Strategy.FOLDED):
            raise RuntimeInputError(
                "tuned graphs are onnxruntime's: leave out tune and strategy='folded' with OpenVINO"
            )
        if self.precision is not Precision.FLOAT32 and self.engine is not EngineName.OPENVINO:
            raise RuntimeInputError(
                f"precision={self.precision.value!r} needs engine='openvino'; onnxruntime computes in float32"
            )


def _choice(name: str, kind: type[StrEnum], value: str) -> StrEnum:
    try:
        return kind(value)
    except ValueError:
        choices = ", ".join(repr(member.value) for member in kind)
        raise RuntimeInputError(f"{name} must be one of {choices}, found {value!r}") from None


def _require_count(name: str, value: object) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise RuntimeInputError(f"{name} must be a whole number from 1, or None, found {value!r}")
