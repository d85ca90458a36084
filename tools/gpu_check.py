"""Every GPU check and benchmark in one go: one table, with date, chip, driver and versions.

    python tools/gpu_check.py BUNDLE [--out gpu.json]

Strict float32 and TF32 on onnxruntime's CUDA provider, strictness confirmed in a child process with
NVIDIA_TF32_OVERRIDE=0, TensorRT where it is installed, TorchScript and .pt2 on CUDA, float16, IOBinding, CUDA graphs.
A check that cannot be made is a row that says why. Exits with 0 if every row passed, 1 if one failed, 2 without a GPU.
"""

import argparse
import dataclasses
import datetime
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from hnexport.bundle.golden import Golden, read_golden
from hnexport.bundle.manifest import read_manifest
from hnexport.doctor import diagnose
from hnexport.errors import HnexportError
from hnexport.parity import Precision, VerifyOptions, verify
from hnexport.parity.compare import relative_l2
from hnexport.parity.providers import Device, obstacle, onnx_session
from hnexport.parity.tolerances import TF32_SHOWS, TOLERANCES
from hnexport.parity.torch_runners import load_torch

BATCHES = (1, 8, 32)
REPEATS = 30


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


def iobinding_row(bundle: Path, golden: Golden, *, graph: bool) -> Row:
    """Inputs and outputs stay on the GPU; with `graph`, the whole run is one captured CUDA graph."""
    name = "CUDA graph" if graph else "IOBinding"
    member, times, worst = int(golden.members[-1]), [], 0.0
    for batch in BATCHES:
        images = images_of(golden, batch)
        if graph:
            settings = {"use_tf32": "0", "enable_cuda_graph": "1"}
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 3
            session = onnxruntime.InferenceSession(
                str(bundle / "model.onnx"), options, providers=[("CUDAExecutionProvider", settings)]
            )
            if session.get_providers()[0] != "CUDAExecutionProvider":
                return Row(check=name, passed=False, detail=f"fell back to {session.get_providers()[0]}")
        else:
            session = onnx_session(bundle / "model.onnx", onnxruntime.SessionOptions(), Device(provider="cuda"))
        classes = golden.logits.shape[-1]
        held = {
            "cond_id": onnxruntime.OrtValue.ortvalue_from_numpy(np.array(member), "cuda", 0),
            "image": onnxruntime.OrtValue.ortvalue_from_numpy(images, "cuda", 0),
        }
        logits = onnxruntime.OrtValue.ortvalue_from_shape_and_type((batch, classes), np.float32, "cuda", 0)
        binding = session.io_binding()
        for key, value in held.items():
            binding.bind_ortvalue_input(key, value)
        binding.bind_ortvalue_output("logits", logits)
        run = lambda session=session, binding=binding: session.run_with_iobinding(binding)  # noqa: E731
        times.append(median_ms(run))
        reference = golden.logits[-1][np.arange(batch) % len(golden.images)]
        worst = max(worst, float(relative_l2(logits.numpy(), reference).max()))
    passed = worst <= TOLERANCES[Precision.FLOAT32].relative_l2
    return Row(check=name, passed=passed, error=worst, milliseconds=tuple(times))


def torch_row(bundle: Path, golden: Golden, file: str, dtype: torch.dtype) -> Row:
    """TorchScript or .pt2 on CUDA, timed; float16 by autocast."""
    half = dtype is torch.float16
    name = f"{file} on CUDA" + (", float16 autocast" if half else "")
    module = load_torch(bundle / file, "cuda")
    member, times, worst = int(golden.members[-1]), [], 0.0
    cond_id = torch.tensor(member, device="cuda")
    for batch in BATCHES:
        images = torch.from_numpy(images_of(golden, batch)).cuda()

        def run(images: torch.Tensor = images) -> torch.Tensor:
            with torch.inference_mode(), torch.autocast("cuda", dtype=torch.float16, enabled=half):
                logits = module(cond_id, images)
            torch.cuda.synchronize()
            return logits

        times.append(median_ms(run))
        reference = golden.logits[-1][np.arange(batch) % len(golden.images)]
        worst = max(worst, float(relative_l2(run().float().cpu().numpy(), reference).max()))
    tolerance = TOLERANCES[Precision.FLOAT16 if half else Precision.FLOAT32]
    return Row(check=name, passed=worst <= tolerance.relative_l2, error=worst, milliseconds=tuple(times))


def rows(bundle: Path, golden: Golden) -> Iterator[Row]:
    """Every check; one that raises becomes a failed row."""
    checks: list[tuple[str, Callable[[], Row]]] = []
    for artifact in ("onnx", "onnx-materialised", "torchscript", "pt2"):
        for precision in (Precision.FLOAT32, Precision.TF32):
            name = f"{artifact}, CUDA, {precision}"
            checks.append((name, lambda n=name, a=artifact, p=precision: parity_row(n, bundle, a, "cuda", p)))
    checks.append(("TF32 forbidden by the driver", lambda: strict_child(bundle)))
    checks.append(("IOBinding", lambda: iobinding_row(bundle, golden, graph=False)))
    checks.append(("CUDA graph", lambda: iobinding_row(bundle, golden, graph=True)))
    for file in ("model.pt", "model.pt2"):
        for dtype in (torch.float32, torch.float16):
            name = f"{file}, {dtype}"
            checks.append((name, lambda f=file, d=dtype: torch_row(bundle, golden, f, d)))
    for name, check in checks:
        try:
            yield check()
        except Exception as error:  # the table must be whole, whatever one check does
            yield Row(check=name, passed=False, detail=f"{type(error).__name__}: {error}"[:200])
    reason = obstacle("tensorrt")
    if reason is not None:
        yield Row(check="onnx, TensorRT", passed=None, detail=f"not run: {reason}")
        return
    try:
        yield parity_row("onnx, TensorRT, float32", bundle, "onnx", "tensorrt", Precision.FLOAT32)
    except HnexportError as error:
        yield Row(check="onnx, TensorRT", passed=False, detail=str(error)[:200])


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--out", type=Path, help="write the table as JSON too")
    arguments = parser.parse_args()
    reason = obstacle("cuda")
    if reason is not None:
        print(f"no GPU check can be made here: {reason}", file=sys.stderr)
        return 2
    manifest, golden = read_manifest(arguments.bundle), read_golden(arguments.bundle)
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
    for row in rows(arguments.bundle, golden):
        done.append(row)
        error = "" if row.error is None else f"{row.error:.1e}"
        times = [f"{value:.2f}" for value in row.milliseconds] or [""] * len(BATCHES)
        verdict = {True: "yes", False: "NO", None: "not run"}[row.passed]
        print(f"| {row.check} | {verdict} | {error} | {' | '.join(times)} | {row.detail} |", flush=True)
    if arguments.out:
        value = {**head, "rows": [dataclasses.asdict(row) for row in done]}
        arguments.out.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    return 1 if any(row.passed is False for row in done) else 0


if __name__ == "__main__":
    sys.exit(main())
