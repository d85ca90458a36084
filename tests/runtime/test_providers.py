"""A provider that cannot be had is an error that says what is missing."""

import ctypes
import re

import onnxruntime
import pytest

from hnexport.errors import ProviderError
from hnexport.runtime import load, providers

CPU_ONLY = ["CPUExecutionProvider"]
WITH_CUDA = ["TensorrtExecutionProvider", "CUDAExecutionProvider", *CPU_ONLY]


@pytest.fixture
def available(monkeypatch):
    def become(names):
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)

    return become


def test_an_unknown_name_lists_the_known_ones(shared_bundle):
    with pytest.raises(ProviderError, match="unknown provider 'gpu': choose one of auto, cpu, cuda"):
        load(shared_bundle, provider="gpu")


@pytest.mark.parametrize("provider", ["cuda", "tensorrt", "directml", "coreml"])
def test_a_provider_that_was_not_built_in_is_refused_with_the_remedy(shared_bundle, available, provider):
    available(CPU_ONLY)
    with pytest.raises(ProviderError, match=rf"has no provider '{provider}', only cpu: .*install"):
        load(shared_bundle, provider=provider)


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_machine_without_a_driver_is_refused_in_silence(shared_bundle, available, monkeypatch, capfd, provider):
    available(WITH_CUDA)
    monkeypatch.setattr(providers, "_cuda_devices", lambda: None)
    with pytest.raises(ProviderError, match=rf"provider '{provider}' cannot be had: there is no NVIDIA driver"):
        load(shared_bundle, provider=provider)
    assert capfd.readouterr() == ("", "")


def test_a_driver_without_a_gpu_is_refused(shared_bundle, available, monkeypatch):
    available(WITH_CUDA)
    monkeypatch.setattr(providers, "_cuda_devices", lambda: 0)
    with pytest.raises(ProviderError, match="sees no GPU"):
        load(shared_bundle, provider="cuda")


def test_cuda_starts_or_the_error_says_what_is_missing_in_silence(shared_bundle, monkeypatch, capfd):
    """With onnxruntime's own provider library, whatever this machine has: past the driver, which it may lack."""
    monkeypatch.setattr(providers, "_cuda_devices", lambda: 1)
    try:
        assert load(shared_bundle, provider="cuda").provider == "cuda"
    except ProviderError as error:
        message = str(error)
        expected = r"'cuda' did not start, .* fell back to CPU.*: lib\w+\.so.*; install CUDA|has no provider 'cuda'"
        assert re.search(expected, message), message
    assert capfd.readouterr() == ("", "")


def test_the_missing_library_and_the_remedy_are_in_the_message(shared_bundle, no_cuda_session, monkeypatch):
    monkeypatch.setattr(providers, "missing_library", lambda provider: "libcublasLt.so.13: cannot open it")
    with pytest.raises(ProviderError, match=r"libcublasLt.so.13: cannot open it; install CUDA and cuDNN with pip"):
        load(shared_bundle, provider="cuda")


@pytest.fixture
def no_cuda_session(available, monkeypatch):
    """A machine with a driver, on which onnxruntime makes CPU sessions when it is asked for CUDA."""
    available(WITH_CUDA)
    monkeypatch.setattr(providers, "_cuda_devices", lambda: 1)
    monkeypatch.setattr(providers, "_preload_cuda", lambda: None)
    session = type("Session", (), {"get_providers": lambda self: CPU_ONLY})
    monkeypatch.setattr(providers, "_create", lambda *_, **__: session())


def test_a_fallback_is_never_silent_even_where_nothing_is_known_to_be_missing(
    shared_bundle, no_cuda_session, monkeypatch
):
    monkeypatch.setattr(providers, "missing_library", lambda provider: None)
    with pytest.raises(ProviderError, match="fell back to CPUExecutionProvider: onnxruntime gives no reason"):
        load(shared_bundle, provider="cuda")


def test_devices_are_counted_only_with_a_driver():
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        assert providers._cuda_devices() is None
    else:
        assert isinstance(providers._cuda_devices(), int)


@pytest.mark.cuda
def test_cuda_predicts_what_the_cpu_does(shared_bundle, images):
    ensemble = load(shared_bundle, provider="cuda", check="all")
    assert ensemble.provider == "cuda"
    reference = load(shared_bundle, provider="cpu").predict(images, members="all")
    assert abs(ensemble.predict(images, members="all") - reference).max() < 1e-4 * abs(reference).max()
