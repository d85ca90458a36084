"""Every GPU check and benchmark in one go: one table, with date, chip, driver and versions.

    python tools/gpu_check.py [BUNDLE] [--out gpu.json] [--minutes 6.5] [--only PATTERN]

Without a bundle it builds one first, WRN-28-10 with ten members, in a temporary folder. Measured are, each against
PyTorch in float64 and beside the plain network of one member: members generated in every call and materialised, with
TF32, float16, CUDA graphs, channels last and each algorithm search, through `hnexport.runtime` and `hnexport.bench`;
the same without bound inputs; the mean of all members; TorchScript and .pt2; lists of plain modules of four kinds;
an ensemble trained on digits, whose answers and accuracy every artifact and precision must keep;
`hnexport verify` of every format in strict float32 and TF32, once more where the driver forbids TF32; TensorRT where
it is installed. A check that cannot be made is a row that says why, and so is one for which no time is left.
`--provider cpu` tries the script itself where there is no GPU.

Exits with 0 if every row passed, 1 if one failed, 2 without a GPU.
"""

import argparse
import contextlib
import dataclasses
import datetime
import importlib.util
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from hnexport.bench import run as bench_run
from hnexport.build import BuildOptions, build
from hnexport.bundle.golden import Golden, read_golden, within
from hnexport.bundle.manifest import Format, Manifest, read_manifest
from hnexport.doctor import diagnose
from hnexport.errors import HnexportError
from hnexport.evaluate import EvaluateOptions, evaluate
from hnexport.names import COND_ID, MODEL_FILE, PT2_FILE, TORCHSCRIPT_FILE
from hnexport.networks.wide_resnet.checkpoints import random_checkpoint
from hnexport.networks.wide_resnet.pipeline import Pipeline
from hnexport.networks.wide_resnet.spec import PipelineSpec, WideResNetSpec
from hnexport.parity import VerifyOptions, tolerances, verify
from hnexport.parity.compare import relative_l2  # type: ignore[attr-defined] # what a test or a tool reaches for there
from hnexport.parity.precision import computing_in
from hnexport.parity.providers import obstacle
from hnexport.parity.tolerances import TF32_SHOWS, TOLERANCES
from hnexport.parity.torch_runners import load_torch
from hnexport.runtime import AlgorithmSearch, CudaOptions, Precision, load
from hnexport.runtime.providers import open_session, require_device
from hnexport.runtime.session_options import session_options
from hnexport.tune import halve

BATCHES = (1, 8, 32)
REPEATS = 30
EPOCHS = 12
"""Of the training on digits."""
ON_DIGITS = ("onnx", "onnx-materialised", "torchscript", "pt2", "onnx-ensemble", "torchscript-ensemble")
CUDA_ONLY = "needs the provider cuda"
LISTS = ("cnn", "transformer", "resnet", "recurrent")
"""Kinds of modules whose lists are built and verified, of `tests/support/module_ensembles.py`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table.

    Attributes:
        passed: None where the check was not made.
        error: largest relative L2 error of a row of logits.
        milliseconds: of one call at each of `BATCHES`, image in and logits out on the host; medians.
        ratios: of those to the plain network's of one member, with the same options and in the same rounds.
    """

    check: str
    passed: bool | None
    error: float | None = None
    milliseconds: tuple[float, ...] = ()
    ratios: tuple[float, ...] = ()
    detail: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """One way for the runtime to compute."""

    name: str
    precision: Precision = Precision.FLOAT32
    cuda: CudaOptions | None = None


