"""Runners: one small class for each way to run an artifact, behind one contract."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.manifest import Format, Manifest
from hnexport.confine.trust import NOBODY, Trust
from hnexport.errors import ParityError, ProviderError
from hnexport.names import PT2_FILE, TORCHSCRIPT_FILE
from hnexport.parity.kinds import FileKind, file_kind
from hnexport.parity.limits import Limits
from hnexport.parity.not_run import NO_FORMAT, NOT_ASKED, runtime_option
from hnexport.parity.onnx_runners import MaterialisedRunner, OnnxRunner, own_model
from hnexport.parity.other_runners import OpenVinoRunner, ReferenceRunner, is_small, why_no_openvino
from hnexport.parity.programs import PROGRAM_FILES, golden_sizes, open_program
from hnexport.parity.providers import Device, Placement, resolve_provider
from hnexport.parity.trace import Given, Trace

__all__ = [
    "ON_REQUEST",
    "RUNNERS",
    "Device",
    "Inspectable",
    "Marked",
    "Placed",
    "Readable",
    "Runner",
    "Signed",
    "Together",
    "Traceable",
    "bundle_runner",
    "choose_runners",
    "file_runner",
    "golden_sizes",
    "resolve_provider",
]

Array = NDArray[np.generic]
Inputs = Mapping[str, Array]
Outputs = Mapping[str, Array]


class Runner(Protocol):
    """One loaded artifact.

    Attributes:
        runtime: what computes it, in words.
        limits: what it or its runtime is known not to do.
    """

    runtime: str
    limits: Limits

    def run(self, cond_id: int, inputs: Inputs) -> Outputs:
        """The outputs of one member by the names of the bundle's signature."""
        ...


@runtime_checkable
class Together(Protocol):
    """A runner that can run several members in one call, where its `limits.together` says so."""

    runtime: str
    limits: Limits

    def run_together(self, cond_ids: NDArray[np.int64], inputs: Inputs) -> Outputs:
        """What `hnexport.spec.summaries` names, by name."""
        ...


@runtime_checkable
class Inspectable(Protocol):
    """A runner that also shows the tensors it works with."""

    def stored(self) -> Iterator[tuple[str, Array]]:
        """The tensors in the artifact's files, by name."""
        ...

    def weights(self, cond_id: int, inputs: Inputs) -> Given:
        """What the network's operators are given of one member; programs are run with `inputs` to see it."""
        ...


@runtime_checkable
class Traceable(Protocol):
    """A runner that shows what it computes on the way."""

    def trace(self, cond_id: int, inputs: Inputs) -> Trace:
        """Everything of one call; outputs by the names of the bundle's signature."""
        ...


@runtime_checkable
class Signed(Protocol):
    """A runner of a bundle's own file, which must have the names, dtypes and axes of the manifest.

    Attributes:
        signature_faults: how it departs from them; none of somebody's file, which may have others.
    """

    signature_faults: tuple[str, ...]


@runtime_checkable
class Readable(Protocol):
    """A runner of ONNX files, whose operators can be read.

    Attributes:
        random: see `random_operators`; empty for somebody's file.
    """

    random: tuple[str, ...]


@runtime_checkable
class Marked(Protocol):
    """A runner whose runtime may lose a NaN in a maximum."""

    def with_marks(self, cond_id: int, inputs: Inputs) -> Outputs | None:
        """What it returns where none is lost there; None where it has no maxima."""
        ...


@runtime_checkable
class Placed(Protocol):
    """A runner that can prove where its nodes ran."""

    def placement(self, inputs: Inputs) -> Placement | None:
        """From a profile; None on the CPU provider, which has nowhere to fall back to."""
        ...


# What a bundle can be run as: the artifact's name, the format it belongs to, its runner. Opened from here, programs
# run confined; `bundle_runner` is told whom to trust.
RUNNERS: Mapping[str, tuple[Format, Callable[[Path, Manifest, Device], Runner]]] = MappingProxyType(
    {
        "onnx": (Format.ONNX, own_model),
        "onnx-materialised": (Format.ONNX, MaterialisedRunner),
        "torchscript": (
            Format.TORCHSCRIPT,
            lambda bundle, *rest: open_program(bundle / TORCHSCRIPT_FILE, *rest, own=True),
        ),
        "pt2": (Format.PT2, lambda bundle, *rest: open_program(bundle / PT2_FILE, *rest, own=True)),
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
            reasons[name] = NO_FORMAT
        elif name not in wanted:
            reasons[name] = NOT_ASKED + runtime_option(name)
        elif name == "openvino" and (missing := why_no_openvino()):
            reasons[name] = missing
            if name in names:
                raise ProviderError(missing)
        elif name == "onnx-reference" and name not in names and not is_small(manifest):
            reasons[name] = "the network is too large for ONNX's reference evaluator; ask for it by name"
    return tuple(name for name in formats if name not in reasons), reasons


def bundle_runner(name: str, bundle: Path, manifest: Manifest, device: Device, trust: Trust) -> Runner:
    """A runner of one of a bundle's artifacts, by its name in `RUNNERS`.

    Raises:
        ParityError: it cannot be loaded; a NotRunError where it is a program that is not trusted.
        ProviderError: the provider cannot be had.
    """
    if name in PROGRAM_FILES:
        return open_program(bundle / PROGRAM_FILES[name], manifest, device, trust, own=True)
    return RUNNERS[name][1](bundle, manifest, device)


def file_runner(
    path: Path,
    manifest: Manifest,
    device: Device,
    trust: Trust = NOBODY,
    sizes: Mapping[str, int] | None = None,
    *,
    may_be_one: bool = False,
) -> Runner:
    """A runner of any ONNX, TorchScript or `.pt2` file with the signature of a bundle, or of an ensemble of it.

    Args:
        sizes: what `golden_sizes` gives, for a program with open axes besides the batch.
        may_be_one: whether an ONNX file may be one member by itself, without a condition id.

    Raises:
        ParityError: it is none of these, or has another signature.
        ProviderError: the provider cannot be had.
    """
    kind = file_kind(path)
    if kind in (FileKind.ONNX, FileKind.ORT):
        return OnnxRunner(path, manifest, device, may_be_one=may_be_one)
    return open_program(path, manifest, device, trust, sizes=sizes)
