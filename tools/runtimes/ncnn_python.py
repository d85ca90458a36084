"""ncnn: each member's TorchScript, converted by pnnx."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from runtimes.runtime import IN_EXAMPLES, Run, Runtime


def convert(source: Path, target: Path) -> None:
    """Beside the target: pnnx writes several files and names them after its input."""
    here = target.with_name(f"{target.stem}_pnnx.pt".replace("-", "_"))
    shutil.copy(source, here)
    pnnx = Path(sys.executable).with_name("pnnx")
    subprocess.run([pnnx, here, "inputshape=[1,3,32,32]", "fp16=0"], cwd=target.parent, check=True)
    shutil.copy(here.with_suffix(".ncnn.bin"), target.with_suffix(".bin"))
    shutil.copy(here.with_suffix(".ncnn.param"), target)


def load(path: Path) -> Run:
    """One thread, float32."""
    import ncnn
    import numpy as np

    net = ncnn.Net()
    net.opt.num_threads = 1
    for name in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(net.opt, name, False)
    if net.load_param(str(path)) != 0 or net.load_model(str(path.with_suffix(".bin"))) != 0:
        raise SystemExit(f"ncnn does not read {path}")

    def run(image: NDArray[Any]) -> list[Any]:
        extractor = net.create_extractor()
        row = np.ascontiguousarray(image[0])  # a name: the Mat refers to it, and does not keep it
        extractor.input("in0", ncnn.Mat(row).clone())
        return [np.array(extractor.extract("out0")[1])[np.newaxis]]

    return run


RUNTIME = Runtime(
    name="ncnn",
    file="plain.pt",
    own="own.pt",
    exporter="torch.jit.trace and pnnx",
    member=True,
    resident=True,
    packages=("pillow", "numpy", "pnnx", "ncnn"),
    version_of="ncnn",
    convert=convert,
    suffix=".param",
    load=load,
    picture=(*IN_EXAMPLES, "{examples}/ncnn/picture.py", "{bundle}", "{member}", "{picture}"),
)