SETTINGS = (
    Setting(name="float32"),
    Setting(name="float32, CUDA graph", cuda=CudaOptions(graph=True)),
    Setting(name="float32, channels last", cuda=CudaOptions(prefer_nhwc=True)),
    Setting(name="float32, heuristic search", cuda=CudaOptions(algorithm_search=AlgorithmSearch.HEURISTIC)),
    Setting(name="float32, default algorithms", cuda=CudaOptions(algorithm_search=AlgorithmSearch.DEFAULT)),
    Setting(name="TF32", precision=Precision.TF32),
    Setting(name="TF32, channels last", precision=Precision.TF32, cuda=CudaOptions(prefer_nhwc=True)),
    Setting(
        name="TF32, channels last, CUDA graph",
        precision=Precision.TF32,
        cuda=CudaOptions(prefer_nhwc=True, graph=True),
    ),
    Setting(name="float16", precision=Precision.FLOAT16),
    Setting(name="float16, channels last", precision=Precision.FLOAT16, cuda=CudaOptions(prefer_nhwc=True)),
    Setting(
        name="float16, channels last, CUDA graph",
        precision=Precision.FLOAT16,
        cuda=CudaOptions(prefer_nhwc=True, graph=True),
    ),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """What is checked, and how long it may take.

    Attributes:
        seconds: for each batch size of each benchmark.
        deadline: of `time.monotonic`; checks that have not begun by then are not made.
    """

    bundle: Path
    provider: str
    seconds: float
    deadline: float

    def golden(self, precision: tolerances.Precision = tolerances.Precision.FLOAT32) -> Golden:
        """Images and reference logits, those that a precision can be asked for."""
        manifest = read_manifest(self.bundle)
        return within(read_golden(self.bundle, manifest), manifest.signature, precision)


def images_of(golden: Golden, batch: int) -> np.ndarray:
    """A batch made of the golden images, over and over."""
    (images,) = golden.inputs.values()
    return np.ascontiguousarray(images[np.arange(batch) % golden.samples])


def reference_of(golden: Golden, batch: int) -> np.ndarray:
    """The last golden member's logits of that batch."""
    (logits,) = golden.outputs.values()
    return logits[-1][np.arange(batch) % golden.samples]


def measured(name: str, run: Callable[[np.ndarray], np.ndarray], golden: Golden, limit: float) -> Row:
    """Time a function of images at every batch size, and judge the logits it returns for the last golden member."""
    times, worst = [], 0.0
    for batch in BATCHES:
        images = images_of(golden, batch)
        for _ in range(5):
            logits = run(images)
        laps = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            run(images)
            laps.append(1e3 * (time.perf_counter() - start))
        times.append(statistics.median(laps))
        worst = max(worst, float(relative_l2(logits, reference_of(golden, batch)).max()))
    return Row(check=name, passed=bool(worst <= limit), error=worst, milliseconds=tuple(times))


def load_error(task: Task, setting: Setting, strategy: str) -> tuple[float, float]:
    """The largest error of the last member through `hnexport.runtime`, at every batch size, and what is allowed.

    Loading compares the golden sample with the tolerance of the precision, and raises what it finds.
    """
    golden = task.golden(tolerances.Precision(setting.precision))
    ensemble = load(
        task.bundle, provider=task.provider, strategy=strategy, precision=setting.precision, cuda=setting.cuda
    )
    member, worst = int(golden.members[-1]), 0.0
    for batch in (*BATCHES, BATCHES[0]):  # the second call of a batch size is a replay, where there are graphs
        logits = ensemble.predict(images_of(golden, batch), member=member)
        worst = max(worst, float(relative_l2(logits, reference_of(golden, batch)).max()))
    return worst, TOLERANCES[tolerances.Precision(setting.precision)].relative_l2


def runtime_rows(task: Task, setting: Setting) -> Iterator[Row]:
    """Members generated and materialised: right, and how fast beside the plain network with the same options."""
    half = setting.precision is Precision.FLOAT16
    if half:
        made = halve(task.bundle)
        yield Row(check=f"{setting.name}: conversion", passed=True, detail=f"made in {made.seconds:.0f} s")
    strategies = ("generated",) if half else ("generated", "materialised")
    options = bench_run.BenchOptions(
        batch_sizes=BATCHES,
        contenders=strategies,
        provider=task.provider,
        member=int(task.golden().members[-1]),
        seconds=task.seconds,
        precision=setting.precision,
        cuda=setting.cuda or CudaOptions(),
    )
    report = bench_run.bench(task.bundle, options)
    times = {contender.name: contender.timings for contender in report.contenders}
    plain = tuple(timing.median_ms for timing in times["plain"])
    yield Row(check=f"{setting.name}: plain network", passed=True, milliseconds=plain, ratios=(1.0,) * len(plain))
    for strategy in strategies:
        name = f"{setting.name}: {strategy}"
        if strategy in report.not_run:
            yield Row(check=name, passed=False, detail=report.not_run[strategy])
            continue
        error, limit = load_error(task, setting, strategy)
        yield Row(
            check=name,
            passed=bool(error <= limit),
            error=error,
            milliseconds=tuple(timing.median_ms for timing in times[strategy]),
            ratios=tuple(timing.ratio for timing in times[strategy]),
        )


def unbound_row(task: Task) -> Row:
    """The generated graph by `session.run`, which copies its inputs itself: what binding them gains."""
    settings = CudaOptions().provider_options(tf32=False) if task.provider == "cuda" else {}
    session = open_session(task.bundle / MODEL_FILE, session_options(None), task.provider, settings)
    member = np.array(task.golden().members[-1], dtype=np.int64)
    return measured(
        "float32: generated, by session.run",
        lambda images: session.run(["logits"], {COND_ID: member, "image": images})[0],
        task.golden(),
        TOLERANCES[tolerances.Precision.FLOAT32].relative_l2,
    )


def torch_row(task: Task, file: str, precision: tolerances.Precision) -> Row:
    """TorchScript or .pt2 under PyTorch; float16 by autocast."""
    device, half = task.provider, precision is tolerances.Precision.FLOAT16
    module = load_torch((task.bundle / file).read_bytes(), file, device)
    cond_id = torch.tensor(int(task.golden().members[-1]), device=device)

    def run(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode(), torch.autocast(device, dtype=torch.float16, enabled=half):
            return module(cond_id, torch.from_numpy(images).to(device)).float().cpu().numpy()

    with computing_in(precision):
        return measured(f"{file}, PyTorch, {precision}", run, task.golden(precision), TOLERANCES[precision].relative_l2)


def mean_row(task: Task, cuda: CudaOptions | None) -> Row:
    """Mean and disagreement of every member, materialised, of one call; the error is the mean probabilities'."""
    golden = task.golden()
    ensemble = load(task.bundle, provider=task.provider, strategy="materialised", cuda=cuda)
    logits = next(iter(golden.outputs.values()))  # of every golden member
    stable = np.exp(logits - logits.max(axis=-1, keepdims=True))
    expected = (stable / stable.sum(axis=-1, keepdims=True)).mean(axis=0)
    members = [int(member) for member in golden.members]
    graph = ", CUDA graph" if cuda and cuda.graph else ""
    return measured(
        f"float32{graph}: mean of {len(members)} members, materialised",
        lambda images: ensemble.predict_mean(images, members=members).probabilities,
        dataclasses.replace(golden, outputs={"mean": expected[np.newaxis]}),
        TOLERANCES[tolerances.Precision.FLOAT32].relative_l2,
    )


def list_rows(task: Task, kind: str) -> Iterator[Row]:
    """A list of plain modules, built here: every member of each artifact on the provider, in strict float32."""
    sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))
    from module_ensembles import ENSEMBLES

    with tempfile.TemporaryDirectory(prefix="hnexport-gpu-check-list-") as folder:
        options = BuildOptions(formats=tuple(Format), provider="cpu")
        bundle = build(ENSEMBLES[kind].ensemble(), Path(folder) / kind, options=options).path
        for artifact in ("onnx", "onnx-materialised", "torchscript", "pt2"):
            row = parity_row(
                dataclasses.replace(task, bundle=bundle), artifact, task.provider, tolerances.Precision.FLOAT32
            )
            yield dataclasses.replace(row, check=f"{kind} list: {row.check}")


