"""A real server of Triton: of nvidia-pytriton's wheel, in an environment of its own that `make triton-test` makes.

The wheel has the server and its Python backend. HNEXPORT_TRITON is the environment's folder, and
HNEXPORT_TRITON_ONNXRUNTIME that of a built onnxruntime backend, where there is one.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ENVIRONMENT = os.environ.get("HNEXPORT_TRITON", "")
ONNXRUNTIME = os.environ.get("HNEXPORT_TRITON_ONNXRUNTIME", "")
_SECONDS = 180
_TYPES = {"bool": "BOOL", "float16": "FP16", "float32": "FP32", "float64": "FP64"}


@dataclass(frozen=True)
class Server:
    """A server that is running; `client` speaks gRPC."""

    client: Any
    http: str

    def ask(self, model: str, inputs: Mapping[str, np.ndarray], version: str = "") -> Any:
        return self.client.infer(model, infer_inputs(inputs), model_version=version)


def infer_inputs(inputs: Mapping[str, np.ndarray]) -> list[Any]:
    import tritonclient.grpc as triton

    given = []
    for name, array in inputs.items():
        value = np.ascontiguousarray(np.atleast_1d(array))
        given.append(triton.InferInput(name, list(value.shape), _TYPES.get(value.dtype.name, value.dtype.name.upper())))
        given[-1].set_data_from_numpy(value)
    return given


@contextmanager
def tritonserver(repository: Path, folder: Path) -> Iterator[Server]:
    """The server over a repository, whose models are loaded by name; `folder` is for its backends and its log."""
    import tritonclient.grpc as triton

    http, grpc = _free_port(), _free_port()
    log = folder / "server.log"
    command = [
        _wheel() / "tritonserver" / "bin" / "tritonserver",
        f"--model-repository={repository}",
        f"--backend-directory={_backends(folder / 'backends')}",
        "--model-control-mode=explicit",
        "--load-model=*",
        "--disable-auto-complete-config",
        "--exit-timeout-secs=3",
        "--allow-metrics=false",
        *(f"--{kind}-address=127.0.0.1" for kind in ("http", "grpc")),
        f"--http-port={http}",
        f"--grpc-port={grpc}",
    ]
    with log.open("wb") as output:
        process = subprocess.Popen([str(part) for part in command], stdout=output, stderr=output, env=_variables())
    try:
        client = triton.InferenceServerClient(f"127.0.0.1:{grpc}")
        end = time.monotonic() + _SECONDS
        while not _is_ready(client):
            assert process.poll() is None, log.read_text()[-6000:]
            assert time.monotonic() < end, log.read_text()[-6000:]
            time.sleep(0.2)
        with client:
            yield Server(client=client, http=f"127.0.0.1:{http}")
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_ready(client: Any) -> bool:
    from tritonclient.utils import InferenceServerException

    try:
        return bool(client.is_server_ready())
    except InferenceServerException:
        return False


def _packages() -> Path:
    (found,) = (Path(ENVIRONMENT).resolve() / "lib").glob("python3.*/site-packages")
    return found


def _wheel() -> Path:
    return _packages() / "pytriton"


def _backends(folder: Path) -> Path:
    """The Python backend with the stub of this version of Python, and the other one."""
    wheel = _wheel() / "tritonserver"
    shutil.copytree(wheel / "backends", folder)
    version = _packages().parent.name.removeprefix("python")
    shutil.copy2(wheel / "python_backend_stubs" / version / "triton_python_backend_stub", folder / "python")
    if ONNXRUNTIME:
        (folder / "onnxruntime").symlink_to(Path(ONNXRUNTIME).resolve())
    return folder


def _variables() -> dict[str, str]:
    """The stub needs the library of the environment's Python, and what the wheel brings; and where its packages are."""
    python = Path(ENVIRONMENT).resolve() / "bin" / "python"
    asked = [str(python), "-c", "import sysconfig; print(sysconfig.get_config_var('LIBDIR'))"]
    own = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    return {
        **os.environ,
        "LD_LIBRARY_PATH": f"{own}:{_packages() / 'nvidia_pytriton.libs'}",
        "PATH": f"{python.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(_packages()),
        "OMP_NUM_THREADS": "1",
    }


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
