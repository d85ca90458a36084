"""LiteRT: each member, converted by litert-torch, by the example."""

import runpy
from pathlib import Path
from typing import Any

from runtimes.runtime import IN_EXAMPLES, Run, Runtime

EXAMPLE = Path(__file__).parents[2] / "examples" / "litert" / "predict.py"


def convert(source: Path, target: Path) -> None:
    """As the example converts a member."""
    import torch

    runpy.run_path(str(EXAMPLE))["convert"](torch.export.load(source), target)


def load(path: Path) -> Run:
    """The interpreter of a `.tflite`, with one thread."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()

    def run(*arrays: object) -> list[Any]:
        for item, array in zip(inputs, arrays, strict=True):
            interpreter.set_tensor(item["index"], array)
        interpreter.invoke()
        return [interpreter.get_tensor(item["index"]) for item in outputs]

    return run


RUNTIME = Runtime(
    name="LiteRT",
    file="plain.pt2",
    own="own.pt2",
    exporter="torch.export, converted alike",
    member=True,
    resident=True,
    packages=("pillow", "torch==2.13.0", "pydantic==2.11.10", "typing_extensions==4.12.2", "litert-torch"),
    constrained=False,
    version_of="ai-edge-litert",
    convert=convert,
    suffix=".tflite",
    load=load,
    predict=("{python}", "{examples}/litert/predict.py", "{member}", "{golden}"),
    picture=(*IN_EXAMPLES, "{examples}/litert/picture.py", "{bundle}", "{work}/member-{id}.tflite", "{picture}"),
)