def module_of(path: Path) -> Any:
    """A file as a module. (With its folder on the path, folders beside it would be packages.)"""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def digits_rows(task: Task) -> Iterator[Row]:
    """An ensemble trained here on handwriting: accuracy in float64 and of every artifact, and which answers change.

    In float32 none may. In TF32 and float16, through the runtime, at most one in a hundred.
    """
    train_digits = module_of(Path(__file__).parents[1] / "examples" / "train_digits.py")
    train_images, images, train_labels, labels = train_digits.digits()
    pipeline = Pipeline.from_seed(train_digits.specification(train_images), seed=0)
    train_digits.train(pipeline, torch.from_numpy(train_images), torch.from_numpy(train_labels), EPOCHS)
    with tempfile.TemporaryDirectory(prefix="hnexport-gpu-check-digits-") as folder:
        checkpoint = pipeline.checkpoint(origin="examples/train_digits.py")
        bundle = build(checkpoint, Path(folder) / "digits", options=BuildOptions(provider="cpu")).path
        data = Path(folder) / "digits.npz"
        np.savez(data, image=images, label=labels)
        options = EvaluateOptions(artifacts=ON_DIGITS, provider=task.provider, trust=True)
        for source in evaluate(bundle, data, options=options).sources:
            found, difference = source.classification, source.difference
            assert found is not None  # the data has labels
            changed = 0 if difference is None else difference.answers + difference.ensemble_answers
            yield Row(
                check=f"digits: {source.name}",
                passed=changed == 0,
                detail=f"accuracy {found.mean.accuracy:.4f} (members), {found.ensemble.accuracy:.4f} (ensemble), "
                f"{changed} answers changed; {source.runtime}",
            )
        expected = load(bundle, provider="cpu").predict_mean(images).probabilities.argmax(1)
        for precision in () if task.provider == "cpu" else (Precision.TF32, Precision.FLOAT16):
            if precision is Precision.FLOAT16:
                halve(bundle)
            given = load(bundle, provider=task.provider, precision=precision).predict_mean(images)
            answers = given.probabilities.argmax(1)
            changed = int((answers != expected).sum())
            yield Row(
                check=f"digits: runtime, {precision}",
                passed=changed <= len(images) // 100,
                detail=f"accuracy {(answers == labels).mean():.4f} (ensemble), {changed} of its answers changed",
            )


