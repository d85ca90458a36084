"""CUDA without a GPU: onnxruntime's real CUDA provider over a stub of the libraries that it is linked to.

Placement is real, since the provider itself decides it; numbers are not, since no kernel runs.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import onnxruntime

__all__ = ["compile_cudnn", "compile_stub", "in_stub", "why_no_stub"]

SOURCE = Path(__file__).parent / "cuda_stub.c"
PROVIDER = Path(onnxruntime.__file__).parent / "capi" / "libonnxruntime_providers_cuda.so"
DRIVER = "libcuda.so.1"
# A cuDNN that is found and cannot be used, as one of another CUDA is; 1001: CUDNN_STATUS_NOT_INITIALIZED
BAD_CUDNN = """
unsigned long cudnnGetVersion(void) { return 91000; }
int cudnnCreate(void **handle) { return 1001; }
const char *cudnnGetErrorString(int status) { return "CUDNN_STATUS_NOT_INITIALIZED"; }
void cudnnGetLastErrorString(char *text, unsigned long size) { if (size) *text = 0; }
"""
START = "start"  # a folder of the stub that Python looks into when it starts
NO_PRELOADING = "import onnxruntime\nonnxruntime.preload_dlls = lambda: None\n"  # of what pip installed


def why_no_stub() -> str:
    """Why the stub cannot be compiled or used here; "" where it can."""
    if sys.platform != "linux" or not PROVIDER.is_file():
        return "the wheel onnxruntime-gpu for Linux is not installed"
    missing = [tool for tool in ("gcc", "nm", "readelf") if shutil.which(tool) is None]
    return f"{', '.join(missing)} not found" if missing else ""


def compile_stub(folder: Path) -> tuple[str, ...]:
    """Compile one library for each that the provider names, with every symbol that it asks of it; their names."""
    nm, needed = (
        subprocess.run([*command, PROVIDER], check=True, capture_output=True, text=True).stdout
        for command in (("nm", "-D", "--undefined-only"), ("readelf", "-d"))
    )
    written = set(re.findall(r"^(?:E|void \*\*|const char \*)\s*(\w+)\(", SOURCE.read_text(), re.M))
    symbols = [line.split()[-1].partition("@") for line in nm.splitlines()]
    libraries = tuple(re.findall(r"\[(lib(?:cu|nv)\w*\.so\.\d+)\]", needed))
    for library in libraries:
        own = [
            name
            for name, _, version in symbols
            if version == library or (not version and library == DRIVER and name.startswith("cuT"))
        ]
        code = "".join(
            f".globl {name}\n.type {name},@function\n{name}:\n xor %eax,%eax\n ret\n"
            for name in own
            if name not in written
        )
        (folder / "stub.s").write_text(f'.text\n{code}.section .note.GNU-stack,"",@progbits\n')
        (folder / "stub.map").write_text(f"{library} {{ global: *; }};\n")
        link = [f"-Wl,-soname,{library}", f"-Wl,--version-script={folder / 'stub.map'}"]
        _gcc(folder / library, SOURCE, folder / "stub.s", *link)
    (folder / START).mkdir()
    (folder / START / "sitecustomize.py").write_text(NO_PRELOADING)
    return libraries


def compile_cudnn(folder: Path) -> None:
    """Add a cuDNN that loads and cannot compute."""
    (folder / "cudnn.c").write_text(BAD_CUDNN)
    _gcc(folder / "libcudnn.so.9", folder / "cudnn.c", "-Wl,-soname,libcudnn.so.9")
    (folder / "libcudnn.so").symlink_to("libcudnn.so.9")


def in_stub(
    folder: Path, *arguments: str, cwd: Path | None = None, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run Python with the stub's libraries first in the loader's path, and without those that pip installed."""
    paths = os.pathsep.join(filter(None, [str(folder / START), os.environ.get("PYTHONPATH")]))
    merged: Mapping[str, str] = {**os.environ, "LD_LIBRARY_PATH": str(folder), "PYTHONPATH": paths, **environment}
    return subprocess.run(
        [sys.executable, "-W", "ignore", *arguments],
        check=False,
        capture_output=True,
        text=True,
        env=merged,
        cwd=cwd,
        timeout=600,
    )


def _gcc(target: Path, *arguments: object) -> None:
    command = ["gcc", "-w", "-shared", "-fPIC", "-o", str(target), *map(str, arguments)]
    subprocess.run(command, check=True)
