"""ExecuTorch with XNNPACK: each member, by the example."""

import runpy
from pathlib import Path

from runtimes.runtime import IN_EXAMPLES, Run, Runtime

EXAMPLE = Path(__file__).parents[2] / "examples" / "executorch" / "predict.py"


def convert(source: Path, target: Path) -> None:
    """As the example lowers a member."""
    import torch

    runpy.run_path(str(EXAMPLE))["lower"](torch.export.load(source), target)


def load(path: Path) -> Run:
    """The method of a `.pte`, in this thread."""
    import torch
    from executorch.runtime import Runtime as Executorch

    method = Executorch.get().load_program(path).load_method("forward")
    return lambda *arrays: [output.numpy().copy() for output in method.execute([torch.from_numpy(a) for a in arrays])]


RUNTIME = Runtime(
    name="ExecuTorch, XNNPACK",
    file="plain.pt2",
    own="own.pt2",
    exporter="torch.export, lowered alike",
    member=True,
    resident=True,
    packages=("pillow", "torch==2.13.0", "executorch"),
    version_of="executorch",
    convert=convert,
    suffix=".pte",
    load=load,
    predict=("{python}", "{examples}/executorch/predict.py", "{member}", "{golden}"),
    picture=(*IN_EXAMPLES, "{examples}/executorch/picture.py", "{bundle}", "{work}/member-{id}.pte", "{picture}"),
)
