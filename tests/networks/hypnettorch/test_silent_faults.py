"""What leaves no trace in state dicts: with live modules each is what hypnettorch computes, or is refused."""

import contextlib
import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypnettorch.hnets import HMLP
from hypnettorch.mnets import MLP, WRN
from live_pairs import MEMBERS, container, trained
from safetensors.torch import save_file
from thorough import first
from torch import Tensor, nn

from hnexport.build import BuildOptions, ParityFailedError, build
from hnexport.ensemble import Ensemble
from hnexport.errors import CaptureError, CheckpointError, SpecError
from hnexport.networks.wide_resnet.checkpoints import HypnettorchOverrides, import_hypnettorch
from hnexport.parity.trained import NotAsTrainedError, check_trained
from hnexport.spec import Activation


def wide(statistics: int = 1, **settings: Any) -> Any:
    given = {"in_shape": (16, 16, 3), "num_classes": 10, "n": 1, "k": 2, "use_bias": False, "no_weights": True}
    mnet = WRN(**given, use_fc_bias=True, verbose=False, **settings)
    for layer in mnet.batchnorm_layers or []:
        for _ in range(statistics - 1):
            layer.checkpoint_stats()
    return mnet


def pair(assembly: Any = None, statistics: int = 1, network: Any = None, **changes: Any) -> tuple[Any, Any]:
    with contextlib.redirect_stdout(io.StringIO()), torch.random.fork_rng():
        torch.manual_seed(0)
        mnet = wide(statistics, **(network or {}))
        hnet = container(mnet, assembly, **changes)
        trained(hnet, mnet)
    return hnet, mnet


def swapped(generated: Any, shared: list[Tensor], own: list[Tensor]) -> list[Tensor]:
    """Two batch norms of one width, one for the other."""
    return shared[:6] + shared[8:10] + shared[6:8] + shared[10:] + generated[0] + own


def softplus(generated: Any, shared: list[Tensor], own: list[Tensor]) -> list[Tensor]:
    scales = [nn.functional.softplus(t) if number % 2 == 0 else t for number, t in enumerate(shared)]
    return scales + generated[0] + own


def scaled(generated: Any, shared: list[Tensor], own: list[Tensor]) -> list[Tensor]:
    return shared + [0.1 * tensor for tensor in generated[0]] + own


Condition = Callable[[int], int] | None
_HIDDEN: dict[str, Any] = {"layers": [7], "use_bias": True}
FAULTS: dict[str, tuple[dict[str, Any], Condition]] = {
    "as usual": (_HIDDEN, None),
    "Tanh inside": ({**_HIDDEN, "activation_fn": nn.Tanh()}, None),
    "LeakyReLU inside": ({**_HIDDEN, "activation_fn": nn.LeakyReLU(0.2)}, None),
    "kernels are scaled": ({"assembly": scaled}, None),
    "softplus on the scales": ({"assembly": softplus}, None),
    "two batch norms swapped": ({"assembly": swapped}, None),
    "statistics by member": ({"statistics": MEMBERS}, lambda member: member),
    "statistics by member, the other way round": ({"statistics": MEMBERS}, lambda member: MEMBERS - 1 - member),
    "the latest of several statistics": ({"statistics": MEMBERS}, None),
    "one set of statistics more than members": ({"statistics": MEMBERS + 1}, lambda member: member),
    "dropout in the main network": ({"network": {"dropout_rate": 0.3}}, None),
    "dropout inside": ({**_HIDDEN, "dropout_rate": 0.5}, None),
}


def expected(hnet: Any, mnet: Any, condition: Condition, samples: Tensor) -> list[Tensor]:
    for inner in hnet.internal_hnets:  # which eval() does not reach, nor double()
        for part in (inner, *inner._hnets):
            part.eval()
    found = []
    for member in range(MEMBERS):
        chosen = None if condition is None else condition(member)
        with torch.no_grad():
            found.append(mnet.forward(samples, weights=hnet.forward(cond_id=member), condition=chosen))
    return found


