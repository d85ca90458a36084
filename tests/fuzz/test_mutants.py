"""Damaged input ends in an answer: exit code 0 or 2, no traceback, no hang, bounded memory, no code run."""

import os
from pathlib import Path

import pytest
import torch
from fuzzing import Mutant, Sources, failures
from hypnettorch_ensembles import Case
from hypnettorch_ensembles import build as build_ensemble
from shared import built_list

from hnexport.networks.wide_resnet.checkpoints import Checkpoint, save_checkpoint

EVERY = os.environ.get("HNEXPORT_FUZZ") == "1"  # `make fuzz`
SEED = int(os.environ.get("HNEXPORT_FUZZ_SEED", "0"))
COUNTS = {"checkpoint": 500, "manifest": 500, "bundle": 200, "image": 200} if EVERY else dict.fromkeys(
    ("checkpoint", "manifest", "bundle", "image"), 50
)  # fmt: skip
MUTANTS = [Mutant(kind=kind, seed=SEED, number=number) for kind, count in COUNTS.items() for number in range(count)]


@pytest.fixture(scope="module")
def sources(built, make_spec, make_tensors, tmp_path_factory) -> Sources:
    folder = tmp_path_factory.mktemp("sources")
    spec = make_spec()
    save_checkpoint(folder / "native.safetensors", Checkpoint(spec=spec, tensors=make_tensors(spec), origin="a test"))
    torch.save(build_ensemble(Case(n=1, k=1, in_shape=(8, 8, 3))).state_dicts(), folder / "ensemble.pt")
    version1 = Path(__file__).parents[1] / "data" / "bundle-v1"
    return Sources(
        bundle=built.path,
        version1=version1,
        modules=built_list("reader").path,
        native=folder / "native.safetensors",
        hypnettorch=folder / "ensemble.pt",
    )


@pytest.mark.fuzz
@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_mutant_ends_in_an_answer(mutant, sources, zygote, tmp_path):
    found = list(failures(mutant, sources, zygote, tmp_path, every=EVERY))
    assert not found, "\n" + "\n".join(found)
