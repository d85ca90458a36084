"""A provider that cannot be had is an error that says what is missing."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from hnexport.errors import ProviderError
from hnexport.runtime import load, obstacles, providers, trial
from hnexport.runtime.libraries import cuda_version, needed_libraries, provider_library
from hnexport.runtime.obstacles import Driver

CPU_ONLY = ["CPUExecutionProvider"]
WITH_CUDA = ["TensorrtExecutionProvider", "CUDAExecutionProvider", *CPU_ONLY]
ONE_GPU = Driver(status=0, version=99000, devices=1)
PRESENT = Path(__file__)


@pytest.fixture
def available(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    def become(names: list[str]) -> None:
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)

    return become


@pytest.mark.parametrize("name", ["gpu", "CUDA", "", None, ["cuda"], {"cuda": 0}], ids=repr)
def test_an_unknown_name_lists_the_known_ones(shared_bundle: Path, name: Any) -> None:
    with pytest.raises(
        ProviderError, match=rf"unknown provider {re.escape(repr(name))}: choose one of auto, cpu, cuda"
    ):
        load(shared_bundle, provider=name)


@pytest.mark.parametrize("provider", ["cuda", "tensorrt", "directml", "coreml"])
def test_a_provider_that_was_not_built_in_is_refused_with_the_remedy(
    shared_bundle: Path, available: Callable[[Any], None], provider: str
) -> None:
    available(CPU_ONLY)
    with pytest.raises(ProviderError, match=rf"has no provider '{provider}', only cpu; .*install"):
        load(shared_bundle, provider=provider)


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_machine_without_a_driver_is_refused_in_silence(
    shared_bundle: Path,
    available: Callable[[Any], None],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    provider: str,
) -> None:
    available(WITH_CUDA)
    monkeypatch.setattr(obstacles, "read_driver", lambda: None)
    with pytest.raises(ProviderError, match=rf"provider '{provider}' cannot be had: there is no NVIDIA driver"):
        load(shared_bundle, provider=provider)
    assert capfd.readouterr() == ("", "")


def test_a_driver_without_a_gpu_is_refused(
    shared_bundle: Path, available: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    available(WITH_CUDA)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(obstacles, "read_driver", lambda: Driver(status=100, version=99000, devices=0))
    with pytest.raises(ProviderError, match="sees no GPU"):
        load(shared_bundle, provider="cuda")


def test_cuda_starts_or_the_error_says_what_is_missing_in_silence(
    shared_bundle: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """With onnxruntime's own provider library, whatever this machine has: past the driver, which it may lack."""
    monkeypatch.setattr(obstacles, "read_driver", lambda: ONE_GPU)
    try:
        assert load(shared_bundle, provider="cuda").provider == "cuda"
    except ProviderError as error:
        message = str(error)
        expected = r"it did not start, .* fell back to CPU.*: lib\w+\.so.*; pip install|has no provider 'cuda'|driver"
        assert re.search(expected, message), message
    assert capfd.readouterr() == ("", "")


