"""AOTInductor: `.pt2` compiled to a shared library, by the example."""

import runpy
from pathlib import Path
from typing import Any

from runtimes.runtime import IN_EXAMPLES, Run, Runtime

EXAMPLE = Path(__file__).parents[2] / "examples" / "aotinductor" / "predict.py"


def convert(source: Path, target: Path) -> None:
    """As the example compiles the bundle's."""
    runpy.run_path(str(EXAMPLE))["compile_package"](source, target)


def load(path: Path) -> Run:
    """The package's loader."""
    import torch

    module = torch._inductor.aoti_load_package(str(path))

    def run(*arrays: object) -> list[Any]:
        outputs = module(*map(torch.as_tensor, arrays))
        return [output.numpy() for output in (outputs if isinstance(outputs, tuple) else (outputs,))]

    return run


RUNTIME = Runtime(
    name="AOTInductor",
    file="model.pt2",
    plain="plain.pt2",
    tools=("g++",),
    version_of="torch",
    convert=convert,
    suffix=".aoti.pt2",
    load=load,
    predict=("{python}", "{examples}/aotinductor/predict.py", "{bundle}", "{golden}", "{work}/model.aoti.pt2"),
    picture=(
        *IN_EXAMPLES,
        "{examples}/aotinductor/picture.py",
        "{bundle}",
        "{id}",
        "{picture}",
        "{work}/model.aoti.pt2",
    ),
)
