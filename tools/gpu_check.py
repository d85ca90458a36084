"""Every GPU check and benchmark in one go: one table, with date, chip, driver and versions.

    python tools/gpu_check.py [BUNDLE] [--out gpu.json]

Without BUNDLE it builds WRN-28-10 with ten members first. Parity of every format on CUDA, strict float32 and TF32,
strictness confirmed in a child process with NVIDIA_TF32_OVERRIDE=0, TensorRT where it is installed; then the runtime's
options (IOBinding, CUDA graphs, channels last, algorithm searches, TF32), a float16 graph, TorchScript and .pt2, each
timed and compared with the golden samples; then the bench beside the plain network. A check that cannot be made is a
row that says why. Exits with 0 if every row passed, 1 if one failed, 2 without a GPU.
"""

import argparse
import dataclasses
import datetime
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.transformers.float16 import convert_float_to_float16

from hnexport.bench.run import BenchOptions, bench
from hnexport.build import build
from hnexport.bundle.golden import Golden, read_golden
from hnexport.bundle.manifest import read_manifest
from hnexport.checkpoints import random_checkpoint
from hnexport.doctor import diagnose
from hnexport.parity import Precision, VerifyOptions, verify
from hnexport.parity.compare import relative_l2
from hnexport.parity.providers import obstacle
from hnexport.parity.tolerances import TF32_SHOWS, TOLERANCES
from hnexport.parity.torch_runners import load_torch
from hnexport.runtime import CudaOptions, load
from hnexport.runtime import Precision as RuntimePrecision
from hnexport.runtime.device import BoundSession, Place
from hnexport.runtime.providers import open_session
from hnexport.runtime.session_options import session_options
from hnexport.spec import PipelineSpec, WideResNetSpec

BATCHES = (1, 8, 32)
REPEATS = 30
BENCH_SECONDS = 8.0  # for each batch size


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """How `hnexport.runtime` loads a bundle."""

    name: str
    strategy: str
    precision: str
    cuda: CudaOptions


