"""How a bundle is served."""

import math
from dataclasses import dataclass, field

from hnexport.errors import RuntimeInputError
from hnexport.reading import shown
from hnexport.runtime.options import EngineName, Precision
from hnexport.runtime.validation import choice, require_count, require_threads

__all__ = ["LoadSettings", "ServeOptions"]

_LARGEST_PORT = 65535


@dataclass(frozen=True, kw_only=True)
class LoadSettings:
    """What `hnexport.runtime.load` is told, for each precision.

    Attributes:
        precisions: each is loaded; a request that names none gets the first.
        resident: at most so many members are kept as plain networks; None for all that fit.
        threads: compute threads of one call. With 1 a call has no pool of threads, and calls run side by side.
        digest: serve only the bundle with this digest.

    Raises:
        RuntimeInputError: an option has a value that it cannot have.
    """

    provider: str = "auto"
    engine: str = EngineName.ONNXRUNTIME
    precisions: tuple[str, ...] = (Precision.FLOAT32.value,)
    resident: int | None = None
    threads: int = 1
    digest: str | None = None

    def __post_init__(self) -> None:
        choice("engine", EngineName, self.engine)
        if not self.precisions or len(set(self.precisions)) != len(self.precisions):
            raise RuntimeInputError(f"precisions must be named once each, found {shown(list(self.precisions))}")
        for precision in self.precisions:
            choice("precision", Precision, precision)
        require_threads("threads", self.threads)
        if self.resident is not None:
            require_count("resident", self.resident)


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """The options of `hnexport.serve.serve`, validated.

    Attributes:
        host: the address that is listened on; this machine alone by default.
        port: 0 takes any that is free.
        name: the model's name in addresses; None takes the bundle's.
        batch: samples of one call at most, and of one request.
        window_ms: so long does a request wait for others of the same kind while nothing else is to be computed.
        queue: samples that wait at most; what comes then is refused with 503 and Retry-After.
        body_bytes: of one request at most.
        held_bytes: of all requests that are being read, wait or are computed.
        read_s: so long may a request's body take to arrive; 0 for as long as it takes.
        workers: calls that run side by side; None takes as many as this process may use cores on the CPU, and 1 on
            another provider.
        drain_s: so long does a service that was asked to stop go on accepting while it says that it is not ready.
        stop_s: then it finishes what it has accepted, for at most so long, and for a second at least.
        watch_s: look so often whether the bundle was replaced; 0 looks only on SIGHUP.

    Raises:
        RuntimeInputError: an option has a value that it cannot have.
    """

    load: LoadSettings = field(default_factory=LoadSettings)
    host: str = "127.0.0.1"
    port: int = 8000
    name: str | None = None
    batch: int = 32
    window_ms: float = 2.0
    queue: int = 1024
    body_bytes: int = 16 * 2**20
    held_bytes: int = 256 * 2**20
    read_s: float = 30.0
    workers: int | None = None
    drain_s: float = 1.0
    stop_s: float = 30.0
    watch_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("batch", "queue", "body_bytes", "held_bytes"):
            require_count(name, getattr(self, name))
        if self.workers is not None:
            require_threads("workers", self.workers)
        for name in ("window_ms", "read_s", "drain_s", "stop_s", "watch_s"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise RuntimeInputError(f"{name} must be a number from 0, found {shown(value)}")
        if not isinstance(self.port, int) or not 0 <= self.port <= _LARGEST_PORT:
            raise RuntimeInputError(f"port must be from 0 to {_LARGEST_PORT}, found {shown(self.port)}")
        if self.queue < self.batch:
            raise RuntimeInputError(f"queue must hold at least one batch of {self.batch}, found {self.queue}")
