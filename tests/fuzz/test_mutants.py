"""Damaged input ends in an answer: exit code 0 or 2, no traceback, no hang, bounded memory, no code run."""

import os
from pathlib import Path

import pytest
import torch
from fixture_types import MakeSpec, MakeTensors
from fuzzing import Mutant, Sources, failures
from hypnettorch_ensembles import Case
from hypnettorch_ensembles import build as build_ensemble
from shared import Built, build_once, built_list
from thorough import first
from zygote import Zygote

from hnexport.build import BuildOptions
from hnexport.bundle import Format
from hnexport.networks.wide_resnet.checkpoints import Checkpoint, save_checkpoint
from hnexport.spec import BasisDtype

EVERY = os.environ.get("HNEXPORT_FUZZ") == "1"  # `make fuzz`
SEED = int(os.environ.get("HNEXPORT_FUZZ_SEED", "0"))
INT4 = ("int4_checkpoint", "int4_manifest", "int4_bundle")
MANY = {"checkpoint": 500, "manifest": 500, "bundle": 200, "image": 200, **dict.fromkeys(INT4, 100)}
COUNTS = MANY if EVERY else {kind: 7 if kind in INT4 else 50 for kind in MANY}
FEW = 2  # of each kind in `make test`: commands by turns
MUTANTS = {
    kind: [Mutant(kind=kind, seed=SEED, number=number) for number in range(count)] for kind, count in COUNTS.items()
}


@pytest.fixture(scope="module")
def sources(
    built: Built, make_spec: MakeSpec, make_tensors: MakeTensors, tmp_path_factory: pytest.TempPathFactory
) -> Sources:
    folder = tmp_path_factory.mktemp("sources")
    spec = make_spec()
    exact = Checkpoint(spec=spec, tensors=make_tensors(spec), origin="a test")
    save_checkpoint(folder / "native.safetensors", exact)
    save_checkpoint(folder / "int4.safetensors", exact.with_bases(BasisDtype.INT4))
    torch.save(build_ensemble(Case(n=1, k=1, in_shape=(8, 8, 3))).state_dicts(), folder / "ensemble.pt")
    version1 = Path(__file__).parents[1] / "data" / "bundle-v1"
    return Sources(
        bundle=built.path,
        int4=build_once(exact, BuildOptions(bases=BasisDtype.INT4, formats=(Format.ONNX, Format.TORCHSCRIPT))).path,
        version1=version1,
        modules=built_list("reader").path,
        native=folder / "native.safetensors",
        native_int4=folder / "int4.safetensors",
        hypnettorch=folder / "ensemble.pt",
    )


@pytest.mark.fuzz
@pytest.mark.parametrize("mutant", [one for mutants in MUTANTS.values() for one in first(FEW, mutants)], ids=str)
def test_a_mutant_ends_in_an_answer(mutant: Mutant, sources: Sources, zygote: Zygote, tmp_path: Path) -> None:
    found = list(failures(mutant, sources, zygote, tmp_path, every=EVERY))
    assert not found, "\n" + "\n".join(found)
