"""Builders that every test shares: small specifications, their tensors and images, and hypnettorch's own network."""

import ctypes
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from exporter import share_operators, share_registry, spare_collections
from fixture_types import MakeImages, MakeNetwork, MakePipeline, MakeSpec, MakeTensors
from hypothesis import HealthCheck, settings
from shared import FOLDER_VARIABLE, Built, build_once
from thorough import COLLECTED, each_once
from torch import Tensor
from zygote import Zygote

from hnexport.hypernet.bases import round_bases
from hnexport.machine.control_group import cpu_quota
from hnexport.machine.memory import available_bytes
from hnexport.machine.processor import usable_processors
from hnexport.networks.wide_resnet.checkpoints import Checkpoint
from hnexport.networks.wide_resnet.pipeline import Pipeline
from hnexport.networks.wide_resnet.slots import NetworkSlot, Role, network_slots
from hnexport.networks.wide_resnet.spec import RECIPES, ImageSpec, PipelineSpec, WideResNetSpec
from hnexport.networks.wide_resnet.storage import stored_tensors
from hnexport.spec import Chunking, HypernetSpec, Source
from hnexport.spec.bases import scales_of, unquantised

_skipped: list[str] = []
_WORKER_BYTES = 2_500_000_000  # of memory that one test process and its children take at most
_BUSY = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture)  # no test fails because the machine is busy

settings.register_profile(
    "default", max_examples=50, deadline=None, derandomize=True, database=None, suppress_health_check=_BUSY
)
settings.register_profile(
    "fuzz", max_examples=1000, deadline=None, print_blob=True, database=None, suppress_health_check=_BUSY
)
settings.load_profile("fuzz" if os.environ.get("HNEXPORT_FUZZ") == "1" else "default")


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def pytest_configure(config: pytest.Config) -> None:
    """Make the folder that all processes of this run share, and which is their home: nothing of the user's is used."""
    if _is_worker(config):
        return
    shared = Path(tempfile.mkdtemp(prefix="hnexport-tests-"))
    os.environ[FOLDER_VARIABLE] = str(shared)
    for library in ("OMP", "OPENBLAS"):  # several test processes, and what they start, share the cores
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    for kind in ("CACHE", "CONFIG", "DATA", "STATE"):
        os.environ[f"XDG_{kind}_HOME"] = str(shared / "home" / kind.lower())


def pytest_unconfigure(config: pytest.Config) -> None:
    if not _is_worker(config) and FOLDER_VARIABLE in os.environ:
        shutil.rmtree(os.environ.pop(FOLDER_VARIABLE), ignore_errors=True)


