"""One member in LiteRT: every golden sample, one a call, written where `hnexport golden` says.

python predict.py MEMBER.pt2 GOLDEN
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter


def convert(program: torch.export.ExportedProgram, target: Path) -> None:
    import litert_torch  # slow, and not needed for a file that is converted already

    litert_torch.convert(program.module(), program.example_inputs[0]).export(str(target))


def main(path: Path, golden: Path) -> None:
    extra = {"hnexport.member": ""}
    program = torch.export.load(path, extra_files=extra)
    converted = path.with_suffix(".tflite")
    if not converted.exists():
        convert(program, converted)
    interpreter = Interpreter(str(converted))
    interpreter.allocate_tensors()

    index = json.loads((golden / "golden.json").read_text(encoding="utf-8"))
    inputs = [(item["batch"], np.load(golden / item["npy"])) for item in index["inputs"]]
    places = [item["index"] for item in interpreter.get_output_details()]
    rows = []
    for sample in range(len(index["sample_kinds"])):
        for item, (batch, array) in zip(interpreter.get_input_details(), inputs, strict=True):
            interpreter.set_tensor(item["index"], array[sample : sample + 1] if batch else array)
        interpreter.invoke()
        rows.append([interpreter.get_tensor(place) for place in places])
    for item, outputs in zip(index["outputs"], zip(*rows, strict=True), strict=True):
        target = golden / item["npy"].replace("{id}", extra["hnexport.member"])
        target.parent.mkdir(exist_ok=True)
        np.save(target, np.concatenate(outputs))
    (golden / "runtime.txt").write_text("LiteRT")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
