"""Runners: one small class for each way to run an artifact, behind one contract."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.manifest import Format, Manifest
from hnexport.errors import ParityError, ProviderError
from hnexport.parity.kinds import FileKind, file_kind
from hnexport.parity.limits import Limits
from hnexport.parity.onnx_runners import MaterialisedRunner, OnnxRunner
from hnexport.parity.other_runners import OpenVinoRunner, ReferenceRunner, has_openvino, is_small
from hnexport.parity.providers import ONNX_PROVIDERS, Device, Placement, onnx_session, resolve_provider
from hnexport.parity.torch_runners import TorchRunner

__all__ = [
    "ONNX_PROVIDERS",
    "ON_REQUEST",
    "RUNNERS",
    "Device",
    "Inspectable",
    "Placed",
    "Runner",
    "Together",
    "choose_runners",
    "file_runner",
    "onnx_session",
    "resolve_provider",
]

Array = NDArray[np.generic]


class Runner(Protocol):
    """One loaded artifact.

    Attributes:
        runtime: what computes it, in words.
        limits: what it or its runtime is known not to do.
    """

    runtime: str
    limits: Limits

    def run(self, cond_id: int, images: Array) -> Array:
        """Logits `[batch, class]` of one member."""
        ...


@runtime_checkable
class Together(Protocol):
    """A runner that can run several members in one call, where its `limits.together` says so."""

    runtime: str
    limits: Limits

    def run_together(self, cond_ids: NDArray[np.int64], images: Array) -> tuple[Array, ...]:
        """What `ENSEMBLE_OUTPUTS` names, in that order."""
        ...


@runtime_checkable
class Inspectable(Protocol):
    """A runner that also shows the tensors it works with."""

    def stored(self) -> Iterator[tuple[str, Array]]:
        """The tensors in the artifact's files, by name."""
        ...

    def weights(self, cond_id: int) -> Mapping[str, Array]:
        """The main network's tensors of one member, by slot name; a slot that was fused away is left out."""
        ...


@runtime_checkable
class Placed(Protocol):
    """A runner that can prove where its nodes ran."""

    def placement(self, images: Array) -> Placement | None:
        """From a profile; None on the CPU provider, which has nowhere to fall back to."""
        ...


# What a bundle can be run as: the artifact's name, the format it belongs to, its runner.
RUNNERS: Mapping[str, tuple[Format, Callable[[Path, Manifest, Device], Runner]]] = MappingProxyType(
    {
        "onnx": (Format.ONNX, lambda bundle, *rest: OnnxRunner(bundle / "model.onnx", *rest)),
        "onnx-materialised": (Format.ONNX, MaterialisedRunner),
        "torchscript": (Format.TORCHSCRIPT, lambda bundle, *rest: TorchRunner(bundle / "model.pt", *rest)),
        "pt2": (Format.PT2, lambda bundle, *rest: TorchRunner(bundle / "model.pt2", *rest)),
        "openvino": (Format.ONNX, OpenVinoRunner),
        "onnx-reference": (Format.ONNX, ReferenceRunner),
    }
)

# Other people's runtimes, run when they are asked for; a build verifies all the others.
ON_REQUEST = ("openvino", "onnx-reference")


def choose_runners(
    formats: Mapping[str, Format], manifest: Manifest, asked: Sequence[str] | None
) -> tuple[tuple[str, ...], dict[str, str]]:
    """The runners to run, and why each of the others is not run.

    Args:
        formats: every runner there is, by name, with the format that it runs.
        asked: names among them; `all` stands for every one that is installed; None for the default.

    Raises:
        ParityError: there is no runner of such a name.
        ProviderError: one that was asked for by name is not installed.
    """
    usual = [name for name in formats if name not in ON_REQUEST]
    names = usual if asked is None else [name for name in asked if name != "all"]
    unknown = [name for name in names if name not in formats]
    if unknown:
        raise ParityError(f"there is no runtime {unknown[0]!r}; choose among {', '.join(formats)}, or all")
    wanted = set(formats) if asked is not None and "all" in asked else set(names)
    reasons: dict[str, str] = {}
    for name, file_format in formats.items():
        if file_format not in manifest.formats:
            reasons[name] = "its format is not in the bundle"
        elif name == "openvino" and not has_openvino():
            reasons[name] = "OpenVINO is not installed: pip install 'hnexport[openvino]'"
            if name in names:
                raise ProviderError(reasons[name])
        elif name == "onnx-reference" and name not in names and not is_small(manifest):
            reasons[name] = "the network is too large for ONNX's reference evaluator; ask for it by name"
        elif name not in wanted:
            reasons[name] = f"not asked for: --runtimes {name}"
    return tuple(name for name in formats if name not in reasons), reasons


def file_runner(path: Path, manifest: Manifest, device: Device, *, native_code: bool = False) -> Runner:
    """A runner of any ONNX, TorchScript or `.pt2` file with the signature of a bundle, or of an ensemble of it.

    Args:
        native_code: whether machine code in the file may be run: only where its maker is trusted.

    Raises:
        ParityError: it is none of these, or has another signature.
        ProviderError: the provider cannot be had.
    """
    kind = file_kind(path)
    if kind in (FileKind.ONNX, FileKind.ORT):
        return OnnxRunner(path, manifest, device)
    if kind is FileKind.AOTINDUCTOR and not native_code:
        raise ParityError(
            f"{path} is {kind.value}, machine code that would run with your rights: verify the .pt2 that it was "
            "compiled from, or judge what it returns with `hnexport golden` and `hnexport verify --outputs`"
        )
    return TorchRunner(path, manifest, device)
