"""`hnexport` in a process of its own, without paying for its imports each time.

A server process imports the heavy third-party libraries once (nothing of hnexport) and forks for every command: the
child has its own arguments, folder, environment, files, limits and signals, imports hnexport and ends as any
interpreter does. Tests about imports and start-up start a fresh interpreter instead.
"""

import array
import atexit
import contextlib
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

# onnxruntime is not among them: it starts a thread, and waits for it at the end, which a fork does not have.
LIBRARIES = (
    *("torch", "torch._dynamo", "torch.export.pt2_archive", "torch._export.serde.serialize"),
    *(
        "torch.onnx._internal.exporter._core",
        "onnx",
        "onnx_ir",
        "onnxscript",
        "rich",
        "safetensors",
        "PIL.Image",
        "jinja2",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a process may take; 0 is no limit. `address_bytes` is beyond what the libraries have mapped."""

    cpu_seconds: int = 0
    address_bytes: int = 0
    core_bytes: int = 0
    file_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Done:
    """How a process ended.

    Attributes:
        returncode: as `subprocess` has it: negative is a signal.
        cpu_seconds: user and system time of the process and of the children it waited for.
        peak_bytes: resident, above what the process had when it was forked.
        events: what the watch recorded; see `_watch`.
    """

    args: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    cpu_seconds: float
    peak_bytes: int
    events: tuple[str, ...]


class Zygote:
    """The server, started when it is first needed; one for each test process."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def run(
        self,
        arguments: Iterable[object],
        *,
        cwd: Path,
        env: Mapping[str, str],
        code: str | None = None,
        timeout: float = 300,
        limits: Limits | None = None,
        watched: Iterable[Path] | None = None,
        meanwhile: Callable[[int], None] | None = None,
    ) -> Done:
        """Run `hnexport ARGUMENTS`, or `code` with them as `sys.argv[1:]`.

        Args:
            watched: the folders that may be written; anything else, and programs and sockets, are recorded.
            meanwhile: called with its number once it runs; what this raises ends it.

        Raises:
            TimeoutError: it did not end in time; it was killed.
        """
        given = tuple(map(str, arguments))
        with (
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
            tempfile.TemporaryFile() as seen,
            open(os.devnull, "rb") as none,
        ):
            request = {
                "arguments": given,
                "cwd": str(cwd),
                "env": dict(env),
                "code": code,
                "limits": vars(limits or Limits()),
                "watched": None if watched is None else [str(Path(folder).resolve()) for folder in watched],
            }
            answer = self._ask(request, [none.fileno(), out.fileno(), err.fileno(), seen.fileno()], timeout, meanwhile)
            texts = []
            for file in (out, err, seen):
                file.seek(0)
                texts.append(file.read().decode("utf-8", "replace"))
        return Done(args=given, stdout=texts[0], stderr=texts[1], events=tuple(texts[2].splitlines()), **answer)

    def close(self) -> None:
        """End the server."""
        if self._socket is not None and self._process is not None:
            self._socket.close()
            self._process.wait()
        self._socket = self._process = None

    def _ask(self, request: dict, files: list[int], timeout: float, meanwhile: Callable[[int], None] | None) -> dict:
        connection = self._connection()
        body = json.dumps(request).encode()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))]
        connection.sendmsg([len(body).to_bytes(8, "big")], rights)
        connection.sendall(body)
        pid = int(_line(connection))
        try:
            if meanwhile is not None:
                meanwhile(pid)
            connection.settimeout(timeout)
            return json.loads(_line(connection))
        except BaseException as error:
            for end in (os.killpg, os.kill):  # at first it has no group of its own
                with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
                    end(pid, signal.SIGKILL)
            connection.settimeout(None)
            _line(connection)
            if isinstance(error, TimeoutError):
                raise TimeoutError(f"no end after {timeout} s: {request['arguments']}") from None
            raise
        finally:
            connection.settimeout(None)

    def _connection(self) -> socket.socket:
        if self._socket is None:
            ours, theirs = socket.socketpair()
            # No thread may be there when it forks; several test processes share the cores.
            environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
            command = [sys.executable, __file__, str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment)
            theirs.close()
            self._socket = ours
        return self._socket


def _line(connection: socket.socket) -> str:
    data = b""
    while not data.endswith(b"\n"):
        piece = connection.recv(1)
        if not piece:
            raise ConnectionError("the server that forks ended")
        data += piece
    return data.decode()


