"""The contenders: each loads something and gives a function of inputs by name, `[batch, …]`.

They run in a process of their own (`hnexport.bench.worker`) and so import only what they need.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from hnexport.bench.means import WAYS, load_mean
from hnexport.bench.task import PLAIN_FILE, PLAIN_WEIGHTS_FILE, Arrays, BenchTask, Loaded
from hnexport.bundle.manifest import Format
from hnexport.errors import BundleError, ProviderError
from hnexport.families import family
from hnexport.names import COND_IDS, ENSEMBLE_FILE, HYPERNET_FILE, MODEL_FILE, NETWORK_FILE, WEIGHTS_FILE

if TYPE_CHECKING:
    from hnexport.runtime.cuda import CudaOptions

__all__ = ["CONTENDERS", "Contender"]


@dataclass(frozen=True, kw_only=True)
class Contender:
    """How to import a contender's libraries, and how to load it."""

    imports: tuple[str, ...]
    load: Callable[[BenchTask], Loaded]
    all_members: bool = False


def _options(task: BenchTask) -> Any:
    """As the runtime's: threads that spin after a call would slow the next contender down."""
    from hnexport.runtime.session_options import session_options

    options = session_options(task.threads)
    options.log_severity_level = 3
    return options


def _session(task: BenchTask, path: Path) -> Any:
    """With the provider's options as the runtime's: a yardstick that rounds to TF32 would be none."""
    from hnexport.runtime.providers import open_session

    settings = _cuda(task).provider_options(tf32=task.precision == "tf32") if task.provider == "cuda" else {}
    return open_session(path, _options(task), task.provider, settings)


def _runs(task: BenchTask, path: Path, outputs: list[str] | None, **further: Any) -> Callable[[Arrays], Any]:
    from hnexport.runtime.providers import running_on

    session = _session(task, path)

    def run(inputs: Arrays) -> Any:
        with running_on(task.provider):
            return session.run(outputs, {**further, **inputs})

    return run


def _cuda(task: BenchTask) -> "CudaOptions":
    from hnexport.runtime.cuda import CudaOptions

    return CudaOptions(**task.cuda)


def _onnxruntime(task: BenchTask) -> str:
    import onnxruntime

    return f"onnxruntime {onnxruntime.__version__} {task.provider}"


def _bundle_files(task: BenchTask, *names: str) -> tuple[Path, ...]:
    if Format.ONNX not in task.manifest.formats:
        raise BundleError("the bundle holds no ONNX files")
    return tuple(task.bundle / name for name in names)


def _plain(task: BenchTask) -> Loaded:
    path, files = task.plain / PLAIN_FILE, (task.plain / PLAIN_FILE, task.plain / PLAIN_WEIGHTS_FILE)
    signature = task.manifest.signature
    if task.provider == "cuda":
        from hnexport.runtime.device import can_capture, place_session

        cuda = _cuda(task)
        cuda = cuda if can_capture(signature) else replace(cuda, graph=False)
        task = replace(task, cuda={**task.cuda, "graph": cuda.graph})
        run = place_session(lambda: _session(task, path), cuda, signature)
        return Loaded(runtime=_onnxruntime(task), run=run, files=files)
    outputs = [output.name for output in signature.outputs]
    return Loaded(runtime=_onnxruntime(task), run=_runs(task, path, outputs), files=files)


def _generated(task: BenchTask) -> Loaded:
    files = _bundle_files(task, MODEL_FILE, WEIGHTS_FILE)
    predict = _engine(task).generate()
    return Loaded(runtime=_onnxruntime(task), run=lambda x: predict(task.member, x), files=files)


def _materialised(task: BenchTask) -> Loaded:
    files = _bundle_files(task, NETWORK_FILE, HYPERNET_FILE, WEIGHTS_FILE)
    return Loaded(runtime=_onnxruntime(task), run=_engine(task).materialise(task.member), files=files)


def _int8(task: BenchTask, engine: str = "onnxruntime") -> Loaded:
    """A member over the graphs that `hnexport tune --precision int8` made."""
    from hnexport.runtime import load

    ensemble = load(
        task.bundle, precision="int8", engine=engine, threads=task.threads, resident_members=1, check="none"
    )
    files = _bundle_files(task, NETWORK_FILE, HYPERNET_FILE, WEIGHTS_FILE)
    return Loaded(runtime=f"{ensemble.engine} cpu int8", run=lambda x: ensemble.outputs(task.member, x), files=files)


def _folded(task: BenchTask, *, resident: bool) -> Loaded:
    """The graphs tuned for this machine; unless `resident`, the weights are generated anew in every call."""
    from hnexport.runtime.tuned import tuned_folder

    engine = _engine(task)
    member = engine.fold(task.member)
    return Loaded(
        runtime=f"{_onnxruntime(task)}, tuned",
        run=member if resident else lambda x: engine.fold(task.member)(x),
        files=tuple(tuned_folder(task.manifest).iterdir()),
    )


