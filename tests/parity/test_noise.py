"""What float32 may lose on an input by chance is measured; what is ill-conditioned is said."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from bundles import small_spec, trained_tensors
from eager import LINEAR, EagerRunner, Linear, encoder, ensemble_of, linear
from seeds import seeds
from torch import Tensor, nn

from hnexport.bundle.golden import Golden
from hnexport.ensemble import Ensemble
from hnexport.errors import ParityError
from hnexport.networks.wide_resnet.halves import wide_resnet_ensemble
from hnexport.networks.wide_resnet.initialise import initialise
from hnexport.networks.wide_resnet.spec import PipelineSpec, PreprocessSpec
from hnexport.parity import TOLERANCES, Precision, compute_golden, probe_inputs
from hnexport.parity.artifact import Plan, verify_artifact
from hnexport.parity.compare import row_limits
from hnexport.parity.double import run_double
from hnexport.parity.judgeable import unjudged
from hnexport.parity.noise import MOST_DRAWS, Rounded, draws_within
from hnexport.parity.probed import ill_conditioned
from hnexport.parity.results import ArtifactReport
from hnexport.parity.tolerances import CUDNN_RECURRENT_FLOOR
from hnexport.spec import OutputSpec, Signature, TensorSpec

TOLERANCE = TOLERANCES[Precision.FLOAT32]


def golden_of(ensemble: Ensemble, seed: int = 0, *, every: bool = False) -> Golden:
    probes = probe_inputs(ensemble.signature, {name: one.numpy() for name, one in ensemble.examples.items()}, seed)
    return compute_golden(ensemble, range(ensemble.members), probes.inputs, probes.kinds, every=every)


def judged(ensemble: Ensemble, golden: Golden, fault: Callable[[Any, Any, Any], Any] | None = None) -> ArtifactReport:
    plan = Plan(members=ensemble.members, batch_sizes=(1, 3, golden.samples), tolerance=TOLERANCE, large=False)
    return verify_artifact("eager", EagerRunner(ensemble, fault), ensemble.signature, golden, plan)


def pipeline(
    kind: str = "hypernet",
    seed: int = 0,
    classes: int = 10,
    tensors: Callable[..., dict[str, Tensor]] | Callable[[PipelineSpec, int], dict[str, Tensor]] = trained_tensors,
    preprocess: PreprocessSpec | None = None,
    edit: Callable[[Any], list[Any]] | None = None,
) -> Ensemble:
    spec = small_spec(kind)
    spec = dataclasses.replace(spec, network=dataclasses.replace(spec.network, classes=classes))
    if preprocess is not None:
        spec = dataclasses.replace(spec, preprocess=preprocess)
    held = tensors(spec, seed)
    if edit is not None:
        edit(held)
    return wide_resnet_ensemble(spec, held, "a test")


def test_noise_is_of_the_size_of_what_float32_loses() -> None:
    golden = golden_of(pipeline())
    ratio = golden.noise["logits"] / golden.eager["logits"]
    assert 0.2 < np.median(ratio) < 3


def test_a_mean_near_a_constant_image_is_ill_conditioned_and_the_same() -> None:
    ensemble = pipeline("pixels", tensors=initialise, preprocess=PreprocessSpec(mean=(0.502,) * 3, std=(0.25,) * 3))
    golden = golden_of(ensemble)
    assert golden.eager["logits"].max() > 1e-5
    assert set(ill_conditioned(golden, TOLERANCE)) == {"logits: faint"}
    assert judged(ensemble, golden).passed


def test_a_sample_that_float32_cannot_tell_from_a_mean_is_left_out() -> None:
    ensemble = pipeline("pixels", tensors=initialise, preprocess=PreprocessSpec(mean=(0.5019608,) * 3, std=(0.25,) * 3))
    golden = golden_of(ensemble)
    assert "faint" not in golden.kinds
    assert len(golden.kinds) == 5
    whole = golden_of(ensemble, every=True)
    assert unjudged(whole, ensemble.signature, TOLERANCE)["logits: faint"] > 0.1
    assert judged(ensemble, golden).passed
    assert judged(ensemble, whole).passed


def test_another_mean_is_found_although_a_sample_is_ill_conditioned() -> None:
    made = {
        mean: pipeline("pixels", tensors=initialise, preprocess=PreprocessSpec(mean=(mean,) * 3, std=(0.25,) * 3))
        for mean in (0.502, 0.5021)
    }
    assert not judged(made[0.5021], golden_of(made[0.502])).passed


@pytest.mark.each_once
@pytest.mark.parametrize("classes", [1, 2])
@pytest.mark.parametrize("seed", seeds(6, 20))
def test_networks_of_few_classes_are_not_accused(classes: int, seed: int) -> None:
    ensemble = pipeline(classes=classes, seed=seed)
    report = judged(ensemble, golden_of(ensemble, seed))
    assert report.passed, report.failures


def equal_members(held: dict[str, Tensor]) -> None:
    for name, tensor in held.items():
        if name.startswith("member.") or "embedding" in name:
            tensor[:] = tensor[:1].clone()


def output_of(scale: float) -> Callable[[Any], None]:
    def edit(held: dict[str, Tensor]) -> None:
        for name in ("member.output.weight", "member.output.bias"):
            held[name] *= scale

    return edit


def all_but_statistics(scale: float) -> Callable[[Any], None]:
    def edit(held: dict[str, Tensor]) -> None:
        for name, tensor in held.items():
            if "running" not in name:
                tensor.mul_(scale)

    return edit


EDITS = {
    "equal members": equal_members,
    "an output layer of zeros": output_of(0.0),
    "a tiny output layer": output_of(1e-30),
    "a huge output layer": output_of(1e30),
    "tiny weights": all_but_statistics(1e-30),
}


@pytest.mark.each_once
@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize("seed", seeds(6, 20))
def test_odd_weights_are_not_accused(name: str, seed: int) -> None:
    ensemble = pipeline(seed=seed, edit=EDITS[name])
    report = judged(ensemble, golden_of(ensemble, seed))
    assert report.passed, report.failures


@pytest.mark.parametrize("seed", seeds(6, 20))
def test_means_near_a_pixel_are_not_accused(seed: int) -> None:
    random = np.random.default_rng(seed)
    mean = tuple(
        round(pixel / 255, int(digits))
        for pixel, digits in zip(*random.integers([[100], [3]], [[160], [8]], (2, 3)), strict=True)
    )
    ensemble = pipeline("pixels", seed, preprocess=PreprocessSpec(mean=mean, std=(0.25, 0.1, 0.3)))
    report = judged(ensemble, golden_of(ensemble, seed))
    assert report.passed, report.failures


def test_numbers_below_float32_are_ill_conditioned_and_anything_larger_is_found() -> None:
    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = Linear()

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x * 1e-30) * 1e-30 - self.layer.layer.bias * 1e-30

    ensemble = ensemble_of(Small, LINEAR, {"x": torch.randn(2, 5)})
    golden = golden_of(ensemble)
    assert ill_conditioned(golden, TOLERANCE)
    assert judged(ensemble, golden).passed
    assert not judged(ensemble, golden, lambda cond_id, inputs, outputs: outputs and outputs["y"].__iadd__(1e-3)).passed
    assert [name.split(":")[0] for name in unjudged(golden, ensemble.signature, TOLERANCE)] == ["y"] * golden.samples


def test_weights_that_float32_cannot_hold_are_refused_with_the_reason() -> None:
    with pytest.raises(ParityError, match=r"PyTorch's own float32 logits are not finite; check its weights"):
        golden_of(pipeline(edit=lambda held: [held[n].mul_(1e30) for n in held if "bas" in n]))


def test_a_sample_that_the_network_cannot_take_is_left_out() -> None:
    class Root(Linear):
        def forward(self, x: Tensor) -> Any:
            return self.layer(x).exp()

    ensemble = ensemble_of(Root, LINEAR, {"x": torch.randn(2, 5)})
    golden = golden_of(ensemble)
    assert "extreme" not in golden.kinds
    assert "noise" in golden.kinds
    assert len(golden.inputs["x"]) == golden.samples
    assert judged(ensemble, golden).passed


def test_an_integer_that_float32_may_choose_otherwise_is_not_accused() -> None:
    class Near(Linear):
        def forward(self, x: Tensor) -> Any:
            value = self.layer(x)
            return value, (value[:, 0] * 3 - value[:, 0] - value[:, 0] > value[:, 0]).long()

    signature = Signature(
        inputs=(TensorSpec(name="x", dtype="float32", shape=("batch", 5)),),
        outputs=(
            OutputSpec(name="y", dtype="float32", shape=("batch", 2)),
            OutputSpec(name="near", dtype="int64", shape=("batch",)),
        ),
    )
    ensemble = ensemble_of(Near, signature, {"x": torch.randn(2, 5)})
    golden = golden_of(ensemble)
    assert golden.noise["near"].max() > 0
    assert judged(ensemble, golden).passed


def test_equal_numbers_move_together_and_whole_numbers_do_not_move() -> None:
    mode = Rounded(1)
    with mode:
        third = torch.full((4,), 1.0, dtype=torch.float64) / 3.0
        whole = torch.arange(4, dtype=torch.float64) + 1.0
    assert len(set(third.tolist())) == 1
    assert 0 < abs(third[0].item() * 3 - 1) <= 2.0**-23
    assert whole.tolist() == [1.0, 2.0, 3.0, 4.0]


def test_the_reference_is_not_changed_by_a_draw() -> None:
    ensemble = encoder()
    double, inputs = ensemble.double(), {name: one.numpy() for name, one in ensemble.examples.items()}
    before = run_double(double, 0, inputs)
    drawn = run_double(double, 0, inputs, Rounded(3))
    after = run_double(double, 0, inputs)
    assert np.array_equal(before["values"], after["values"])
    assert 1e-9 < np.abs(np.subtract(drawn["values"], before["values"])).max() < 1e-4


def test_golden_samples_are_the_same_in_two_builds() -> None:
    first, second = golden_of(linear()), golden_of(linear())
    assert np.array_equal(first.noise["y"], second.noise["y"])


@pytest.mark.parametrize(
    ("members", "seconds", "expected"), [(3, 1e-3, (3, MOST_DRAWS)), (1000, 1e-3, (100, 5)), (10, 1.5, (1, 1))]
)
def test_draws_fit_into_their_budget(members: int, seconds: float, expected: tuple[int, int]) -> None:
    assert draws_within(members, seconds) == expected


def test_a_row_is_judged_by_the_tolerance_or_by_its_own_noise() -> None:
    found = row_limits(np.array([1e-6, 2e-7, 1e-3]), np.array([1e-7, 1e-6, 1e-3]), TOLERANCE)
    assert found.ill.tolist() == [False, False, True]
    assert found.limit == pytest.approx([4e-6, 4e-6, 4e-3])
    coarse = row_limits(np.zeros(2), np.array([1e-7, 1e-6]), TOLERANCES[Precision.FLOAT16])
    assert coarse.ill.tolist() == [False, True]
    floored = dataclasses.replace(TOLERANCE, functions=CUDNN_RECURRENT_FLOOR)
    recurrent = row_limits(np.zeros(2), np.zeros(2), floored)
    assert recurrent.limit == pytest.approx([1e-5, 1e-5])