def pytest_xdist_auto_num_workers() -> int:
    """As many processes as this one may use cores, and as fit into memory."""
    cores, quota = usable_processors(), cpu_quota()
    if quota is not None:
        cores = min(cores, max(1, round(quota)))
    available = available_bytes()
    return cores if available is None else max(1, min(cores, available // _WORKER_BYTES))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember what was skipped for another reason than a missing GPU; the process that reports sees every test."""
    if report.skipped and "cuda" not in report.keywords:
        _skipped.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With HNEXPORT_FORBID_SKIPS=1 a test that is skipped fails the run."""
    if os.environ.get("HNEXPORT_FORBID_SKIPS") == "1" and _skipped and not _is_worker(session.config):
        sys.stderr.write(f"\nskipped, and HNEXPORT_FORBID_SKIPS is set: {', '.join(_skipped)}\n")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(tryfirst=True)  # before pytest looks at marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest first. Skip the CUDA tests where there is no GPU, unless HNEXPORT_REQUIRE_CUDA=1 forbids that."""
    each_once(items)
    config.stash[COLLECTED] = tuple(items)
    items.sort(key=lambda item: item.get_closest_marker("reference") is None)
    marked = [item for item in items if item.get_closest_marker("cuda")]
    if marked and os.environ.get("HNEXPORT_REQUIRE_CUDA") != "1":
        reason = why_no_cuda()
        for item in marked if reason else ():
            item.add_marker(pytest.mark.skip(reason=reason))


def why_no_cuda() -> str:
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return "this onnxruntime has no CUDA provider"
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return "no NVIDIA driver"
    return "" if driver.cuInit(0) == 0 else "no NVIDIA GPU"


@pytest.fixture(scope="module", autouse=True)
def nothing_compiled() -> None:
    """What the tests of another module compiled is in the way of `torch.cond` (PyTorch 2.13)."""
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _less_work() -> None:
    """Make the exporter's tables once, and do not look again and again for garbage in libraries that stay."""
    share_registry()
    share_operators()
    spare_collections()


@pytest.fixture(scope="session")
def make_network() -> MakeNetwork:
    """A tiny network whose groups cover every way of chunking: widths 4, 12, 12, 24 have the ratios 3, 1 and 2."""

    def make(**changes: Any) -> WideResNetSpec:
        tiny: dict[str, Any] = {
            "blocks_per_group": 1,
            "widening": 2,
            "classes": 5,
            "image": ImageSpec(height=8, width=8),
            "feature_maps": (4, 6, 6, 12),
        }
        return WideResNetSpec(**{**tiny, **changes})

    return make


@pytest.fixture(scope="session")
def make_spec(make_network: MakeNetwork) -> MakeSpec:
    """A pipeline with three members over the tiny network; `hypernet` follows from the recipe unless it is given."""

    def make(**changes: Any) -> PipelineSpec:
        recipe = changes.setdefault("recipe", RECIPES["hypernet"])
        changes.setdefault("hypernet", HypernetSpec() if Source.GENERATED in recipe.sources else None)
        return PipelineSpec(**{"network": make_network(), "members": 3, **changes})

    return make


@pytest.fixture(scope="session")
def make_tensors() -> MakeTensors:
    """Random tensors in which nothing is zero or one by chance of initialisation, so that every tensor matters."""

    def make(spec: PipelineSpec, seed: int = 0, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
        random = torch.Generator().manual_seed(seed)
        tensors = {}
        for stored in unquantised(stored_tensors(spec)):
            if stored.slot is not None and stored.slot.endswith("running_var"):
                tensors[stored.name] = torch.rand(stored.shape, generator=random, dtype=dtype) + 0.5
            else:
                tensors[stored.name] = torch.randn(stored.shape, generator=random, dtype=dtype) * 0.4
            if stored.dtype == "float16":
                tensors[stored.name] = tensors[stored.name].half()
        return round_bases(stored_tensors(spec), tensors) if scales_of(stored_tensors(spec)) else tensors

    return make


@pytest.fixture(scope="session")
def make_pipeline(make_tensors: MakeTensors) -> MakePipeline:
    def make(spec: PipelineSpec, seed: int = 0, dtype: torch.dtype = torch.float32) -> Pipeline:
        return Pipeline(spec, make_tensors(spec, seed, dtype))

    return make


@pytest.fixture(scope="session")
def make_images() -> MakeImages:
    """Images as the graph's input takes them: standard normal, or every value of a byte."""

    def make(spec: PipelineSpec, batch: int = 2, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
        random = np.random.default_rng(seed)
        kind, shape = spec.image_input
        if kind == "uint8":
            return torch.from_numpy(random.integers(0, 256, (batch, *shape), dtype=np.uint8))
        return torch.from_numpy(random.standard_normal((batch, *shape))).to(dtype)

    return make


@pytest.fixture(scope="session")
def built(make_spec: MakeSpec, make_tensors: MakeTensors) -> Built:
    """A bundle of the tiny pipeline, three members, in every format. Tests that damage it copy it first."""
    spec = make_spec()
    return build_once(Checkpoint(spec=spec, tensors=make_tensors(spec), origin="a test"))


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """Runs `hnexport` in processes of their own without paying for the imports."""
    if not hasattr(os, "fork"):
        pytest.skip("this system forks no processes")
    server = Zygote()
    yield server
    server.close()


@pytest.fixture
def bundle(built: Built, tmp_path: Path) -> Path:
    """A copy of the tiny bundle that a test may damage."""
    return Path(shutil.copytree(built.path, tmp_path / "bundle"))


def _hypnettorch_order(spec: WideResNetSpec) -> tuple[NetworkSlot, ...]:
    """The weights in hypnettorch's order: batch norms, shortcuts, convolutions with their biases, output layer."""
    slots = network_slots(spec)
    stages = (
        (Role.NORM_SCALE, Role.NORM_SHIFT),
        (Role.SHORTCUT,),
        (Role.KERNEL, Role.CONV_BIAS),
        (Role.OUTPUT_WEIGHT, Role.OUTPUT_BIAS),
    )
    return tuple(slot for roles in stages for slot in slots if slot.role in roles)


@pytest.fixture(scope="session")
def hypnettorch_order() -> Callable[[WideResNetSpec], tuple[NetworkSlot, ...]]:
    return _hypnettorch_order


@pytest.fixture(scope="session")
def make_hypnettorch_wrn() -> Callable[[WideResNetSpec], Any]:
    """hypnettorch's own Wide ResNet: an implementation that shares no code with ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes and deprecations in hypnettorch's own sources
        from hypnettorch.mnets.wide_resnet import WRN

    def make(spec: WideResNetSpec) -> Any:
        return WRN(
            in_shape=(spec.image.height, spec.image.width, spec.image.channels),
            num_classes=spec.classes,
            n=spec.blocks_per_group,
            k=spec.widening,
            num_feature_maps=spec.feature_maps,
            use_bias=spec.conv_bias,
            use_fc_bias=spec.output_bias,
            use_batch_norm=spec.batch_norm,
            verbose=False,
        ).eval()

    return make


HypnettorchChunking = Callable[[PipelineSpec], tuple[Any, Any, Callable[..., list[Tensor]]]]


@pytest.fixture(scope="session")
def hypnettorch_chunking(
    make_hypnettorch_wrn: Callable[[WideResNetSpec], Any],
) -> HypnettorchChunking:
    """hypnettorch's own chunk shapes, number of chunks of each shape, and function that assembles the chunks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as above
        from hypnettorch.hnets.structured_hmlp_examples import wrn_chunking

    def chunk(spec: PipelineSpec) -> tuple[Any, Any, Callable[..., list[Tensor]]]:
        assert spec.hypernet is not None
        return wrn_chunking(  # type: ignore[no-any-return]
            make_hypnettorch_wrn(spec.network),
            ignore_bn_weights=spec.recipe.norm is not Source.GENERATED,
            ignore_out_weights=spec.recipe.output is not Source.GENERATED,
            gcd_chunking=spec.hypernet.chunking is Chunking.GCD,
        )

    return chunk


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests that need a GPU are skipped without one, or fail where HNEXPORT_REQUIRE_CUDA=1 says there must be one."""
    if item.get_closest_marker("cuda") is None:
        return
    from hnexport.parity.providers import obstacle

    reason = obstacle("cuda")
    if reason is None:
        return
    if os.environ.get("HNEXPORT_REQUIRE_CUDA") == "1":
        pytest.fail(f"HNEXPORT_REQUIRE_CUDA is set, but {reason}", pytrace=False)
    pytest.skip(f"no GPU: {reason}")