def _serve(connection: socket.socket) -> dict | None:
    """Fork for every request. Returns the request in the child, and None in the server when it should end."""
    while True:
        header, rights, _, _ = connection.recvmsg(8, socket.CMSG_SPACE(4 * 4))
        if not header:
            return None
        files = array.array("i")
        files.frombytes(rights[0][2][: 4 * files.itemsize])
        size, body = int.from_bytes(header, "big"), b""
        while len(body) < size:
            body += connection.recv(size - len(body))
        request = json.loads(body)
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            connection.close()
            os.close(reading)
            os.write(writing, b"%d" % _status("VmRSS"))  # what a fork has is less than what this process has of files
            os.close(writing)
            _become(request, files.tolist())
            return request
        os.close(writing)
        at_first = int(os.read(reading, 64) or b"0")
        os.close(reading)
        for file in files:
            os.close(file)
        connection.sendall(f"{pid}\n".encode())
        _, status, used = os.wait4(pid, 0)
        answer = {
            "returncode": os.waitstatus_to_exitcode(status),
            "cpu_seconds": used.ru_utime + used.ru_stime,
            "peak_bytes": max(0, 1024 * used.ru_maxrss - at_first),
        }
        connection.sendall(json.dumps(answer).encode() + b"\n")


def _become(request: dict, files: list[int]) -> None:
    import resource  # here: test processes import this module on systems too that have none, and fork nothing

    os.setsid()
    for number, file in enumerate(files[:3]):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    tempfile.tempdir = None  # asked for by an import, before this environment was there
    sys.path[0:1] = [request["cwd"], *request["env"].get("PYTHONPATH", "").split(os.pathsep)]
    sys.argv = ["hnexport", *request["arguments"]]
    limits = Limits(**request["limits"])
    resource.setrlimit(resource.RLIMIT_CORE, (limits.core_bytes, limits.core_bytes))
    if limits.file_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limits.file_bytes, limits.file_bytes))
    if limits.cpu_seconds:
        resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_seconds, limits.cpu_seconds + 5))
    if limits.address_bytes:
        most = _status("VmSize") + limits.address_bytes
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    if request["watched"] is not None:
        _watch(files[3], request["watched"])


def _status(name: str) -> int:
    """A size of this process, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


_PROGRAMS = {"os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.startfile", "pty.spawn"}
_PATHS = {"os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod"}


def _watch(record: int, folders: list[str]) -> None:
    """Record programs that are started, sockets, and writing outside `folders`.

    This interpreter may be started again: hnexport confines what it does not trust in a process of its own.
    """

    def allowed(path: object) -> bool:
        if not isinstance(path, str | bytes):
            return True  # a descriptor, opened before
        place = os.path.realpath(os.fsdecode(path))
        return place == os.devnull or any(place == folder or place.startswith(f"{folder}/") for folder in folders)

    def hook(event: str, args: tuple) -> None:
        found = None
        if event == "open":
            path, mode, flags = args
            writes = (isinstance(mode, str) and set(mode) & set("wax+")) or (
                mode is None and isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            )
            found = path if writes and not allowed(path) else None
        elif event in _PROGRAMS or event == "socket.connect":
            found = args
        elif event == "subprocess.Popen":
            harmless = os.fsdecode(args[0]) == sys.executable or args[1] == ["uname", "-p"]  # platform.processor
            found = None if harmless else args[1]
        elif event in _PATHS:
            found = args if not allowed(args[0]) else None
        if found is not None:
            os.write(record, f"{event} {found!r}\n".encode())

    sys.addaudithook(hook)


def _main() -> None:
    for name in LIBRARIES:
        importlib.import_module(name)
    exporter = importlib.import_module("exporter")  # beside this file
    exporter.share_registry()
    exporter.share_operators()
    exporter.warm_registry()
    exporter.spare_collections()  # one in a child would copy every page
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests; the socket closes after it
    request = _serve(socket.socket(fileno=int(sys.argv[1])))
    if request is None:
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code = 0
    try:
        if request["code"] is None:
            runpy.run_module("hnexport", run_name="__main__", alter_sys=True)
        else:
            exec(compile(request["code"], "<test>", "exec"), {"__name__": "__main__"})
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if code == 1 and not isinstance(end.code, int):
            sys.stderr.write(f"{end.code}\n")
    except BaseException as error:
        code = 1
        traceback.print_exc()
        if isinstance(error, KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
    _end(code)


def _end(code: int) -> NoReturn:
    """End as the interpreter does, but without taking the libraries apart, which costs more than most commands."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        code = code or 120
    os._exit(code & 0xFF)


if __name__ == "__main__":
    _main()
