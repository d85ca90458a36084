"""A materialised member is the one that was asked for, whichever was before it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from hnexport.bundle import read_golden, read_manifest
from hnexport.parity.onnx_runners import MaterialisedRunner
from hnexport.parity.providers import Device


def test_ids_that_do_not_exist_stand_between_members(pristine: Callable[[str], Path]) -> None:
    bundle = pristine("hypernet")
    manifest, inputs = read_manifest(bundle), read_golden(bundle).inputs
    alone = {member: MaterialisedRunner(bundle, manifest, Device()).run(member, inputs)["logits"] for member in (0, 1)}
    runner = MaterialisedRunner(bundle, manifest, Device())
    for cond_id in (-1, 0, 2**32, -1, 1, manifest.members, 0):
        found = runner.run(cond_id, inputs)["logits"]
        assert np.array_equal(found, alone[cond_id]) if cond_id in alone else np.isnan(found).all()
