"""How a bundle is loaded."""

from dataclasses import dataclass, replace
from enum import StrEnum

from hnexport.errors import RuntimeInputError
from hnexport.runtime.cuda import CudaOptions
from hnexport.runtime.validation import choice, require_count, require_threads
from hnexport.spec.precision import Precision
from hnexport.spelling import spelled

__all__ = ["Check", "Checksums", "EngineName", "LoadOptions", "Precision", "Strategy", "own_provider"]


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
    into memory and enough of a member's weights is its own; otherwise it takes the tuned graphs where they are, and
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
    """How much of the golden sample is computed at load: one sample of one member, everything, or nothing."""

    SAMPLE = "sample"
    ALL = "all"
    NONE = "none"


_CUDA_PRECISIONS = (Precision.TF32, Precision.FLOAT16)


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
    cuda: CudaOptions | None = None

    def __post_init__(self) -> None:
        kinds: dict[str, type[StrEnum]] = {
            "engine": EngineName,
            "strategy": Strategy,
            "precision": Precision,
            "checksums": Checksums,
            "check": Check,
        }
        for name, kind in kinds.items():
            object.__setattr__(self, name, choice(name, kind, getattr(self, name)))
        if self.resident_members is not None:
            require_count("resident_members", self.resident_members)
        if self.threads is not None:
            require_threads("threads", self.threads)
        if self.cuda is not None and not isinstance(self.cuda, CudaOptions):
            raise RuntimeInputError(f"cuda must be CudaOptions(...) or None, found {self.cuda!r}")
        if self.engine is EngineName.OPENVINO and (self.tune or self.strategy is Strategy.FOLDED):
            raise RuntimeInputError(
                "tuned graphs are onnxruntime's: leave out tune and strategy='folded' with OpenVINO"
            )
        if self.precision is Precision.BFLOAT16 and self.engine is not EngineName.OPENVINO:
            needs = spelled(
                "precision='bfloat16' needs engine='openvino'", "--precision bfloat16 needs --engine openvino"
            )
            raise RuntimeInputError(f"{needs}; onnxruntime has float32, on CUDA tf32 and float16 too")
        if self.precision is Precision.INT8:
            self._check_int8()
        may_be_cuda = self.engine is EngineName.ONNXRUNTIME and self.provider in ("auto", "cuda")
        openvino = self.engine is EngineName.OPENVINO
        half = openvino and self.precision is Precision.FLOAT16
        if not may_be_cuda and not half and self.precision in _CUDA_PRECISIONS:
            found = self.precision.value
            needs = spelled(
                f"precision={found!r} needs provider='cuda' (or 'auto')",
                f"--precision {found} needs --provider cuda (or auto)",
            )
            if self.precision is Precision.FLOAT16:
                needs += spelled(" or engine='openvino'", " or --engine openvino")
            raise RuntimeInputError(f"{needs}, found {self._place()}")
        if not may_be_cuda and self.cuda is not None:
            raise RuntimeInputError(f"cuda=CudaOptions(...) is for provider='cuda' (or 'auto'), found {self._place()}")
        if (
            not half
            and self.precision is Precision.FLOAT16
            and self.strategy not in (Strategy.AUTO, Strategy.GENERATED)
        ):
            raise RuntimeInputError(
                f"precision='float16' generates members in every call: leave out strategy={self.strategy.value!r}"
            )

    def _check_int8(self) -> None:
        """Members in int8 are plain networks on the CPU: `auto` comes to that."""
        if self.provider not in ("auto", "cpu"):
            raise RuntimeInputError(f"precision='int8' needs provider='cpu', found {self._place()}")
        if self.strategy not in (Strategy.AUTO, Strategy.MATERIALISED):
            raise RuntimeInputError(
                f"precision='int8' is for materialised members: leave out strategy={self.strategy.value!r}"
            )
        if self.tune:
            raise RuntimeInputError(
                "tune=True knows no samples to calibrate int8 with: run `hnexport tune BUNDLE --precision int8 "
                "--calibration IMAGES` once"
            )
        object.__setattr__(self, "provider", "cpu")
        object.__setattr__(self, "strategy", Strategy.MATERIALISED)

    def on(self, provider: str) -> "LoadOptions":
        """The options for a provider that `auto` may take: what is for CUDA alone is left out elsewhere."""
        if provider == "cuda":
            strategy = Strategy.GENERATED if self.precision is Precision.FLOAT16 else self.strategy
            return replace(self, provider=provider, strategy=strategy)
        openvino = self.engine is EngineName.OPENVINO
        precision = Precision.FLOAT32 if self.precision in _CUDA_PRECISIONS and not openvino else self.precision
        return replace(self, provider=provider, precision=precision, cuda=None)

    def _place(self) -> str:
        engine = self.engine.value
        return spelled(
            f"provider={self.provider!r}, engine={engine!r}", f"--provider {self.provider}, --engine {engine}"
        )


def own_provider(precision: str, provider: str, engine: str) -> str:
    """The provider that is meant where a precision is asked for by name: "auto" could come to one without it."""
    needs_cuda = precision in _CUDA_PRECISIONS and engine == EngineName.ONNXRUNTIME
    return "cuda" if needs_cuda and provider == "auto" else provider