def parity_row(task: Task, artifact: str, provider: str, precision: tolerances.Precision) -> Row:
    """`verify` of one artifact, every member."""
    options = VerifyOptions(artifacts=(artifact,), provider=provider, precision=precision, trust=True)
    report = verify(task.bundle, options).artifacts[0]
    placed = [check.detail for check in report.checks if "provider" in check.name]
    detail = "; ".join((*report.failures[:2], *placed, f"repeat spread {report.repeat_spread:.0e}"))
    name = f"verify {artifact}, {provider}, {precision}"
    return Row(check=name, passed=report.passed, error=report.worst.relative_l2, detail=detail)


def strict_child(task: Task) -> Row:
    """Strict float32 once more where the driver itself forbids TF32: the same error says that it was off before."""
    name = "verify onnx, TF32 forbidden by the driver"
    code = (
        "import sys; from pathlib import Path; from hnexport.parity import VerifyOptions, verify; "
        "r = verify(Path(sys.argv[1]), VerifyOptions(artifacts=('onnx',), provider=sys.argv[2])); "
        "print(r.artifacts[0].worst.relative_l2)"
    )
    environment = {**os.environ, "NVIDIA_TF32_OVERRIDE": "0"}
    command = [sys.executable, "-c", code, str(task.bundle), task.provider]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return Row(check=name, passed=False, detail=done.stderr.strip()[-200:])
    error = float(done.stdout.split()[-1])
    return Row(check=name, passed=error < TF32_SHOWS, error=error)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check:
    """A check that gives one row or several.

    Attributes:
        obstacle: why it cannot be made here, if it cannot.
    """

    name: str
    make: Callable[[], Iterator[Row] | Row]
    obstacle: str | None = None


def checks(task: Task) -> Iterator[Check]:
    """Every check; first those that nobody has measured yet."""
    on_cpu = CUDA_ONLY if task.provider == "cpu" else None
    no_torch = None if on_cpu or torch.cuda.is_available() else "this PyTorch finds no GPU"
    f32, tf32, f16 = tolerances.Precision.FLOAT32, tolerances.Precision.TF32, tolerances.Precision.FLOAT16
    yield Check(name="verify onnx", make=lambda: parity_row(task, "onnx", task.provider, f32))
    for setting in SETTINGS:
        plain = setting.precision is Precision.FLOAT32 and setting.cuda is None
        yield Check(name=setting.name, make=lambda s=setting: runtime_rows(task, s), obstacle=None if plain else on_cpu)  # type: ignore[misc] # mypy cannot infer the lambda
    yield Check(name="float32: generated, by session.run", make=lambda: unbound_row(task))
    for cuda in (None, CudaOptions(graph=True)):
        yield Check(
            name=f"float32: mean of the members{', CUDA graph' if cuda else ''}",
            make=lambda c=cuda: mean_row(task, c),  # type: ignore[misc] # mypy cannot infer the lambda
            obstacle=on_cpu if cuda else None,
        )
    for kind in LISTS:
        yield Check(name=f"{kind} list", make=lambda k=kind: list_rows(task, k), obstacle=no_torch)  # type: ignore[misc] # mypy cannot infer the lambda
    yield Check(name="digits", make=lambda: digits_rows(task), obstacle=no_torch)
    for file in (TORCHSCRIPT_FILE, PT2_FILE):
        for precision in (f32, tf32, f16):
            yield Check(
                name=f"{file}, PyTorch, {precision}",
                make=lambda f=file, p=precision: torch_row(task, f, p),  # type: ignore[misc] # mypy cannot infer the lambda
                obstacle=no_torch if precision is f32 else on_cpu or no_torch,
            )
    yield Check(name="verify onnx, TF32 forbidden by the driver", make=lambda: strict_child(task))
    for artifact in ("onnx", "onnx-materialised", "torchscript", "pt2"):
        for precision in (f32, tf32):
            if (artifact, precision) == ("onnx", f32):
                continue
            needs = no_torch if artifact in ("torchscript", "pt2") else None
            yield Check(
                name=f"verify {artifact}, {precision}",
                make=lambda a=artifact, p=precision: parity_row(task, a, task.provider, p),  # type: ignore[misc] # mypy cannot infer the lambda
                obstacle=needs if precision is f32 else on_cpu or needs,
            )
    no_tensorrt = obstacle("tensorrt")
    yield Check(
        name="verify onnx, TensorRT",
        make=lambda: parity_row(task, "onnx", "tensorrt", f32),
        obstacle=on_cpu or (str(no_tensorrt) if no_tensorrt else None),
    )


