"""Open a TorchScript or `.pt2` file: in this process where it is trusted, in a confined one where it is not."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.golden import read_golden
from hnexport.bundle.manifest import Manifest
from hnexport.confine.trust import NOBODY, Trust
from hnexport.errors import BundleError, NotRunError, ParityError
from hnexport.names import PT2_FILE, TORCHSCRIPT_FILE
from hnexport.parity.confined import ConfinedRunner
from hnexport.parity.kinds import FileKind, by_outputs, torch_kind
from hnexport.parity.providers import Device, torch_device, torch_runtime
from hnexport.parity.signature import GraphSignature, axis_sizes, signature_of
from hnexport.parity.torch_runners import TorchRunner
from hnexport.programs.tracing import has_torchscript, without_torchscript
from hnexport.reading import ReadError, open_regular
from hnexport.spelling import spelled

__all__ = ["PROGRAM_FILES", "Program", "golden_sizes", "open_program", "program_tensors", "sharing_programs"]

Array = NDArray[np.generic]
Program = TorchRunner | ConfinedRunner

PROGRAM_FILES = {"torchscript": TORCHSCRIPT_FILE, "pt2": PT2_FILE, "torchscript-ensemble": TORCHSCRIPT_FILE}
"""The artifacts that are programs, and their files."""

_HELD: ContextVar[dict[str, ConfinedRunner] | None] = ContextVar("confined programs", default=None)


def open_program(
    path: Path,
    manifest: Manifest,
    device: Device,
    trust: Trust = NOBODY,
    *,
    own: bool = False,
    sizes: Mapping[str, int] | None = None,
) -> Program:
    """Load a program from bytes that are read once: those that are compared are those that run.

    Args:
        own: whether it is a bundle's own file: then another signature is told by its `signature_faults`.
        sizes: of open axes besides the batch; None takes those of the golden samples in the program's folder.

    Raises:
        ParityError: PyTorch cannot load it, or it has another signature.
        NotRunError: it is not trusted, and was not run for that reason or could not be run in confinement; or it is
            TorchScript, and PyTorch has none.
    """
    try:
        with open_regular(path) as file:
            content = file.read()
    except (OSError, ReadError) as error:
        raise ParityError(f"{path} cannot be read: {error}") from error
    if torch_kind(content, path.name) is FileKind.TORCHSCRIPT and not has_torchscript():
        raise NotRunError(f"{path}: {without_torchscript('verify it where PyTorch is older')}")
    signature = signature_of(manifest, golden_sizes(path.parent, manifest) if sizes is None else sizes)
    if trust.covers(content):
        runner = TorchRunner(content, path.name, signature, torch_device(device), own=own)
        runner.runtime = torch_runtime(device)
        return runner
    if torch_kind(content, path.name) is FileKind.AOTINDUCTOR:
        raise NotRunError(
            f"{path} is {FileKind.AOTINDUCTOR.value}, machine code that runs with your rights: give "
            f"{spelled('trust=True', '--trust')} if you know who built it, verify the .pt2 that it was compiled from, "
            f"or judge what it returns with {by_outputs()}"
        )
    return _confined(content, path.name, manifest, signature, own=own)


def golden_sizes(folder: Path, manifest: Manifest) -> dict[str, int]:
    """The sizes that the open axes besides the batch have in a bundle's golden samples; none where there are none."""
    if not axis_sizes(manifest.signature, {item.name: range(len(item.shape)) for item in manifest.signature.inputs}):
        return {}
    try:
        inputs = read_golden(folder, manifest).inputs
    except BundleError:
        return {}
    return axis_sizes(manifest.signature, {name: array.shape for name, array in inputs.items()})


@contextmanager
def sharing_programs() -> Iterator[None]:
    """Within, a confined program is started once, however often its file is opened; it ends with the block."""
    held: dict[str, ConfinedRunner] = {}
    token = _HELD.set(held)
    try:
        yield
    finally:
        _HELD.reset(token)
        for runner in held.values():
            runner.close()


def _confined(content: bytes, name: str, manifest: Manifest, signature: GraphSignature, *, own: bool) -> ConfinedRunner:
    held = _HELD.get()
    key = f"{name} {own} {hashlib.sha256(content).hexdigest()}"
    if held is not None and key in held:
        return held[key]
    runner = ConfinedRunner(content, name, manifest, signature, own=own)
    if held is not None:
        held[key] = runner
    return runner


def program_tensors(path: Path, manifest: Manifest, trust: Trust = NOBODY) -> Iterator[tuple[str, Array]]:
    """The parameters and buffers of a bundle's own program, by name.

    Raises:
        ParityError, NotRunError: as `open_program`.
    """
    yield from open_program(path, manifest, Device(), trust, own=True).stored()
