"""CoreML converts the exported program. Only macOS could run the result: the numbers are those of what is converted.

`make test` converts some kinds, `make runtimes-test` all: a conversion takes seconds.
"""

import os
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from thorough import first
from written import ALL_KINDS, written

from hnexport.names import PT2_FILE

spelled_out = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "coreml" / "convert.py"))["spelled_out"]
# What CoreML 9 has no form for, by its own words.
LIMITS = {
    "pixels": "torch.uint8",
    "list of CNNs": "'NoneType' object has no attribute 'shape'",  # transposed convolutions of a computed kernel
}
CHOSEN = ALL_KINDS if os.environ.get("HNEXPORT_RUNTIMES") == "1" else ("batch-ensemble", "list of encoders")


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore")  # coremltools' own, of every kind
@pytest.mark.parametrize("kind", CHOSEN)
def test_the_exported_program_is_converted_or_refused_for_a_known_reason(kind: str, tmp_path: Path) -> None:
    files = written(kind)
    program = spelled_out(torch.export.load(files.folder / PT2_FILE))
    if kind in LIMITS:
        with pytest.raises((KeyError, AttributeError), match=LIMITS[kind]):
            convert(program)
        return
    model = convert(program)
    model.save(str(tmp_path / "model.mlpackage"))
    signature = files.signature
    described = model.get_spec().description
    assert len(described.input) == 1 + len(signature.inputs)
    assert len(described.output) == len(signature.outputs)


@pytest.mark.parametrize("kind", first(2, ALL_KINDS))
def test_what_is_converted_computes_the_same(kind: str) -> None:
    files = written(kind)
    program = spelled_out(torch.export.load(files.folder / PT2_FILE)).module()
    inputs = [torch.from_numpy(files.inputs[item.name]) for item in files.signature.inputs]
    for member in range(files.members):
        found = program(torch.tensor(member), *inputs)
        for output, one in zip(files.signature.outputs, found if isinstance(found, tuple) else (found,), strict=True):
            expected = files.outputs[output.name][member]
            error = np.linalg.norm(one.detach().numpy() - expected) / np.linalg.norm(expected)
            assert error <= 1e-5, (output.name, member)


def convert(program: Any) -> Any:
    import coremltools

    return coremltools.convert(program, minimum_deployment_target=coremltools.target.iOS17)
