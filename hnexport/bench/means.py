"""All members in one call of `hnexport.runtime`, `predict_mean`: by either engine, all or until they are enough."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any

from hnexport.bench.task import BenchTask, Loaded
from hnexport.bundle.manifest import Format
from hnexport.errors import BundleError, ProviderError
from hnexport.names import HYPERNET_FILE, NETWORK_FILE, WEIGHTS_FILE

__all__ = ["WAYS", "Way", "load_mean"]


@dataclass(frozen=True, kw_only=True)
class Way:
    """How an ensemble is loaded and asked.

    Attributes:
        resident: how many members may be; None for all, which are then made ahead.
        shared: with one pool of threads.
        until: a sample takes no more members than the task's rule asks for.
    """

    engine: str = "onnxruntime"
    strategy: str = "materialised"
    resident: int | None = None
    shared: bool = False
    precision: str | None = None
    until: bool = False

    @property
    def openvino(self) -> bool:
        """Whether OpenVINO computes."""
        return self.engine == "openvino"


def _ways() -> dict[str, Way]:
    ways = {
        "ensemble-materialised": Way(),
        "ensemble-shared": Way(shared=True),
        "ensemble-folded": Way(strategy="folded", resident=1),
    }
    for until, suffix in ((False, ""), (True, "-until")):
        if until:
            ways["ensemble-until"] = Way(until=True)
        ways[f"ensemble-int8{suffix}"] = Way(precision="int8", until=until)
        ways[f"openvino-ensemble{suffix}"] = Way(engine="openvino", precision="float32", until=until)
        ways[f"openvino-ensemble-int8{suffix}"] = Way(engine="openvino", precision="int8", until=until)
    return ways


WAYS: Mapping[str, Way] = MappingProxyType(_ways())
"""The contenders of this kind by their names. Those of onnxruntime in float32 take the precision of the benchmark."""


def load_mean(task: BenchTask, way: Way) -> Loaded:
    """Load an ensemble and make its members.

    Raises:
        BundleError: the bundle holds no ONNX files.
        ProviderError: it runs on the CPU alone, and another provider was asked for.
    """
    from hnexport.runtime import Until, load, share_threads

    if Format.ONNX not in task.manifest.formats:
        raise BundleError("the bundle holds no ONNX files")
    if task.provider != "cpu" and (way.openvino or way.precision is not None):
        raise ProviderError("OpenVINO and int8 are timed on the CPU only")
    if way.shared:
        share_threads(task.threads)
    ensemble = load(
        task.bundle,
        provider=task.provider,
        engine=way.engine,
        strategy=way.strategy,
        resident_members=way.resident,
        threads=task.threads,
        precision=way.precision or task.precision,
        check="none",
    )
    if way.resident is None:
        ensemble.warm()
    version = import_module(way.engine).__version__.partition("-")[0]
    until: Any = Until(**task.until) if isinstance(task.until, dict) else task.until

    def run(inputs: Mapping[str, Any]) -> Any:
        return ensemble.predict_mean(inputs, until=until if way.until else None)

    return Loaded(
        runtime=f"{way.engine} {version} {ensemble.provider} {ensemble.precision.value}, {ensemble.members} members",
        run=run,
        files=tuple(task.bundle / name for name in (NETWORK_FILE, HYPERNET_FILE, WEIGHTS_FILE)),
    )
