"""What a contender is given, and what it gives back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.manifest import Manifest

__all__ = ["PLAIN_FILE", "PLAIN_WEIGHTS_FILE", "SAMPLES_FILE", "Arrays", "BenchTask", "Loaded"]

PLAIN_FILE = "plain.onnx"
PLAIN_WEIGHTS_FILE = "plain.bin"
SAMPLES_FILE = "samples.npz"

Arrays = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True, kw_only=True)
class BenchTask:
    """What a contender is given.

    Attributes:
        plain: the folder of the plain network, `plain.onnx` and its weights.
        member: the member that is run.
        threads: for one operator.
        precision: the arithmetic of every contender but OpenVINO's, "float32", on CUDA "tf32" or "float16" too.
        cuda: how onnxruntime's contenders use CUDA: a `CudaOptions` as JSON, which the processes that do without
            onnxruntime need not make.
        until: when the contenders that stop early do: what `predict_mean` takes, an `Until` as JSON.
    """

    bundle: Path
    manifest: Manifest
    plain: Path
    member: int
    provider: str
    threads: int
    precision: str = "float32"
    cuda: Mapping[str, Any] = field(default_factory=dict)
    until: Any = "exact"


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A loaded contender: `run(inputs)` computes the outputs; `files` are those it needs."""

    runtime: str
    run: Callable[[Arrays], Any]
    files: tuple[Path, ...]
