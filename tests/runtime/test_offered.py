"""Which providers there are: those built in, those of plugins, and those that an application registered."""

import importlib.metadata
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnxruntime
import pytest
from zygote import Zygote

from hnexport.errors import ProviderError
from hnexport.installed import RUNTIME_WHEELS
from hnexport.parity.limits import Limits
from hnexport.parity.providers import Device, limited
from hnexport.runtime import load, offered, providers
from hnexport.runtime.obstacles import explain, quick_obstacle

CPU_ONLY = ["AzureExecutionProvider", "CPUExecutionProvider"]


@pytest.fixture(autouse=True)
def _cpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: CPU_ONLY)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A wheel `onnxruntime-ep-toy` with a library that onnxruntime cannot load."""

    def install(module: str = "", name: str = "onnxruntime-ep-toy") -> Path:
        info = tmp_path / f"{name.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        package = tmp_path / name.replace("-", "_")
        package.mkdir()
        library = package / "libtoy.so"
        library.write_bytes(b"no library")
        text = f"def get_library_path(): return {str(library)!r}\ndef get_ep_names(): return ['ToyExecutionProvider']\n"
        (package / "__init__.py").write_text(module or text)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, package.name, raising=False)
        return library

    return install


def test_what_calls_a_service_is_not_offered() -> None:
    assert offered.offered() == ("cpu",)


def test_a_provider_that_nobody_knows_is_named_as_onnxruntime_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [*CPU_ONLY, "VitisAIExecutionProvider"])
    assert offered.offered() == ("cpu", "vitisai")
    assert offered.execution_provider("vitisai") == "VitisAIExecutionProvider"
    providers.check_provider_name("vitisai")
    assert quick_obstacle("vitisai") is None


def test_a_plugin_wheel_is_offered_before_it_is_registered(plugin: Callable[..., Path]) -> None:
    library = plugin()
    (found,) = offered.installed_plugins()
    assert (found.wheel, found.library, found.providers) == (
        "onnxruntime-ep-toy 1.2",
        str(library),
        ("ToyExecutionProvider",),
    )
    assert offered.offered() == ("cpu", "toy")
    assert quick_obstacle("toy") is None


def test_a_plugin_that_cannot_be_loaded_is_refused_with_its_name(
    plugin: Callable[..., Path], shared_bundle: Path
) -> None:
    plugin()
    with pytest.raises(ProviderError, match=r"provider 'toy' cannot be had: .*onnxruntime-ep-toy 1.2.*doctor"):
        load(shared_bundle, provider="toy")


def test_a_plugin_without_a_device_is_refused_with_the_remedy(
    plugin: Callable[..., Path], shared_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin()
    monkeypatch.setattr(providers, "register_plugin", lambda *_: None)
    with pytest.raises(ProviderError, match=r"onnxruntime-ep-toy 1.2 finds no device here; install the driver"):
        load(shared_bundle, provider="toy")


@pytest.mark.parametrize(
    ("name", "module", "fault"),
    [
        ("onnxruntime-ep-toy", "raise OSError('libtoy.so is missing')", "libtoy.so is missing"),
        ("onnxruntime-ep-toy", "x = 1", None),
        ("onnxruntime-extensions", "raise AssertionError('imported')", None),
    ],
    ids=["broken", "only requires another", "something else"],
)
def test_a_wheel_that_brings_no_plugin_is_not_offered(
    plugin: Callable[..., Path], name: str, module: str, fault: str | None
) -> None:
    plugin(module, name)
    assert [found.fault for found in offered.installed_plugins()] == ([fault] if fault else [])
    assert offered.offered() == ("cpu",)


@pytest.mark.parametrize(
    ("says", "fault"),
    [
        ("def get_ep_names(): return [1, 2]", r"it says that it brings \(1, 2\), which are no names of providers"),
        ("def get_ep_names(): return None", "NoneType"),
        ("def get_ep_name(): return 'A B\\nExecutionProvider'", "which are no names of providers"),
        ("raise SystemExit('enough')", "enough"),
    ],
    ids=["numbers", "nothing", "two lines", "an exit"],
)
def test_a_plugin_that_talks_nonsense_is_a_fault_and_nothing_else(
    plugin: Callable[..., Path], says: str, fault: str
) -> None:
    plugin(f"{says}\ndef get_library_path(): return 'x.so'\n")
    (found,) = offered.installed_plugins()
    assert re.search(fault, found.fault)
    assert offered.offered() == ("cpu",)


def test_a_plugin_may_name_one_provider_as_a_text_and_print_what_it_likes(
    plugin: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    plugin("print('hello')\ndef get_library_path(): return 'x.so'\ndef get_ep_names(): return 'ToyExecutionProvider'")
    assert offered.offered() == ("cpu", "toy")
    assert capsys.readouterr().out == ""


def test_devices_that_an_application_registered_are_taken_without_a_wheel(
    monkeypatch: pytest.MonkeyPatch, shared_bundle: Path
) -> None:
    """With a real session on the CPU that says it is the toy's."""
    device = SimpleNamespace(ep_name="ToyExecutionProvider", ep_metadata={"library_path": "/opt/libtoy.so"})
    others = [SimpleNamespace(ep_name=f"{name}ExecutionProvider", ep_metadata={"library_path": name}) for name in "AZ"]
    monkeypatch.setattr(onnxruntime, "get_ep_devices", lambda: [device, *others, device])
    assert set(offered.offered()) >= {"cpu", "toy"}
    assert offered.plugin_libraries("toy") == ("/opt/libtoy.so",)
    added, make = [], onnxruntime.InferenceSession

    class Options(onnxruntime.SessionOptions):  # type: ignore[misc] # mypy cannot infer it
        def add_provider_for_devices(self, devices: Any, settings: Any) -> None:
            added.append((devices, settings))

        def has_providers(self) -> bool:
            return bool(added)

    def session(model: Any, options: Any, **given: Any) -> Any:
        assert "providers" not in given
        if options.get_session_config_entry("session.disable_cpu_ep_fallback") == "1":
            raise RuntimeError("a node needs the CPU")
        made = make(model, onnxruntime.SessionOptions(), providers=["CPUExecutionProvider"])
        made._providers = ["ToyExecutionProvider", "CPUExecutionProvider"]
        return made

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    providers.open_session(shared_bundle / "model.onnx", Options(), "toy", proving=True)
    assert added == [([device], {})]  # one device, once


