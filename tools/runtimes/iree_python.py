"""IREE, compiled for this machine's processor."""

import subprocess
import sys
from pathlib import Path

from runtimes.runtime import IN_EXAMPLES, Run, Runtime


def convert(source: Path, target: Path) -> None:
    """Import with the weights in a file of their own, and compile."""
    tools, imported = Path(sys.executable).parent, target.with_suffix(".mlir")
    subprocess.run([tools / "iree-import-onnx", source, "-o", imported, "--externalize-params"], check=True)
    options = ["--iree-hal-target-backends=llvm-cpu", "--iree-llvmcpu-target-cpu=host"]
    subprocess.run([tools / "iree-compile", imported, *options, "-o", target], check=True)


def load(path: Path) -> Run:
    """The one function of the module, in this thread."""
    import numpy as np
    from iree import runtime

    config, index = runtime.Config("local-sync"), runtime.ParameterIndex()
    index.load(str(path.with_name(f"{path.stem}_params.irpa")))
    module = runtime.VmModule.mmap(config.vm_instance, str(path))
    modules = [
        runtime.create_io_parameters_module(config.vm_instance, index.create_provider(scope="model")),
        runtime.create_hal_module(config.vm_instance, config.device),
        module,
    ]
    context = runtime.SystemContext(vm_modules=modules, config=config)
    (name,) = [one for one in module.function_names if not one.startswith("__") and "async" not in one]
    function = context.modules[module.name][name]
    return lambda *arrays: [np.asarray(function(*arrays))]


RUNTIME = Runtime(
    name="IREE, llvm-cpu",
    file="model.onnx",
    plain="plain.onnx",
    packages=("pillow", "numpy", "onnx", "iree-base-compiler[onnx]", "iree-base-runtime"),
    version_of="iree-base-runtime",
    convert=convert,
    suffix=".vmfb",
    load=load,
    picture=(*IN_EXAMPLES, "{examples}/iree/picture.py", "{bundle}", "{id}", "{picture}", "{work}/model.vmfb"),
)
