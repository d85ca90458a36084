"""What kind of model a file holds, told from its name and its table of contents: nothing in it is executed."""

import io
import zipfile
from enum import Enum
from pathlib import Path
from typing import IO

from hnexport.errors import ParityError
from hnexport.spelling import spelled

__all__ = ["FileKind", "by_outputs", "file_kind", "torch_kind"]

READ = "an ONNX file (.onnx, .ort), TorchScript (.pt) or a torch.export program (.pt2)"
TORCH_SUFFIXES = (".pt", ".pt2", ".pth", ".ts", ".jit")


class FileKind(Enum):
    """The kinds of file that parity knows."""

    ONNX = "ONNX"
    ORT = "onnxruntime's own format"
    TORCHSCRIPT = "TorchScript"
    PT2 = "a torch.export program"
    AOTINDUCTOR = "an AOTInductor package"


def file_kind(path: Path) -> FileKind:
    """The kind of a model file; of PyTorch's kinds by what is in it, since one suffix stands for several.

    Raises:
        ParityError: it is no regular file, or none of these kinds.
    """
    if path.is_dir():
        raise ParityError(
            f"{path} is a folder: expected {READ}; a bundle is "
            + spelled("verified by `verify`", "verified without --bundle")
        )
    if not path.is_file():
        raise ParityError(f"{path} is not a file: expected {READ}")
    if path.stat().st_size == 0:
        raise ParityError(f"{path} is empty: expected {READ}; export or copy it again")
    suffix = path.suffix.lower()
    if suffix in (".onnx", ".ort"):
        return FileKind.ONNX if suffix == ".onnx" else FileKind.ORT
    if suffix in TORCH_SUFFIXES:
        with path.open("rb") as file:
            return _torch_kind(file, path)
    raise ParityError(
        f"{path}: expected {READ}, found {suffix or 'no suffix'}; other runtimes are judged by what they return: "
        f"see {by_outputs()}"
    )


def by_outputs() -> str:
    """What judges runtimes by what they return."""
    return spelled("`write_golden_inputs` and `verify_outputs`", "`hnexport golden` and `hnexport verify --outputs`")


def torch_kind(content: bytes, name: str) -> FileKind:
    """Which of PyTorch's kinds the bytes of a file named `name` are.

    Raises:
        ParityError: none of them.
    """
    return _torch_kind(io.BytesIO(content), name)


def _torch_kind(file: IO[bytes], path: Path | str) -> FileKind:
    """PyTorch's kinds are zip archives with a folder of the model's name."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = {f"/{name}" for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError) as error:
        raise ParityError(
            f"{path} cannot be read as {FileKind.TORCHSCRIPT.value} or {FileKind.PT2.value}: {error}; "
            "it is truncated or something else: export or copy it again"
        ) from error
    if any("/data/aotinductor/" in name or name.endswith(".so") for name in names):
        return FileKind.AOTINDUCTOR
    if any(name.endswith(("/serialized_exported_program.json", "/models/model.json")) for name in names):
        return FileKind.PT2
    if any(name.endswith("/constants.pkl") for name in names):
        return FileKind.TORCHSCRIPT
    holds = "tensors or pickled objects of torch.save, no program" if _has_pickle(names) else "no PyTorch program"
    raise ParityError(f"{path} holds {holds}: expected {READ}; save the program with torch.jit.save or torch.export")


def _has_pickle(names: set[str]) -> bool:
    return any(name.endswith("/data.pkl") for name in names)