@pytest.mark.parametrize("name", [short for short in offered.KNOWN if short not in ("cpu", "cuda", "tensorrt")])
def test_a_known_provider_that_is_missing_says_what_to_install(name: str) -> None:
    found = quick_obstacle(name)
    assert f"has no provider {name!r}, only cpu" in found.what
    assert "install" in found.remedy


def test_webgpu_without_a_gpu_is_explained() -> None:
    error = (
        "webgpu_context.cc:65 onnxruntime::webgpu::WebGpuContext::Initialize status == RequestAdapterStatus::Success"
    )
    assert explain("webgpu", error).what == "WebGPU finds no GPU"


def test_what_a_provider_cannot_do_limits_what_is_asked_of_it() -> None:
    assert limited(Limits(), Device(provider="webgpu")) == Limits(keeps_nan=False)
    assert limited(Limits(), Device(provider="openvino")) == Limits(keeps_nan=False, id_bits=32)
    assert limited(Limits(), Device(provider="toy")) == limited(Limits(), Device()) == Limits()


def test_a_command_refuses_a_name_that_is_no_providers(shared_bundle: Path, zygote: Zygote, tmp_path: Path) -> None:
    for command in (["verify"], ["bench", "--seconds", "1"]):
        done = zygote.run([*command, shared_bundle, "--provider", "gpu"], cwd=tmp_path, env=os.environ)
        assert done.returncode == 2
        assert "unknown provider 'gpu': choose one of auto, cpu, cuda" in done.stderr


def test_every_wheel_that_brings_onnxruntime_is_known() -> None:
    assert set(importlib.metadata.packages_distributions().get("onnxruntime", ())) <= set(RUNTIME_WHEELS)
