"""CoreML converts the exported program. Only macOS could run the result, so nothing is said about its numbers."""

import pytest
import torch
from written import ALL_KINDS, written

from hnexport.names import PT2_FILE

# What CoreML 9 has no form for, by its own words.
LIMITS = {
    "batch-ensemble": "Input gamma must be const at compile time",
    "pixels": "torch.uint8",
    "list of CNNs": "cannot have symbolic values",  # group norm at any batch size
    "list of GRUs": "Unsupported fx node gru",
}


@pytest.mark.filterwarnings("ignore")  # coremltools' own, of every kind
@pytest.mark.parametrize("kind", ALL_KINDS)
def test_the_exported_program_is_converted_or_refused_for_a_known_reason(kind, tmp_path):
    (tmp_path / "written").mkdir()
    files = written(kind, tmp_path / "written")
    if kind in LIMITS:
        with pytest.raises((KeyError, ValueError, NotImplementedError), match=LIMITS[kind]):
            convert(files.folder)
        return
    model = convert(files.folder)
    model.save(str(tmp_path / "model.mlpackage"))
    signature = files.signature
    described = model.get_spec().description
    assert len(described.input) == 1 + len(signature.inputs)
    assert len(described.output) == len(signature.outputs)


def convert(folder):
    import coremltools

    program = torch.export.load(folder / PT2_FILE).run_decompositions({})
    return coremltools.convert(program, minimum_deployment_target=coremltools.target.iOS17)
