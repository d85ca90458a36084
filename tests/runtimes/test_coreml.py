"""CoreML converts the exported program. Only macOS could run the result, so nothing is said about its numbers."""

import pytest
import torch
from bundles import KINDS, small_bundle

from hnexport.bundle.manifest import read_manifest
from hnexport.names import PT2_FILE

# What CoreML 9 has no form for, by its own words.
LIMITS = {"batch-ensemble": "Input gamma must be const at compile time", "pixels": "torch.uint8"}


@pytest.mark.filterwarnings("ignore")  # coremltools' own, of every kind
@pytest.mark.parametrize("kind", KINDS)
def test_the_exported_program_is_converted_or_refused_for_a_known_reason(kind, tmp_path):
    bundle = small_bundle(kind)
    if kind in LIMITS:
        with pytest.raises((KeyError, ValueError), match=LIMITS[kind]):
            convert(bundle)
        return
    model = convert(bundle)
    model.save(str(tmp_path / "model.mlpackage"))
    signature = read_manifest(bundle).signature
    described = model.get_spec().description
    assert len(described.input) == 1 + len(signature.inputs)
    assert len(described.output) == len(signature.outputs)


def convert(bundle):
    import coremltools

    program = torch.export.load(bundle / PT2_FILE).run_decompositions({})
    return coremltools.convert(program, minimum_deployment_target=coremltools.target.iOS17)