@pytest.fixture(scope="module")
def usual() -> Ensemble:
    return Ensemble.from_hypnettorch(*pair(**FAULTS["as usual"][0]), example_inputs={"image": torch.ones(2, 768)})


@pytest.mark.parametrize("name", first(2, FAULTS))
def test_a_live_pair_is_what_hypnettorch_computes(name: str, usual: Ensemble) -> None:
    settings, condition = FAULTS[name]
    hnet, mnet = pair(**settings)
    samples = torch.randn(3, 768, generator=torch.Generator().manual_seed(1))
    ensemble = Ensemble.from_hypnettorch(hnet, mnet, example_inputs={"image": samples[:2]}, condition=condition)
    for member, wanted in enumerate(expected(hnet, mnet, condition, samples)):
        found = ensemble(member, {"image": samples})["output"]
        assert (found - wanted).norm() <= 1e-5 * wanted.norm()
        if name not in ("as usual", "dropout inside"):
            assert (usual(member, {"image": samples})["output"] - wanted).norm() > 1e-2 * wanted.norm()


def test_statistics_by_member_are_the_members_own() -> None:
    hnet, mnet = pair(statistics=MEMBERS)
    found = Ensemble.from_hypnettorch(hnet, mnet, example_inputs=torch.rand(2, 768), condition=lambda member: member)
    stored = {item.name: item.shape for item in found.stored}
    assert stored["member.norm0.mean"] == (MEMBERS, 16)
    assert torch.equal(found.weights(2)["norm0.mean"], mnet.batchnorm_layers[0].get_stats(2)[0])


def test_dropout_that_eval_does_not_reach_is_switched_off_and_said() -> None:
    hnet, mnet = pair(**_HIDDEN, dropout_rate=0.5)
    assert any(inner._dropout.training for inner in hnet.internal_hnets[0]._hnets)
    found = Ensemble.from_hypnettorch(hnet, mnet, example_inputs=torch.rand(2, 768))
    assert "put into evaluation mode inside hnet, which eval() does not reach: Dropout" in found.origin
    assert any(inner._dropout.training for inner in hnet.internal_hnets[0]._hnets)  # the user's own is as it was


def small(**settings: Any) -> tuple[Any, Any]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        mnet = MLP(n_in=8, n_out=4, hidden_layers=[6], no_weights=True, verbose=False, **settings)
        hnet = HMLP(mnet.param_shapes, cond_in_size=3, layers=[5], num_cond_embs=MEMBERS, verbose=False)
        trained(hnet, mnet)
    return hnet, mnet


class Weights(nn.Module):
    """A hypernetwork that someone wrote: its weights, and what is done to them."""

    def __init__(self, change: Callable[[int, list[Tensor]], Any]) -> None:
        super().__init__()
        self.inner, self.mnet = small()
        self.num_known_conds, self._change = MEMBERS, change
        self.eval()

    def forward(self, cond_id: int) -> Any:
        return self._change(cond_id, self.inner.forward(cond_id=cond_id))


def of_value(cond_id: int, weights: list[Tensor]) -> list[Tensor]:
    return [weights[0] * (2 if float(weights[0].detach().sum()) > 0 else 1), *weights[1:]]