SETTINGS = tuple(
    Setting(name=f"{strategy}, {name}", strategy=strategy, precision=precision, cuda=cuda)
    for strategy in ("generated", "materialised")
    for name, precision, cuda in (
        ("IOBinding", "float32", CudaOptions()),
        ("CUDA graph", "float32", CudaOptions(graph=True)),
        ("channels last", "float32", CudaOptions(prefer_nhwc=True)),
        ("heuristic search", "float32", CudaOptions(algorithm_search="heuristic")),
        ("default algorithms", "float32", CudaOptions(algorithm_search="default")),
        ("TF32", "tf32", CudaOptions()),
        ("TF32, channels last, CUDA graph", "tf32", CudaOptions(graph=True, prefer_nhwc=True)),
    )
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table; times in milliseconds, the median of `REPEATS` runs."""

    check: str
    passed: bool | None
    error: float | None = None
    milliseconds: tuple[float, ...] = ()
    detail: str = ""


def parity_row(name: str, bundle: Path, artifact: str, provider: str, precision: Precision) -> Row:
    """`verify` of one artifact, every member."""
    options = VerifyOptions(artifacts=(artifact,), provider=provider, precision=precision)
    report = verify(bundle, options).artifacts[0]
    placed = [check.detail for check in report.checks if "provider" in check.name]
    detail = "; ".join((*report.failures[:2], *placed, f"repeat spread {report.repeat_spread:.0e}"))
    return Row(check=name, passed=report.passed, error=report.worst.relative_l2, detail=detail)


def strict_child(bundle: Path) -> Row:
    """Strict float32 once more where the driver itself forbids TF32: the same error says that it was off before."""
    code = (
        "import sys; from pathlib import Path; from hnexport.parity import VerifyOptions, verify; "
        "r = verify(Path(sys.argv[1]), VerifyOptions(artifacts=('onnx',), provider='cuda')); "
        "print(r.artifacts[0].worst.relative_l2)"
    )
    environment = {**os.environ, "NVIDIA_TF32_OVERRIDE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(bundle)], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        return Row(check="TF32 forbidden by the driver", passed=False, detail=done.stderr.strip()[-200:])
    error = float(done.stdout.split()[-1])
    return Row(check="TF32 forbidden by the driver", passed=error < TF32_SHOWS, error=error)


def median_ms(run: Callable[[], object]) -> float:
    """Median wall time; `run` returns when its result is there."""
    for _ in range(5):
        run()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def images_of(golden: Golden, batch: int) -> np.ndarray:
    """A batch made of the golden images, over and over."""
    return np.ascontiguousarray(golden.images[np.arange(batch) % len(golden.images)])


def error_of(golden: Golden, logits: np.ndarray) -> float:
    """Largest relative L2 error of the last golden member's rows, for a batch from `images_of`."""
    reference = golden.logits[-1][np.arange(len(logits)) % len(golden.images)]
    return float(relative_l2(logits.astype(np.float64), reference).max())


def runtime_row(bundle: Path, golden: Golden, setting: Setting, provider: str) -> Row:
    """`hnexport.runtime` with one setting: what users get."""
    cuda = setting.cuda if provider == "cuda" else None
    ensemble = load(
        bundle, provider=provider, strategy=setting.strategy, precision=setting.precision, cuda=cuda, check="none"
    )
    member, times, worst = int(golden.members[-1]), [], 0.0
    for batch in BATCHES:
        images = images_of(golden, batch)
        times.append(median_ms(lambda images=images: ensemble.predict(images, member=member)))
        worst = max(worst, error_of(golden, ensemble.predict(images, member=member)))
    passed = worst <= TOLERANCES[Precision(setting.precision)].relative_l2
    return Row(check=setting.name, passed=passed, error=worst, milliseconds=tuple(times))


def float16_row(bundle: Path, golden: Golden, provider: str) -> Row:
    """`model.onnx` as onnxruntime's own converter turns it into float16; images and logits stay float32."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float16.onnx"
        onnx.save(convert_float_to_float16(onnx.load(bundle / "model.onnx"), keep_io_types=True), path)
        settings = CudaOptions().provider_options(tf32=False) if provider == "cuda" else {}
        run = BoundSession(
            open_session(path, session_options(None), provider, settings),
            Place(name="cuda" if provider == "cuda" else "cpu"),
        )
        member, times, worst = int(golden.members[-1]), [], 0.0
        for batch in BATCHES:
            images = images_of(golden, batch)
            times.append(median_ms(lambda images=images: run(images, member)))
            worst = max(worst, error_of(golden, run(images, member)))
    passed = worst <= TOLERANCES[Precision.FLOAT16].relative_l2
    return Row(check="generated, float16 graph", passed=passed, error=worst, milliseconds=tuple(times))


def bench_rows(bundle: Path, provider: str, precision: str, cuda: CudaOptions) -> list[Row]:
    """The bench beside the plain network, in interleaved rounds."""
    options = BenchOptions(
        batch_sizes=BATCHES,
        contenders=("materialised", "generated", "torch"),
        provider=provider,
        precision=RuntimePrecision(precision),
        cuda=cuda,
        seconds=BENCH_SECONDS,
    )
    report = bench(bundle, options)
    how = f"{precision}{', graph' if cuda.graph else ''}"
    found = [
        Row(
            check=f"bench, {how}: {contender.name}",
            passed=True,
            milliseconds=tuple(timing.median_ms for timing in contender.timings),
            detail="times plain: " + ", ".join(f"{timing.ratio:.2f}" for timing in contender.timings),
        )
        for contender in report.contenders
    ]
    return [
        *found,
        *(Row(check=f"bench, {how}: {name}", passed=None, detail=why) for name, why in report.not_run.items()),
    ]


def torch_row(bundle: Path, golden: Golden, file: str, dtype: torch.dtype, device: str) -> Row:
    """TorchScript or .pt2, timed from images to logits on the CPU as the runtime is; float16 by autocast."""
    half = dtype is torch.float16
    name = file + (", float16 autocast" if half else "")
    module = load_torch(bundle / file, device)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    member, times, worst = int(golden.members[-1]), [], 0.0
    cond_id = torch.tensor(member, device=device)
    for batch in BATCHES:
        images = images_of(golden, batch)

        def run(images: np.ndarray = images) -> np.ndarray:
            with torch.inference_mode(), torch.autocast(device, dtype=torch.float16, enabled=half):
                return module(cond_id, torch.from_numpy(images).to(device)).float().cpu().numpy()

        times.append(median_ms(run))
        worst = max(worst, error_of(golden, run()))
    tolerance = TOLERANCES[Precision.FLOAT16 if half else Precision.FLOAT32]
    return Row(check=name, passed=worst <= tolerance.relative_l2, error=worst, milliseconds=tuple(times))


def timed_checks(bundle: Path, golden: Golden, provider: str) -> Iterator[tuple[str, Callable[[], Row | list[Row]]]]:
    """Everything that is timed, by name; the provider is "cuda", or "cpu" to rehearse what needs no GPU."""
    device = "cuda" if provider == "cuda" else "cpu"
    for setting in SETTINGS:
        if provider == "cuda" or setting.precision == "float32":
            yield setting.name, lambda setting=setting: runtime_row(bundle, golden, setting, provider)
    yield "float16 graph", lambda: float16_row(bundle, golden, provider)
    for file in ("model.pt", "model.pt2"):
        for dtype in (torch.float32, torch.float16) if provider == "cuda" else (torch.float32,):
            yield f"{file}, {dtype}", lambda f=file, d=dtype: torch_row(bundle, golden, f, d, device)
    yield "bench, float32", lambda: bench_rows(bundle, provider, "float32", CudaOptions())
    if provider == "cuda":
        fast = CudaOptions(graph=True, prefer_nhwc=True)
        yield "bench, tf32, graph", lambda: bench_rows(bundle, provider, "tf32", fast)


def parity_checks(bundle: Path) -> Iterator[tuple[str, Callable[[], Row | list[Row]]]]:
    """Parity of every format on CUDA, and on TensorRT where it is installed."""
    for artifact in ("onnx", "onnx-materialised", "torchscript", "pt2"):
        for precision in (Precision.FLOAT32, Precision.TF32):
            name = f"{artifact}, CUDA, {precision}"
            yield name, lambda n=name, a=artifact, p=precision: parity_row(n, bundle, a, "cuda", p)
    yield "TF32 forbidden by the driver", lambda: strict_child(bundle)
    reason = obstacle("tensorrt")
    if reason is not None:
        yield "onnx, TensorRT", lambda: Row(check="onnx, TensorRT", passed=None, detail=f"not run: {reason}")
    else:
        name = "onnx, TensorRT, float32"
        yield name, lambda: parity_row(name, bundle, "onnx", "tensorrt", Precision.FLOAT32)


def rows(checks: Iterable[tuple[str, Callable[[], Row | list[Row]]]]) -> Iterator[Row]:
    """The rows of every check; one that raises becomes a failed row."""
    for name, check in checks:
        try:
            found = check()
            yield from found if isinstance(found, list) else [found]
        except Exception as error:  # the table must be whole, whatever one check does
            yield Row(check=name, passed=False, detail=f"{type(error).__name__}: {error}"[:200])


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("bundle", type=Path, nargs="?", help="default: build WRN-28-10 with ten members first")
    parser.add_argument("--out", type=Path, help="write the table as JSON too")
    arguments = parser.parse_args()
    reason = obstacle("cuda")
    if reason is not None:
        print(f"no GPU check can be made here: {reason}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        bundle = arguments.bundle or build_reference(Path(folder))
        return check(bundle, arguments.out)


def build_reference(folder: Path) -> Path:
    """WRN-28-10 with ten members, from random weights."""
    spec = PipelineSpec(network=WideResNetSpec.from_name("wrn-28-10"), members=10)
    return build(random_checkpoint(spec), folder / spec.name).path


def check(bundle: Path, out: Path | None) -> int:
    """Print the table of one bundle."""
    manifest, golden = read_manifest(bundle), read_golden(bundle)
    driver = next(finding.detail for finding in diagnose().findings if finding.what == "NVIDIA driver")
    head = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "bundle": manifest.name,
        "chip": torch.cuda.get_device_name(),
        "driver": driver,
        "torch": f"{torch.__version__} (CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()})",
        "onnxruntime": onnxruntime.__version__,
    }
    for key, value in head.items():
        print(f"{key}: {value}")
    print(f"\n| check | passed | relative L2 | {' | '.join(f'batch {b}, ms' for b in BATCHES)} | detail |")
    print("| --- " * (4 + len(BATCHES)) + "|")
    done = []
    for row in rows(itertools.chain(parity_checks(bundle), timed_checks(bundle, golden, "cuda"))):
        done.append(row)
        error = "" if row.error is None else f"{row.error:.1e}"
        times = [f"{value:.2f}" for value in row.milliseconds] or [""] * len(BATCHES)
        verdict = {True: "yes", False: "NO", None: "not run"}[row.passed]
        print(f"| {row.check} | {verdict} | {error} | {' | '.join(times)} | {row.detail} |", flush=True)
    if out:
        value = {**head, "rows": [dataclasses.asdict(row) for row in done]}
        out.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    return 1 if any(row.passed is False for row in done) else 0


if __name__ == "__main__":
    sys.exit(main())
