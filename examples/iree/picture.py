"""A picture through one member of model.onnx in IREE, compiled for this processor: prints what it ranks first.

PYTHONPATH=../python python picture.py BUNDLE MEMBER PICTURE COMPILED.vmfb
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
from iree import runtime
from numpy.typing import NDArray
from pictures import as_input, class_names, existing_member, read_manifest


def compile_model(source: Path, target: Path) -> None:
    """Import with the weights in a file of their own, TARGET_params.irpa, and compile."""
    tools, imported = Path(sys.executable).parent, target.with_suffix(".mlir")
    subprocess.run([tools / "iree-import-onnx", source, "-o", imported, "--externalize-params"], check=True)
    options = ["--iree-hal-target-backends=llvm-cpu", "--iree-llvmcpu-target-cpu=host"]
    subprocess.run([tools / "iree-compile", imported, *options, "-o", target], check=True)


def predict(compiled: Path, member: int, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits `[batch, class]`, in this thread (`local-task` takes several)."""
    config, index = runtime.Config("local-sync"), runtime.ParameterIndex()
    index.load(str(compiled.with_name(f"{compiled.stem}_params.irpa")))
    module = runtime.VmModule.mmap(config.vm_instance, str(compiled))
    parameters = runtime.create_io_parameters_module(config.vm_instance, index.create_provider(scope="model"))
    device = runtime.create_hal_module(config.vm_instance, config.device)
    context = runtime.SystemContext(vm_modules=[parameters, device, module], config=config)
    (name,) = [one for one in module.function_names if not one.startswith("__") and "async" not in one]
    logits = context.modules[module.name][name](np.array(member), image)
    return np.array(logits, np.float32)  # a copy: what it maps is the device's, which ends with this function


def main(bundle: Path, member: str, picture: Path, compiled: Path) -> None:
    manifest = read_manifest(bundle)
    if not compiled.exists():
        compile_model(bundle / "model.onnx", compiled)
    logits = predict(compiled, existing_member(manifest, member), as_input(manifest, picture))
    print(class_names(manifest)[int(logits[0].argmax())])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
