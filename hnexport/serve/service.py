"""The service itself, whatever protocol asks: what is served, whether it is ready, and how a bundle is replaced."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from hnexport.errors import HnexportError, RuntimeInputError
from hnexport.machine.processor import allowed_cores
from hnexport.reading import shown
from hnexport.runtime.inputs import check_inputs
from hnexport.serve.asked import Asked, asked
from hnexport.serve.batching import Batcher
from hnexport.serve.metrics import Metrics
from hnexport.serve.refusal import RefusedError, unavailable
from hnexport.serve.served import Served, check_replacement, load_served, release, stamp
from hnexport.serve.settings import ServeOptions
from hnexport.serve.work import Ran, Work

__all__ = ["Service", "details"]

logger = logging.getLogger(__name__)

_LONGEST_TIMEOUT_S = 3600.0
_RELEASE_S = 0.2


class Service:
    """A bundle, a queue and counters; everything but loading happens on one event loop.

    Attributes:
        served: None until the first bundle is loaded and all its members are made.
        draining: it was asked to stop: it goes on answering, and says that it is not ready.
        held_bytes: of the requests that are being read, wait or are computed.
    """

    def __init__(self, bundle: Path, options: ServeOptions) -> None:
        self.bundle, self.options, self.metrics = bundle.absolute(), options, Metrics()
        self.served: Served | None = None
        self.draining = False
        self.held_bytes = 0
        self._batcher: Batcher | None = None
        self._replacing = asyncio.Lock()
        self._stamp: tuple[int, ...] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._name = _as_name(options.name) if options.name else ""
        watch = self.metrics.watch
        watch("hnexport_queue_samples", "Samples that wait.", lambda: self._batcher.rows if self._batcher else 0)
        watch(
            "hnexport_running", "Calls that are being computed.", lambda: self._batcher.running if self._batcher else 0
        )
        watch("hnexport_resident_members", "Members in memory.", lambda: self.served.residents if self.served else 0)
        watch("hnexport_held_bytes", "Of requests that are read, wait or are computed.", lambda: self.held_bytes)
        watch("hnexport_ready", "1 where requests are answered.", lambda: float(self.ready))

    @property
    def ready(self) -> bool:
        """Whether requests should be sent here."""
        return self.served is not None and not self.draining

    @property
    def name(self) -> str:
        """The model's name in addresses: that of the first bundle, unless the options say another."""
        return self._name

    async def start(self) -> None:
        """Load the bundle and make its members.

        Raises:
            HnexportError: as `hnexport.runtime.load`.
        """
        async with self._replacing:  # who asks for another bundle meanwhile has it loaded afterwards
            await self._start()

    async def _start(self) -> None:
        self._stamp = stamp(self.bundle)
        served = await asyncio.to_thread(load_served, self.bundle, self.options.load)
        self._name = self._name or _as_name(served.manifest.name)
        on_cpu = served.first.provider == "cpu"
        self._batcher = Batcher(
            workers=self.options.workers or (allowed_cores() if on_cpu else 1),
            batch=self.options.batch,
            window_s=self.options.window_ms / 1000,
            queue=self.options.queue,
            metrics=self.metrics,
        )
        self._serve(served)

    async def replace(self) -> bool:
        """Load what lies at the path, and serve it from the next request on; those that wait get the old bundle.

        Whatever goes wrong, the old bundle stays.

        Returns:
            Whether another bundle is served.
        """
        async with self._replacing:
            old, found = self.served, stamp(self.bundle)
            if old is None:
                return False
            try:
                new = await asyncio.to_thread(load_served, self.bundle, self.options.load)
                if new.digest == old.digest:
                    self._stamp = found
                    logger.warning("%s is the bundle that is served: nothing to replace", self.bundle)
                    return False
                check_replacement(old, new)
            except (HnexportError, OSError, MemoryError) as error:
                self._stamp = found
                self.metrics.replacements.labels("refused").inc()
                logger.warning("%s is not served, the bundle before it still is: %s", self.bundle, error)
                return False
            self._stamp = found
            self.metrics.replacements.labels("done").inc()
            self._serve(new)
            logger.warning("%s is served from here on: %s", self.bundle, new.digest)
        del old
        self._later(_released())
        return True

    async def watch(self) -> None:
        """Look at the path for ever, and replace the bundle where another was published there."""
        while True:
            await asyncio.sleep(self.options.watch_s)
            found = stamp(self.bundle)
            if found is not None and found != self._stamp:
                await self.replace()

    async def close(self) -> None:
        """Finish what is being computed."""
        if self._batcher is not None:
            await self._batcher.close()

    def current(self, version: str | None = None) -> Served:
        """What is served.

        Args:
            version: the client wants this one.

        Raises:
            RefusedError: nothing yet, or another version.
        """
        if self.served is None:
            raise unavailable("the members are being made: try again a little later")
        if version is not None and version not in (self.served.version, self.served.digest):
            raise RefusedError(404, f"there is no version {shown(version)}, only {self.served.version}")
        return self.served

    def asked(
        self, served: Served, parameters: Mapping[str, Any], cond_id: Any = None, wanted: Sequence[str] = ()
    ) -> Asked:
        """What a request asks for; see `asked.asked`."""
        return asked(
            parameters,
            members=served.manifest.members,
            signature=served.manifest.signature,
            precisions=list(served.ensembles),
            cond_id=cond_id,
            wanted=wanted,
            manifest=served.manifest,
        )

    def work(self, served: Served, wish: Asked, inputs: Mapping[str, NDArray[Any]]) -> Work:
        """The request as work, its inputs checked.

        Raises:
            RefusedError: an input is missing, unknown, of another shape or dtype, or there are too many samples.
        """
        ensemble = served.ensembles[wish.precision]
        try:
            checked = check_inputs(inputs, {}, ensemble.signature)
        except RuntimeInputError as error:
            raise RefusedError(400, str(error)) from error
        for item in ensemble.signature.inputs:
            if item.has_batch and len(checked[item.name]) > self.options.batch:
                raise RefusedError(
                    400, f"{item.name}: {len(checked[item.name])} samples; a request has at most {self.options.batch}"
                )
        return Work(ensemble=ensemble, asked=wish, inputs=checked)

    async def run(self, work: Work, parameters: Mapping[str, Any], arrived: float) -> Ran:
        """Compute it in its turn.

        Args:
            arrived: when the request did, in the loop's time.

        Raises:
            RefusedError: the queue is full, or as `Batcher.run`.
        """
        if self._batcher is None:
            raise unavailable("the service is starting")
        ran = await self._batcher.run(work, _timeout(parameters.get("timeout")))
        self.metrics.answered(work.asked, asyncio.get_running_loop().time() - arrived)
        return ran

    def _serve(self, served: Served) -> None:
        self.served = served
        self.metrics.serves(self._name, served.digest)

    def _later(self, what: Any) -> None:
        task = asyncio.get_running_loop().create_task(what)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _released() -> None:
    """Give the old bundle's memory back, once what waited for it is computed."""
    for _ in range(3):
        await asyncio.sleep(_RELEASE_S)
        await asyncio.to_thread(release)


def _timeout(value: Any) -> float | None:
    if value is None or value == 0:  # as Triton has it: none
        return None
    if type(value) is not int or value < 0:
        raise RefusedError(400, f"timeout is a whole number of microseconds, found {shown(value)}")
    return min(value / 1e6, _LONGEST_TIMEOUT_S)


def _as_name(name: str) -> str:
    """A name that stands in an address as it is."""
    kept = "".join(
        character if character.isascii() and (character.isalnum() or character in "-_.") else "-" for character in name
    )
    return kept.strip(".") or "model"


def details(ran: Ran) -> dict[str, int]:
    """In which call a request was computed: the same call of the runtime gives the same bits."""
    return {"batch_id": ran.batch, "batch_samples": ran.batch_rows, "batch_offset": ran.offset}
