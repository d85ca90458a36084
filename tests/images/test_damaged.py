"""Damaged files of every kind: a picture comes out or an error that names the file, soon and in bounded memory.

`HNEXPORT_FUZZ=1` tries 200 of each kind instead of 50.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from picture_files import read_images, seeds

from hnexport.errors import RuntimeInputError
from hnexport.networks.wide_resnet.spec import PipelineSpec, WideResNetSpec

SPEC = PipelineSpec(network=WideResNetSpec(blocks_per_group=1, widening=1), members=1)
MUTANTS = 200 if os.environ.get("HNEXPORT_FUZZ") == "1" else 50
SEEDS = seeds()


def mutant(content: Any, random: np.random.Generator) -> bytes:
    """One to five changes, more often near the start, where the sizes are; one in ten is cut as well."""
    found = bytearray(content)
    reach = min(len(found), 120) if random.random() < 0.6 else len(found)
    for _ in range(int(random.integers(1, 6))):
        at, kind = int(random.integers(reach)), int(random.integers(5))
        some = random.integers(0, 256, int(random.integers(1, 9)), dtype=np.uint8).tobytes()
        if kind == 0:
            found[at : at + 1] = some[:1]
        elif kind == 1:
            found[at : at + 1] = bytes([content[at] ^ 1 << int(random.integers(8))])
        elif kind == 2:
            found[at : at + 4] = b"\xff\xff\xff\xff"
        elif kind == 3:
            del found[at : at + len(some)]
        else:
            found[at:at] = some
    return bytes(found[: int(random.integers(len(found)))] if random.random() < 0.1 else found)


@pytest.mark.parametrize("kind", SEEDS)
def test_a_damaged_file_is_a_picture_or_an_error_that_names_it(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("a.npy" if kind == "npy" else "a.bin")
    random = np.random.default_rng(list(SEEDS).index(kind))
    errors = []
    for _ in range(MUTANTS):
        path.write_bytes(mutant(SEEDS[kind], random))
        for options in ({}, {"resize": True, "background": "white", "frame": int(random.integers(3))}):
            try:
                batch = read_images([path], SPEC, **options)
            except RuntimeInputError as error:
                errors.append(str(error))
            else:
                assert batch.images.shape[1:] == (3, 32, 32)
                assert batch.images.dtype == np.float32
    assert errors
    assert all(path.name in error for error in errors)
