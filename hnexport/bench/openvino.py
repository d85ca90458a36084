"""OpenVINO on the CPU: the plain network, a materialised member, and the conditional graph."""

from functools import partial

from hnexport.bench.task import PLAIN_FILE, PLAIN_WEIGHTS_FILE, BenchTask, Loaded
from hnexport.errors import ProviderError
from hnexport.names import MODEL_FILE, WEIGHTS_FILE
from hnexport.runtime.openvino_engine import OpenvinoEngine
from hnexport.runtime.options import Precision

__all__ = ["load_openvino"]


def load_openvino(task: BenchTask, kind: str, precision: Precision) -> Loaded:
    """Load `kind`: the plain network as OpenVINO itself takes it, materialised and generated as the runtime does.

    Raises:
        ProviderError: another provider than the CPU was asked for, or OpenVINO is not installed.
    """
    if task.provider != "cpu":
        raise ProviderError("OpenVINO is timed on the CPU only")
    engine = OpenvinoEngine(task.bundle, task.manifest, task.threads, precision)
    files = (task.bundle / MODEL_FILE, task.bundle / WEIGHTS_FILE)
    if kind == "plain":
        files = (task.plain / PLAIN_FILE, task.plain / PLAIN_WEIGHTS_FILE)
        run = engine.open_network(files[0])
    elif kind == "materialised":
        run = engine.materialise(task.member)
    else:
        run = partial(engine.generate(), task.member)
    return Loaded(runtime=f"{engine.version} cpu {precision.value}", run=run, files=files)
