"""Open a TorchScript or `.pt2` file: in this process where it is trusted, in a confined one where it is not."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.manifest import Manifest
from hnexport.errors import NotRunError, ParityError
from hnexport.parity.confined import ConfinedRunner
from hnexport.parity.kinds import FileKind, torch_kind
from hnexport.parity.providers import Device, torch_device, torch_runtime
from hnexport.parity.signature import signature_of
from hnexport.parity.torch_runners import TorchRunner
from hnexport.reading import ReadError, open_regular
from hnexport.trust import NOBODY, Trust

__all__ = ["PROGRAM_FILES", "Program", "open_program", "program_tensors", "sharing_programs"]

Array = NDArray[np.generic]
Program = TorchRunner | ConfinedRunner

PROGRAM_FILES = {"torchscript": "model.pt", "pt2": "model.pt2", "torchscript-ensemble": "model.pt"}
"""The artifacts that are programs, and their files."""

_HELD: ContextVar[dict[str, ConfinedRunner] | None] = ContextVar("confined programs", default=None)


def open_program(path: Path, manifest: Manifest, device: Device, trust: Trust = NOBODY) -> Program:
    """Load a program from bytes that are read once: those that are compared are those that run.

    Raises:
        ParityError: PyTorch cannot load it.
        NotRunError: it is not trusted, and was not run for that reason or could not be run in confinement.
    """
    try:
        with open_regular(path) as file:
            content = file.read()
    except (OSError, ReadError) as error:
        raise ParityError(f"{path} cannot be read: {error}") from error
    if trust.covers(content):
        runner = TorchRunner(content, path.name, manifest.spec, signature_of(manifest), torch_device(device))
        runner.runtime = torch_runtime(device)
        return runner
    if torch_kind(content, path.name) is FileKind.AOTINDUCTOR:
        raise NotRunError(
            f"{path} is {FileKind.AOTINDUCTOR.value}, machine code that runs with your rights: give --trust if you "
            "know who built it, verify the .pt2 that it was compiled from, or judge what it returns with "
            "`hnexport golden` and `hnexport verify --outputs`"
        )
    return _confined(content, path.name, manifest)


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


def _confined(content: bytes, name: str, manifest: Manifest) -> ConfinedRunner:
    held = _HELD.get()
    key = f"{name} {hashlib.sha256(content).hexdigest()}"
    if held is not None and key in held:
        return held[key]
    runner = ConfinedRunner(content, name, manifest.spec, signature_of(manifest))
    if held is not None:
        held[key] = runner
    return runner


def program_tensors(path: Path, manifest: Manifest, trust: Trust = NOBODY) -> Iterator[tuple[str, Array]]:
    """The parameters and buffers of a program, by name.

    Raises:
        ParityError, NotRunError: as `open_program`.
    """
    yield from open_program(path, manifest, Device(), trust).stored()