def test_the_missing_library_and_the_remedy_are_in_the_message(
    shared_bundle: Path, no_cuda_session: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ("libcublasLt.so.13: cannot open", "libcurand.so.10: nor this")
    monkeypatch.setattr(obstacles, "missing_libraries", lambda provider: lines)
    with pytest.raises(ProviderError, match=r"libcublasLt.so.13: cannot open; libcurand.so.10: nor this.*pip install"):
        load(shared_bundle, provider="cuda")


@pytest.fixture
def no_cuda_session(available: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a driver, on which onnxruntime makes CPU sessions when it is asked for CUDA."""
    available(WITH_CUDA)
    monkeypatch.setattr(obstacles, "read_driver", lambda: ONE_GPU)
    monkeypatch.setattr(obstacles, "provider_library", lambda provider: PRESENT)
    monkeypatch.setattr(obstacles, "preload_cuda", lambda: None)
    monkeypatch.setattr(providers, "preload_cuda", lambda: None)
    session = type("Session", (), {"get_providers": lambda self: CPU_ONLY})
    monkeypatch.setattr(providers, "_create", lambda *_, **__: session())


def test_a_fallback_is_never_silent_even_where_nothing_is_known_to_be_missing(
    shared_bundle: Path, no_cuda_session: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(obstacles, "missing_libraries", lambda provider: ())
    with pytest.raises(ProviderError, match=r"fell back to CPUExecutionProvider: .*onnxruntime gives no reason"):
        load(shared_bundle, provider="cuda")


def test_the_driver_is_asked_and_not_assumed() -> None:
    found = obstacles.read_driver()
    assert found is None or (isinstance(found.devices, int) and found.status >= 0)


def test_a_provider_without_its_own_file_names_the_wheels(
    no_cuda_session: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(obstacles, "provider_library", lambda provider: Path("nowhere/libprovider.so"))
    found = obstacles.explain("cuda", "")
    assert str(found).startswith("libprovider.so is not in the installed onnxruntime: pip uninstall")


FAILURES = {
    "memory": ("CUDA failure 2: out of memory ; GPU=0", "the GPU's memory is full"),
    "driver": ("CUDA failure 35: CUDA driver version is insufficient", "the NVIDIA driver is too old"),
    "newer call": (
        "CUDA failure 36: API call is not supported in the installed CUDA driver",
        "the NVIDIA driver is too old",
    ),
    "mismatch": ("CUDA failure 803: system has unsupported display driver", "are of different versions"),
    "busy": (
        "/a.cc:63 FAIL : CUDA failure 46: devices are busy ; file=/a.cc",
        "compute: CUDA failure 46: devices are busy",
    ),
    "kernels": ("CUDA failure 209: no kernel image is available", "was not compiled for this GPU"),
    "cuDNN": ("dlopen failed for libcudnn.so: cannot open", "cuDNN 9 for CUDA"),
    "another": ("something new\nin two lines", "it could not compute: something new in two lines"),
}


@pytest.mark.parametrize(("error", "meaning"), FAILURES.values(), ids=FAILURES.keys())
def test_what_onnxruntime_says_is_explained(
    no_cuda_session: None, monkeypatch: pytest.MonkeyPatch, error: str, meaning: str
) -> None:
    monkeypatch.setattr(obstacles, "missing_libraries", lambda provider: ())
    found = obstacles.explain("cuda", error)
    assert meaning in found.what
    assert found.remedy


def test_an_error_of_an_accelerator_is_a_provider_error_and_one_of_the_cpu_stays() -> None:
    with pytest.raises(ProviderError, match="provider 'directml' cannot be had: it could not compute: broken"):  # noqa: SIM117
        with providers.running_on("directml"):
            raise RuntimeError("broken")
    with pytest.raises(RuntimeError, match=r"^broken$"):  # noqa: SIM117
        with providers.running_on("cpu"):
            raise RuntimeError("broken")


def test_what_the_provider_is_linked_to_is_read_from_its_file(tmp_path: Path) -> None:
    needed = needed_libraries(provider_library("cuda"))
    if needed:
        assert f"libcublas.so.{cuda_version()}" in needed
        assert "libc.so.6" in needed
    (tmp_path / "cut.so").write_bytes(b"\x7fELF\x02\x01" + b"\0" * 40)
    assert needed_libraries(tmp_path / "cut.so") == needed_libraries(tmp_path / "nothing.so") == ()


def test_the_trial_is_one_convolution_and_the_cpu_passes_it() -> None:
    model = onnx.load_model_from_string(trial.MODEL)
    onnx.checker.check_model(model)
    assert [node.op_type for node in model.graph.node] == ["Conv"]
    assert trial._try("cpu", 0) is None


def test_a_trial_that_computes_something_else_is_an_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = type("Session", (), {"run": lambda self, names, feed: [np.zeros((1, 1, 1, 1), np.float32)]})
    monkeypatch.setattr(trial, "open_session", lambda *_: wrong())
    assert trial._try("cpu", 0).what == "it computes that 3 times 3 is 0.0"


def test_a_trial_that_dies_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial.sys, "executable", "/bin/false")  # type: ignore[attr-defined] # what a test or a tool reaches for there
    found = trial._tried.__wrapped__("directml", 0, None)
    assert "a trial of it ended with exit code 1" in found.what


def test_tf32_is_off_unless_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(providers, "require_device", lambda *_: None)
    monkeypatch.setattr(providers, "preload_cuda", lambda: None)
    session = type("Session", (), {"get_providers": lambda self: ["CUDAExecutionProvider"]})

    def create(*given: Any, **_: Any) -> Any:
        asked.append(given[3])
        return session()

    monkeypatch.setattr(providers, "_create", create)
    for settings in ({}, {"use_tf32": "1"}):
        providers.open_session(Path("model.onnx"), onnxruntime.SessionOptions(), "cuda", settings)
    assert [settings["use_tf32"] for settings in asked] == ["0", "1"]


@pytest.mark.cuda
def test_cuda_predicts_what_the_cpu_does(shared_bundle: Path, images: NDArray[np.float32]) -> None:
    ensemble = load(shared_bundle, provider="cuda", check="all")
    assert ensemble.provider == "cuda"
    reference = load(shared_bundle, provider="cpu").predict(images, members="all")
    assert abs(ensemble.predict(images, members="all") - reference).max() < 1e-4 * abs(reference).max()
