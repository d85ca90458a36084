"""hnexport.runtime in an environment of hnexport-runtime alone: members are made once and kept."""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from runtimes import onnxruntime_python
from runtimes.runtime import Run, Runtime

_ALONE = (
    "import importlib.util, sys; found = [name for name in ('torch', 'onnx') if importlib.util.find_spec(name)]; "
    "sys.exit('error: hnexport-runtime is not alone: ' + ' '.join(found) if found else 0)"
)


def materialised(path: Path, provider: str) -> Run:
    """The bundle of a network.onnx, with one thread; ids that do not exist are refused."""
    from hnexport.errors import RuntimeInputError
    from hnexport.runtime import load as load_bundle

    ensemble = load_bundle(path.parent, provider=provider, strategy="materialised", threads=1)

    def run(cond_id: int, image: NDArray[Any]) -> list[Any] | None:
        try:
            return [ensemble.predict(image, member=int(cond_id))]
        except RuntimeInputError:
            return None

    return run


def load(path: Path) -> Run:
    """The bundle of a network.onnx; any other file is a plain network."""
    return materialised(path, "cpu") if path.name == "network.onnx" else onnxruntime_python.load(path)


RUNTIME = Runtime(
    name="hnexport.runtime, Python, materialised",
    file="network.onnx",
    plain="plain.onnx",
    own="own.onnx",
    exporter="torch.onnx.export",
    packages=("hnexport-runtime[cpu]",),
    materialised=True,
    resident=True,
    version_of="hnexport-runtime",
    prepare=(("{python}", "-m", "pip", "check"), ("{python}", "-c", _ALONE)),
    load=load,
    remark="hnexport-runtime alone",
)
