"""What rounding the bases changes in answers: counted by hand from the members' own outputs."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from fixture_types import MakeSpec, MakeTensors
from torch import Tensor

from hnexport.bundle.manifest import BasisJudgement
from hnexport.ensemble import Ensemble
from hnexport.errors import RuntimeInputError
from hnexport.networks.wide_resnet.checkpoints import Checkpoint
from hnexport.parity.rounding import RoundedTooMuchError
from hnexport.quantise.cost import Budget
from hnexport.quantise.judged import JudgedOn
from hnexport.spec import BasisDtype

SAMPLES = 70


@pytest.fixture(scope="module")
def pair(make_spec: MakeSpec, make_tensors: MakeTensors) -> tuple[Ensemble, Ensemble]:
    """An ensemble before and after its bases were rounded to int4."""
    spec = make_spec()
    exact = Checkpoint(spec=spec, tensors=make_tensors(spec), origin="a test")
    return exact.ensemble(), exact.with_bases(BasisDtype.INT4).ensemble()


@pytest.fixture(scope="module")
def data(pair: tuple[Ensemble, Ensemble], tmp_path_factory: pytest.TempPathFactory) -> Path:
    shape = pair[0].signature.inputs[0].shape[1:]
    random = np.random.default_rng(3)
    path = tmp_path_factory.mktemp("data") / "held-out.npz"
    images = random.normal(size=(SAMPLES, *shape)).astype(np.float32)
    classes = pair[0].signature.outputs[0].shape[1]
    np.savez(path, image=images, label=random.integers(0, classes, SAMPLES))
    return path


def mean(ensemble: Ensemble, images: Tensor) -> Tensor:
    with torch.no_grad():
        members = [ensemble(member, {"image": images})["logits"] for member in range(ensemble.members)]
    return torch.stack(members).double().softmax(-1).mean(0)


def test_agreement_and_accuracy_are_those_of_the_mean_of_all_members(
    pair: tuple[Ensemble, Ensemble], data: Path
) -> None:
    found = JudgedOn(place=data)(*pair)
    held = np.load(data)
    before, after = (mean(ensemble, torch.from_numpy(held["image"])) for ensemble in pair)
    right = torch.from_numpy(held["label"])
    expected = BasisJudgement(
        data="held-out.npz",
        samples=SAMPLES,
        relative_l2=float((after - before).norm() / before.norm()),
        agreement=float((before.argmax(1) == after.argmax(1)).double().mean()),
        accuracy=float((after.argmax(1) == right).double().mean()),
        accuracy_before=float((before.argmax(1) == right).double().mean()),
    )
    assert found == dataclasses.replace(expected, relative_l2=pytest.approx(expected.relative_l2, rel=1e-4))
    assert found.agreement is not None
    assert 0.5 < found.agreement < 1


def test_a_limit_is_one_of_what_was_lost_and_a_gain_passes(pair: tuple[Ensemble, Ensemble], data: Path) -> None:
    found = JudgedOn(place=data)(*pair)
    assert found.agreement is not None
    assert found.accuracy is not None
    assert found.accuracy_before is not None
    lost = found.accuracy_before - found.accuracy
    JudgedOn(place=data, budget=Budget(accuracy_drop=lost, agreement=found.agreement))(*pair)
    with pytest.raises(RoundedTooMuchError, match=r"rounded bases, .* less, allowed .*: store the bases in more bits"):
        JudgedOn(place=data, budget=Budget(accuracy_drop=lost - 1e-3))(*pair)
    with pytest.raises(RoundedTooMuchError, match="answers as float32 does for .* of the samples with rounded bases"):
        JudgedOn(place=data, budget=Budget(agreement=found.agreement + 1e-3))(*pair)


def test_without_labels_agreement_is_judged_and_accuracy_is_refused(
    pair: tuple[Ensemble, Ensemble], data: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "images.npy", np.load(data)["image"])
    found = JudgedOn(place=tmp_path / "images.npy")(*pair)
    assert (found.accuracy, found.accuracy_before) == (None, None)
    assert found.agreement == JudgedOn(place=data)(*pair).agreement
    with pytest.raises(
        RuntimeInputError, match=r"images\.npy is no data: expected a folder with a folder for each class"
    ):
        JudgedOn(place=tmp_path / "images.npy", budget=Budget(accuracy_drop=0.1))(*pair)
