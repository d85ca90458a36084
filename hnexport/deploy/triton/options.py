"""What `deploy_triton` is told."""

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from hnexport.errors import DeployError
from hnexport.reading import shown
from hnexport.spelling import spelled

__all__ = ["Device", "Served", "TritonOptions"]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_MOST = 2**31 - 1  # protobuf's int32


class Served(StrEnum):
    """A model that Triton serves, beside plain members."""

    CONDITIONAL = "conditional"
    ENSEMBLE = "ensemble"
    PYTHON = "python"


class Device(StrEnum):
    """Where the instances of a model compute."""

    AUTO = "auto"
    CPU = "cpu"
    GPU = "gpu"


@dataclass(frozen=True, kw_only=True)
class TritonOptions:
    """How a bundle is served.

    Attributes:
        models: which models beside plain members.
        members: the members that are served as plain networks of their own; None for all.
        name: what the models' names begin with; None takes the bundle's name.
        version: of the models; None is the one after the highest that is there.
        latest: so many of the latest versions are served.
        max_batch: how many samples Triton puts into one call of a model that takes batches.
        queue_delay_us: how long it waits for them, in microseconds.
        device: where instances compute; AUTO takes a GPU where there is one, and the CPU for the Python model.
        instances: of each model, on each device; each has the weights once more.
        threads: compute threads of an instance on the CPU; None takes every core.
        labels: a file with the names of the classes, one a line; None takes the bundle's.
        digest: the bundle must have this one; see `hnexport.bundle.digest`.

    Raises:
        DeployError: an option has a value that it cannot have.
    """

    models: tuple[Served, ...] = (Served.CONDITIONAL, Served.ENSEMBLE)
    members: tuple[int, ...] | None = ()
    name: str | None = None
    version: int | None = None
    latest: int = 1
    max_batch: int = 32
    queue_delay_us: int = 0
    device: Device = Device.AUTO
    instances: int = 1
    threads: int | None = None
    labels: Path | None = None
    digest: str | None = None

    def __post_init__(self) -> None:
        if not self.models and self.members == ():
            raise DeployError(
                f"nothing is to be served: name {spelled('models', '--models')} or {spelled('members', '--members')}"
            )
        if self.name is not None and _NAME.fullmatch(self.name) is None:
            raise DeployError(
                f"{shown(self.name)} is no name of a model: letters, digits, '.', '_' and '-', at most 128"
            )
        counts = {
            spelled("version", "--version"): (self.version, 1),
            spelled("latest", "--latest"): (self.latest, 1),
            spelled("max_batch", "--max-batch"): (self.max_batch, 1),
            spelled("queue_delay_us", "--queue-delay"): (self.queue_delay_us, 0),
            spelled("instances", "--instances"): (self.instances, 1),
            spelled("threads", "--threads"): (self.threads, 1),
        }
        for name, (value, least) in counts.items():
            if value is not None and not least <= value <= _MOST:
                raise DeployError(f"{name} is a whole number from {least} to {_MOST}, found {value}")

    def base_name(self, bundle: str) -> str:
        """What the models' names begin with, for a bundle of this name."""
        return self.name or re.sub(r"[^A-Za-z0-9._-]+", "-", bundle).lstrip(".-")[:100] or "hnexport"
