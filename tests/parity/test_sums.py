"""What float32 may lose inside a sum counts: kernels that add many products in a plain loop are not accused, and
mistakes are found as before."""

import numpy as np
import pytest
import torch
from eager import EagerRunner
from torch import Tensor, nn

from hnexport import Ensemble
from hnexport.parity import TOLERANCES, Precision, compute_golden, probe_inputs
from hnexport.parity.artifact import Plan, verify_artifact
from hnexport.parity.noise import Rounded
from hnexport.parity.sums import Sums

TERMS, MEMBERS = 4096, 8
ATEN = torch.ops.aten


class Wide(nn.Module):
    """A layer of few outputs, as at the end of a wide network: what it loses is not averaged away."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(TERMS, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"y": self.layer(x)}


@pytest.fixture(scope="module")
def wide():
    modules = []
    for seed in range(MEMBERS):
        torch.manual_seed(seed)
        modules.append(Wide().eval())
    ensemble = Ensemble.from_modules(modules, example_inputs={"x": torch.rand(3, TERMS)})
    probes = probe_inputs(ensemble.signature, {name: one.numpy() for name, one in ensemble.examples.items()})
    return modules, ensemble, compute_golden(ensemble, range(MEMBERS), probes.inputs, probes.kinds)


def loop(weight, bias, x):
    """Product after product is added, in float32."""
    products = np.concatenate([bias[None, :, None].repeat(len(x), 0), x[:, None] * weight[None]], axis=-1)
    return np.cumsum(products, axis=-1, dtype=np.float32)[..., -1]


def judged(wide, layer):
    """The report on an artifact whose outputs are `layer(weight, bias, x)`."""
    modules, ensemble, golden = wide

    def fault(cond_id, inputs, outputs):
        if outputs and cond_id in range(MEMBERS):
            held = [tensor.detach().numpy() for tensor in (modules[cond_id].layer.weight, modules[cond_id].layer.bias)]
            outputs["y"] = layer(*held, inputs["x"].numpy())

    plan = Plan(members=MEMBERS, batch_sizes=(1, golden.samples), tolerance=TOLERANCES[Precision.FLOAT32], large=False)
    return verify_artifact("eager", EagerRunner(ensemble, fault), ensemble.signature, golden, plan)


def test_a_layer_that_is_summed_in_a_plain_loop_is_not_accused(wide):
    report = judged(wide, loop)
    assert report.passed, report.failures
    assert report.worst.relative_l2 > 1e-6


def to_bits(array, bits):
    """Rounded to so many bits of mantissa."""
    kept = array.view(np.int32) + (1 << (22 - bits))
    return (kept & ~((1 << (23 - bits)) - 1)).view(np.float32)


@pytest.mark.parametrize(
    "weights",
    [
        lambda weight: weight.astype(np.float16).astype(np.float32),
        lambda weight: to_bits(weight, 10),
        lambda weight: to_bits(weight, 13),
        lambda weight: weight * np.float32(1 + 2e-5),
    ],
    ids=["float16", "TF32", "13 bits", "a scale of 1.00002"],
)
def test_mistakes_in_a_wide_layer_are_found(weights, wide):
    report = judged(wide, lambda weight, bias, x: x @ weights(weight).T + bias)
    assert not any(comparison.passed for comparison in report.comparisons)


@pytest.mark.parametrize("shift", [0.0, 3.0], ids=["of any sign", "of one sign"])
@pytest.mark.parametrize("terms", [64, 4096])
def test_noise_of_a_product_is_half_of_what_a_plain_loop_loses(terms, shift):
    random = torch.Generator().manual_seed(0)
    a, b = torch.rand(20, terms, generator=random), torch.randn(terms, 20, generator=random) + shift
    exact = a.double() @ b.double()
    looped = loop(b.T.numpy(), np.zeros(20, np.float32), a.numpy())
    with Rounded(1):
        drawn = torch.mm(a.double(), b.double())
    lost = float((torch.from_numpy(looped).double() - exact).norm())
    entered = float(exact.norm()) * 2.0**-24  # the factors are rounded too
    assert 0.3 * lost < float((drawn - exact).norm()) < 1.0 * lost + 2 * entered


CALLS = {
    "a product": (ATEN.mm.default, [(3, 50), (50, 4)], (), 50),
    "a product and a bias": (ATEN.addmm.default, [(4,), (3, 50), (50, 4)], (), 50),
    "products": (ATEN.bmm.default, [(2, 3, 50), (2, 50, 4)], (), 50),
    "a vector": (ATEN.mv.default, [(3, 50), (50,)], (), 50),
    "a convolution": (ATEN.convolution.default, [(1, 6, 5, 5), (4, 6, 3, 3)], ([1, 1], [1, 1], 0), 54),
    "groups": (ATEN.convolution.default, [(1, 6, 5, 5), (4, 3, 3, 3)], ([1, 1], [0, 0], 2), 27),
    "transposed": (ATEN.convolution.default, [(1, 6, 5, 5), (6, 4, 3, 3)], ([1, 1], [0, 0], 1, True), 54),
    "a sum": (ATEN.sum.dim_IntList, [(3, 50)], ([1],), 50),
    "a mean": (ATEN.mean.dim, [(3, 7, 8, 8)], ([2, 3],), 64),
    "a pool": (ATEN.avg_pool2d.default, [(1, 2, 8, 8)], ([4, 4],), 16),
}


def called(func, shapes, rest):
    random = torch.Generator().manual_seed(0)
    tensors = [torch.randn(shape, generator=random, dtype=torch.float64) for shape in shapes]
    if func is not ATEN.convolution.default:
        return (*tensors, *rest)
    stride, padding, groups, transposed = (*rest, False)[:4]
    return (*tensors, None, stride, padding, [1, 1], transposed, [0, 0], max(groups, 1))


@pytest.mark.parametrize("name", CALLS)
def test_a_sum_is_off_by_what_its_terms_say(name):
    func, shapes, rest, terms = CALLS[name]
    args = called(func, shapes, rest)
    result = func(*args)
    sums = Sums.of(func, args, {}, result)
    assert sums.terms == terms
    ratio = sums.sizes(result) / result.abs()
    assert ratio.min() >= 1.0
    # of random signs: the root of (terms + 1) / 2, of which half counts
    typical = float(sums.sizes(result).square().mean().sqrt() / result.square().mean().sqrt())
    assert typical == pytest.approx(sums.multiple, rel=0.5)


def test_one_term_is_rounded_once_and_what_is_no_sum_is_none():
    one = torch.randn(3, 1, dtype=torch.float64), torch.randn(1, 4, dtype=torch.float64)
    result = torch.mm(*one)
    assert torch.equal(Sums.of(ATEN.mm.default, one, {}, result).sizes(result), result.abs())
    assert Sums.of(ATEN.mul.Tensor, (result, result), {}, result) is None
    assert Sums.of(ATEN.addmm_.default, (result, *one), {}, result) is None
    assert Sums.of(ATEN.mean.dim, (result > 0, [1]), {"dtype": torch.float64}, result[:, 0]) is None