def rows(task: Task, wanted: Sequence[Check] | None = None) -> Iterator[Row]:
    """The rows of every check: one that raises becomes a failed row, one that cannot be made a row that says why."""
    for check in checks(task) if wanted is None else wanted:
        late = "no time was left" if time.monotonic() > task.deadline else None
        if check.obstacle or late:
            yield Row(check=check.name, passed=None, detail=f"not run: {check.obstacle or late}")
            continue
        try:
            made = check.make()
            yield from (made,) if isinstance(made, Row) else made
        except Exception as error:  # the table must be whole, whatever one check does
            yield Row(check=check.name, passed=False, detail=f"{type(error).__name__}: {error}"[:300])


def head_of(manifest: Manifest, provider: str) -> dict[str, str]:
    """What was measured, and on what."""
    findings = {finding.what: finding.detail for finding in diagnose().findings}
    on_gpu = torch.cuda.is_available()
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "bundle": manifest.name,
        "provider": provider,
        "chip": torch.cuda.get_device_name() if on_gpu else "unknown to PyTorch",
        "driver": findings.get("NVIDIA driver", "unknown"),
        "torch": f"{torch.__version__} (CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()})",
        "onnxruntime": onnxruntime.__version__,
    }


def line(row: Row) -> str:
    """A row of the table, in Markdown."""
    error = "" if row.error is None else f"{row.error:.1e}"
    cells = [f"{value:.2f}" for value in row.milliseconds] or [""] * len(BATCHES)
    if row.ratios:
        cells = [f"{cell} ({ratio:.2f}x)" for cell, ratio in zip(cells, row.ratios, strict=True)]
    verdict = {True: "yes", False: "NO", None: "not run"}[row.passed]
    return f"| {row.check} | {verdict} | {error} | {' | '.join(cells)} | {' '.join(row.detail.split())} |"


def build_bundle(arguments: argparse.Namespace, folder: Path) -> Path:
    """A bundle with random weights; two of its members are verified on the CPU, the checks here do the rest."""
    spec = PipelineSpec(network=WideResNetSpec.from_name(arguments.network), members=arguments.members)
    some = tuple(sorted({0, arguments.members - 1}))
    options = BuildOptions(members=some, provider="cpu")
    return build(random_checkpoint(spec), folder / "bundle", options=options).path


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("bundle", type=Path, nargs="?", help="by default one is built")
    parser.add_argument("--network", default="wrn-28-10", help="of the bundle that is built")
    parser.add_argument("--members", type=int, default=10, help="of the bundle that is built")
    parser.add_argument("--provider", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each batch size of each benchmark")
    parser.add_argument("--minutes", type=float, default=6.5, help="no check begins later than that")
    parser.add_argument("--only", type=re.compile, default=re.compile(""), help="checks whose name holds this pattern")
    parser.add_argument("--out", type=Path, help="write the table as JSON too, after every row")
    arguments = parser.parse_args()
    start = time.monotonic()
    try:
        require_device(arguments.provider)
    except HnexportError as error:
        print(f"no GPU check can be made here: {error}", file=sys.stderr)
        return 2
    with contextlib.ExitStack() as stack:
        # the float16 graphs of bundles that are built here go with them
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hnexport-gpu-check-")))
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        bundle = arguments.bundle or build_bundle(arguments, folder)
        head = head_of(read_manifest(bundle), arguments.provider)
        head["built in"] = f"{time.monotonic() - start:.0f} s" if arguments.bundle is None else "not here"
        for key, value in head.items():
            print(f"{key}: {value}")
        print(f"\n| check | passed | relative L2 | {' | '.join(f'batch {b}, ms' for b in BATCHES)} | detail |")
        print("| --- " * (4 + len(BATCHES)) + "|", flush=True)
        task = Task(
            bundle=bundle,
            provider=arguments.provider,
            seconds=arguments.seconds,
            deadline=start + 60 * arguments.minutes,
        )
        done = []
        wanted = [check for check in checks(task) if arguments.only.search(check.name)]
        for row in rows(task, wanted):
            done.append(row)
            print(line(row), flush=True)
            if arguments.out:
                record = {**head, "rows": [dataclasses.asdict(row) for row in done]}
                arguments.out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8", newline="\n")
    return 1 if any(row.passed is False for row in done) else 0


if __name__ == "__main__":
    sys.exit(main())