WRONG: dict[str, tuple[Callable[[int, list[Tensor]], Any], str]] = {
    "a factor of the member": (
        lambda member, weights: [weights[0] * (member + 1.0), *weights[1:]],
        "hnet with cond_id=1 computes something else than member 0, there can be one graph only: .*2.0",
    ),
    "noise": (
        lambda member, weights: [weights[0] + torch.randn_like(weights[0]), *weights[1:]],
        "draws random numbers",
    ),
    "a number that depends on values": (of_value, "torch.export cannot capture hnet"),
    "one that only the first member has": (
        lambda member, weights: {0: weights}[member],
        r"hnet.forward\(cond_id=1\) fails: KeyError: 1",
    ),
    "too few": (lambda member, weights: weights[:-1], "mnet.forward fails"),
    "no tensors": (lambda member, weights: [None], "returns NoneType, expected tensors"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_hypernetwork_that_is_none_of_tensors_and_the_condition_is_refused(name: str) -> None:
    change, message = WRONG[name]
    hnet = Weights(change)
    with pytest.raises((SpecError, CaptureError), match=message):
        Ensemble.from_hypnettorch(hnet, hnet.mnet, example_inputs=torch.rand(2, 8))


def writes(weights: list[Tensor]) -> list[Tensor]:
    first = weights[0] * 1
    first[:, :3].mul_(2)
    return [first, *weights[1:]]


def test_what_a_hypernetwork_writes_into_its_own_values_is_computed() -> None:
    hnet = Weights(lambda _, weights: writes(weights)).eval()
    found = Ensemble.from_hypnettorch(hnet, hnet.mnet, example_inputs=torch.rand(2, 8))
    for member in range(MEMBERS):
        expected = hnet.mnet.forward(samples := torch.randn(3, 8), weights=hnet.forward(member)).detach()
        assert (found(member, {"x": samples})["output"] - expected).norm() <= 1e-5 * expected.norm()


def hooked() -> Any:
    mnet = small()[1]
    mnet.register_forward_pre_hook(lambda _, given: (2 * given[0], *given[1:]))
    return mnet


class Multiplied(MLP):  # type: ignore[misc]
    """A main network whose condition is a tensor, and which keeps one that it does not register."""

    def __init__(self) -> None:
        super().__init__(n_in=8, n_out=4, hidden_layers=[6], no_weights=True, verbose=False)
        self.plain = [torch.rand(4)]
        self.eval()

    def forward(self, x: Tensor, weights: Any = None, distilled_params: Any = None, condition: Any = None) -> Tensor:
        return super().forward(x, weights=weights) * self.plain[0] * condition  # type: ignore[no-any-return]


def test_a_condition_that_is_a_tensor_is_the_same_for_all_or_refused() -> None:
    hnet, mnet = small()[0], Multiplied()
    same, samples = torch.rand(4), torch.randn(3, 8)
    found = Ensemble.from_hypnettorch(hnet, mnet, example_inputs=torch.rand(2, 8), condition=[same] * MEMBERS)
    for member in range(MEMBERS):
        expected = mnet.forward(samples, weights=hnet.forward(cond_id=member), condition=same).detach()
        assert (found(member, {"x": samples})["output"] - expected).norm() <= 1e-5 * expected.norm()
    others = [torch.rand(4) for _ in range(MEMBERS)]
    with pytest.raises(SpecError, match="differs by condition, and is no parameter or buffer of it: register it"):
        Ensemble.from_hypnettorch(hnet, mnet, example_inputs=torch.rand(2, 8), condition=others)


REFUSED: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "hooks that forward does not run": (lambda: {"mnet": hooked()}, r"mnet has forward hooks, which mnet\(…\) runs"),
    "the other way round": (
        lambda: dict(zip(("mnet", "hnet"), small(), strict=True)),
        "no hypernetwork of hypnettorch",
    ),
    "hnet twice": (lambda: dict.fromkeys(("hnet", "mnet"), small()[0]), "no main network of hypnettorch"),
    "training": (lambda: {"mnet": small(dropout_rate=0.5)[1].train()}, r"mnet \(MLP\) is in training mode.*eval"),
    "too many members": (lambda: {"members": MEMBERS + 1}, "members: expected 1 to 3, the conditions that hnet knows"),
    "two inputs": (lambda: {"example_inputs": (torch.rand(2, 8), torch.rand(2, 8))}, "take one tensor"),
    "another input": (
        lambda: {"example_inputs": torch.rand(2, 9)},
        r"fails with an input of shape \[2, 9\]",
    ),
    "conditions": (lambda: {"condition": [0, 1]}, "condition: expected one for each of 3 members"),
    "statistics of the batch": (
        lambda: {"mnet": small(use_batch_norm=True, bn_track_stats=False)[1]},
        "no running statistics|mnet.forward fails",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_pair_is_refused_by_name(name: str) -> None:
    make, message = REFUSED[name]
    hnet, mnet = small()
    with pytest.raises(SpecError, match=message):
        Ensemble.from_hypnettorch(**{"hnet": hnet, "mnet": mnet, "example_inputs": torch.rand(2, 8), **make()})


def kept(**settings: Any) -> Any:
    """A main network with weights of its own."""
    return MLP(n_in=8, n_out=4, hidden_layers=[6], verbose=False, **settings)


Given = Callable[[Any, list[Tensor]], Any]
_MODULATION = {"use_context_mod": True, "context_mod_no_weights": True}
KEPT: dict[str, tuple[dict[str, Any], slice, Given, Given | None]] = {
    "context modulation alone": (_MODULATION, slice(4), lambda mnet, given: {"mod_weights": given}, None),
    "context modulation alone, in place of one's own": (
        {"use_context_mod": True},
        slice(4),
        lambda mnet, given: {"mod_weights": given},
        None,
    ),
    "all but context modulation": (
        {"use_context_mod": True},
        slice(4, None),
        lambda mnet, given: {"internal_weights": given},
        lambda mnet, given: {"internal_weights": given},
    ),
    "the first layer": (
        {},
        slice(2),
        lambda mnet, given: [*given, *mnet.internal_params[2:]],
        lambda mnet, given: [*given, *mnet.internal_params[2:]],
    ),
    "all, in place of one's own": ({}, slice(None), lambda mnet, given: given, None),
}


@pytest.mark.filterwarnings('ignore:Use attribute "internal_params":DeprecationWarning')  # hypnettorch's, of its own
@pytest.mark.parametrize("name", KEPT)
def test_a_main_network_may_keep_weights_of_its_own(name: str) -> None:
    settings, part, given, said = KEPT[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        mnet = kept(**settings)
        hnet = HMLP(mnet.param_shapes[part], cond_in_size=3, layers=[5], num_cond_embs=MEMBERS, verbose=False)
        trained(hnet, mnet)
    samples = torch.randn(5, 8, generator=torch.Generator().manual_seed(1))
    found = Ensemble.from_hypnettorch(hnet, mnet, example_inputs=samples[:2], weights=said)
    for member in range(MEMBERS):
        with torch.no_grad():
            expected = mnet.forward(samples, weights=given(mnet, hnet.forward(cond_id=member)))
        assert (found(member, {"x": samples})["output"] - expected).norm() <= 1e-5 * expected.norm()
    own = sum(item.slot is not None for item in found.stored)
    assert own == (0 if part == slice(None) else len(mnet.param_shapes) - len(mnet.param_shapes[part]))


def test_a_main_network_that_is_not_given_all_its_weights_is_told_how() -> None:
    mnet = kept()
    hnet = HMLP(mnet.param_shapes[:2], cond_in_size=3, layers=[5], num_cond_embs=MEMBERS, verbose=False)
    with pytest.raises(SpecError, match=r"where it keeps weights of its own, what it gets: weights=lambda mnet, given"):
        Ensemble.from_hypnettorch(hnet.eval(), mnet.eval(), example_inputs=torch.rand(2, 8))


def test_fewer_members_are_the_first_conditions() -> None:
    hnet, mnet = small()
    found = Ensemble.from_hypnettorch(hnet, mnet, example_inputs=torch.rand(2, 8), members=2)
    assert (found.members, found.name) == (2, "mlp-2")
    assert next(item for item in found.stored if item.is_conditional).shape == (2, 3)


def test_training_goes_on_without_the_ensemble() -> None:
    hnet, mnet = small(use_batch_norm=False)
    samples = torch.rand(2, 8)
    found = Ensemble.from_hypnettorch(hnet, mnet, example_inputs=samples)
    before = found.double()(1, {"x": samples.double()})["output"]
    for parameter in hnet.parameters():
        parameter.data.zero_()
    hnet.train()
    assert torch.equal(found.double()(1, {"x": samples.double()})["output"], before)


SEEN_BY_REFERENCE = {
    "Tanh inside",
    "LeakyReLU inside",
    "kernels are scaled",
    "softplus on the scales",
    "two batch norms swapped",
    "statistics by member, the other way round",
    "the latest of several statistics",
}
READ = {"as usual", "statistics by member", "dropout in the main network", "dropout inside"}


@pytest.mark.parametrize("name", FAULTS)
def test_state_dicts_are_what_was_trained_or_not_published(name: str, tmp_path: Path) -> None:
    """Of what leaves no trace in them, a reference tells."""
    settings, condition = FAULTS[name]
    hnet, mnet = pair(**settings)
    samples = torch.randn(4, 16, 16, 3, generator=torch.Generator().manual_seed(1))
    outputs = torch.stack(expected(hnet, mnet, condition, samples.flatten(1)))
    images = samples.permute(0, 3, 1, 2).contiguous()
    save_file({"input.image": images, "output.logits": outputs}, tmp_path / "reference.safetensors")
    options = BuildOptions(reference=tmp_path / "reference.safetensors")
    # An activation has to be said, and may be said wrongly.
    said = HypnettorchOverrides(image_height=16, image_width=16, activation=Activation.RELU)
    try:
        checkpoint = import_hypnettorch(hnet.state_dict(), mnet.state_dict(), overrides=said)
    except CheckpointError:
        assert name == "one set of statistics more than members"
        return
    if name in SEEN_BY_REFERENCE:
        with pytest.raises(NotAsTrainedError):
            build(checkpoint, tmp_path / "bundle", options=options)
        assert not (tmp_path / "bundle").exists()
    else:
        assert name in READ
        assert check_trained(checkpoint.ensemble(), tmp_path / "reference.safetensors").relative_l2 < 1e-5


def test_a_wrong_import_cannot_be_built(tmp_path: Path) -> None:
    """The golden samples come from hypnettorch itself: an ensemble of other weights is not published."""
    hnet, mnet = small()
    found = Ensemble.from_hypnettorch(hnet, mnet, example_inputs=torch.rand(2, 8))
    with torch.no_grad():
        next(found.generator.parameters()).mul_(1.001)
    with pytest.raises(ParityFailedError):
        build(found, tmp_path / "bundle")


def test_a_condition_without_statistics_is_named() -> None:
    hnet, mnet = pair(statistics=MEMBERS)
    with pytest.raises(SpecError, match=r"mnet.forward fails with condition=7: AssertionError; is there a set"):
        Ensemble.from_hypnettorch(hnet, mnet, example_inputs=torch.rand(2, 768), condition=[*range(MEMBERS - 1), 7])


@pytest.mark.parametrize(("statistics", "condition"), [(1, None), (MEMBERS, None), (MEMBERS, lambda k: k)])
def test_one_set_of_statistics_for_kernels_that_differ_is_warned_of(
    statistics: int, condition: Callable[[int], int] | None, caplog: pytest.LogCaptureFixture
) -> None:
    hnet, mnet = pair(statistics=statistics)
    with caplog.at_level(logging.WARNING):
        Ensemble.from_hypnettorch(hnet.eval(), mnet.eval(), example_inputs=torch.zeros(2, 768), condition=condition)
    said = "kernels of their own meet one set of batch-norm statistics (norm0.mean)" in caplog.text
    assert said is (condition is None)