def _engine(task: BenchTask) -> Any:
    """What `hnexport.runtime` runs: the bench measures what users get."""
    from hnexport.runtime.onnxruntime_engine import OnnxruntimeEngine
    from hnexport.runtime.options import Precision

    precision, cuda = Precision(task.precision), _cuda(task)
    return OnnxruntimeEngine(task.bundle, task.manifest, task.provider, task.threads, precision=precision, cuda=cuda)


def _ensemble(task: BenchTask) -> Loaded:
    files = _bundle_files(task, ENSEMBLE_FILE, WEIGHTS_FILE)
    unbound = replace(task, cuda={**task.cuda, "graph": False})  # a graph would need bound inputs
    cond_ids = np.arange(task.manifest.members)
    return Loaded(
        runtime=f"{_onnxruntime(task)}, {len(cond_ids)} members",
        run=_runs(unbound, files[0], None, **{COND_IDS: cond_ids}),
        files=files,
    )


def _torch(task: BenchTask) -> Loaded:
    import torch

    from hnexport.bundle.restore import restore_tensors

    _set_torch(task)
    device = "cuda" if task.provider != "cpu" else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ProviderError(f"this PyTorch {torch.__version__} has no CUDA: install a wheel that has it")
    files = _bundle_files(task, MODEL_FILE, WEIGHTS_FILE)  # data: the bench runs no program of a bundle
    manifest, source = task.manifest, task.manifest.source
    tensors = restore_tensors(task.bundle, manifest)
    ensemble = family(source.family).ensemble(manifest, source.spec, tensors, manifest.origin)
    if ensemble is None:
        raise BundleError("a bundle does not hold the modules themselves, only what they compute")
    ensemble.generator.to(device)
    cond_id = torch.tensor(task.member, device=device)

    def run(inputs: Arrays) -> Any:
        with torch.inference_mode():
            given = {name: torch.from_numpy(array).to(device) for name, array in inputs.items()}
            return {name: output.cpu() for name, output in ensemble(cond_id, given).items()}

    return Loaded(runtime=f"torch {torch.__version__} eager {device}", run=run, files=files)


def _set_torch(task: BenchTask) -> None:
    """PyTorch as the task asks; by itself it would round to TF32 in convolutions, and only there."""
    import torch

    if task.precision == "float16":
        raise ProviderError("PyTorch is compared in float32 and tf32 only")
    torch.set_num_threads(task.threads)
    tf32 = task.precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = tf32, tf32


def _hypnettorch(task: BenchTask) -> Loaded:
    """The same network and chunking in hypnettorch, where the family has it there."""
    source = task.manifest.source
    load = getattr(family(source.family), "load_hypnettorch", None)
    if load is None:
        raise BundleError(f"hypnettorch has no ensembles of the kind {source.family}")
    _set_torch(task)
    runtime, run = load(source.spec, task.member, task.threads, task.provider)
    return Loaded(runtime=runtime, run=run, files=())


def _openvino(task: BenchTask, kind: str, precision: str) -> Loaded:
    from hnexport.bench.openvino import load_openvino
    from hnexport.runtime.options import Precision

    return load_openvino(task, kind, Precision(precision))


CONTENDERS: Mapping[str, Contender] = MappingProxyType(
    {
        "plain": Contender(imports=("onnxruntime",), load=_plain),
        "materialised": Contender(imports=("onnxruntime",), load=_materialised),
        "int8": Contender(imports=("onnxruntime",), load=_int8),
        "openvino-int8": Contender(imports=("openvino", "onnxruntime"), load=partial(_int8, engine="openvino")),
        "folded": Contender(imports=("onnxruntime",), load=partial(_folded, resident=False)),
        "folded-resident": Contender(imports=("onnxruntime",), load=partial(_folded, resident=True)),
        "generated": Contender(imports=("onnxruntime",), load=_generated),
        "ensemble": Contender(imports=("onnxruntime",), load=_ensemble, all_members=True),
        **{
            name: Contender(
                imports=("openvino", "onnxruntime") if way.openvino else ("onnxruntime",),
                load=partial(load_mean, way=way),
                all_members=True,
            )
            for name, way in WAYS.items()
        },
        "torch": Contender(imports=("torch", "onnx"), load=_torch),
        "hypnettorch": Contender(imports=("torch", "hypnettorch"), load=_hypnettorch),
        **{
            f"openvino-{kind}{suffix}": Contender(
                imports=("openvino",), load=partial(_openvino, kind=kind, precision=precision)
            )
            for suffix, precision in (("", "float32"), ("-bfloat16", "bfloat16"), ("-float16", "float16"))
            for kind in ("plain", "materialised", "generated")
        },
    }
)
"""Every contender by its name."""
