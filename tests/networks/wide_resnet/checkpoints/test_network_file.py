"""Checkpoints as people have them: networks in wrappers and containers, beside anything, once or more often."""

import argparse
import builtins
import itertools
import logging
import pathlib
import re
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypnettorch_ensembles import Case, Ensemble, build
from thorough import first, only
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from hnexport.errors import CheckpointError
from hnexport.networks.wide_resnet.checkpoints import StateDicts, load_hypnettorch, read_state_dicts
from hnexport.networks.wide_resnet.checkpoints.places import role
from hnexport.spelling import in_command

StateDict = Mapping[str, Tensor]

WRAPPERS = ("module.", "model.", "net.", "_orig_mod.")
NESTED = ("", *WRAPPERS, *map("".join, itertools.permutations(WRAPPERS, 2)), "".join(WRAPPERS), "module._orig_mod." * 2)


@pytest.fixture(scope="module")
def ensemble() -> Ensemble:
    return build(Case(k=1, members=2, in_shape=(8, 8, 3)))


@pytest.fixture(scope="module")
def hnet(ensemble: Ensemble) -> StateDict:
    return shortened(ensemble.state_dicts()["hnet"])


@pytest.fixture(scope="module")
def mnet(ensemble: Ensemble) -> StateDict:
    return shortened(ensemble.state_dicts()["mnet"])


def shortened(state: StateDict) -> dict[str, Tensor]:
    """The same names with a few numbers each: where a tensor lies does not depend on its size."""
    return {name: tensor.flatten()[:2].clone() for name, tensor in state.items()}


def behind(prefix: str, state: StateDict) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def trained_further(state: StateDict) -> dict[str, Tensor]:
    return {name: tensor * 1.5 if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def read(folder: Path, content: object, **prefixes: str) -> StateDicts:
    torch.save(content, folder / "ensemble.pt")
    return read_state_dicts(folder / "ensemble.pt", **prefixes)


def is_same(found: StateDict | None, expected: StateDict) -> bool:
    assert found is not None
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("around", only(NESTED, "", "module.", "model.net.", "module.model.net._orig_mod."))
def test_wrappers_around_each_network_and_around_both_are_seen_through(
    around: str, hnet: StateDict, mnet: StateDict, tmp_path: Path
) -> None:
    for other in ("", "module.", "_orig_mod.module.", "model.net."):
        for content in (
            {"hnet": behind(around, hnet), "mnet": behind(other, mnet)},
            {"hnet": behind(other, hnet), "mnet": behind(around, mnet)},
            behind(around, {**behind(f"hnet.{other}", hnet), **behind("mnet.", mnet)}),
            {"state_dict": {**behind(f"{around}hnet.", hnet), **behind(f"{around}mnet.{other}", mnet)}},
        ):
            found = read(tmp_path, content)
            assert is_same(found.hnet, hnet), list(content)
            assert is_same(found.mnet, mnet), list(content)


def test_wrappers_around_some_tensors_of_a_network_alone_are_seen_through(
    hnet: StateDict, mnet: StateDict, tmp_path: Path
) -> None:
    prefixes = itertools.cycle(("module.", "", "_orig_mod.module."))
    content = {
        network: {f"{next(prefixes)}{name}": tensor for name, tensor in state.items()}
        for network, state in (("hnet", hnet), ("mnet", mnet))
    }
    found = read(tmp_path, content)
    assert is_same(found.hnet, hnet)
    assert is_same(found.mnet, mnet)
    alone = {name: tensor for state in ({}, content["hnet"]) for name, tensor in state.items()}
    assert is_same(read(tmp_path, alone).hnet, hnet)


@pytest.mark.each_once
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("hnet_state_dict", "mnet_state_dict"),
        ("hypernetwork", "main_network"),
        ("hypernet", "target_net"),
        ("hyper_network_state", "mainnet"),
        ("HyperNetwork", "MainNetwork"),
        ("best_hnet", "best_mnet"),
        ("h_net", "m_net"),
        ("hyper", "main"),
        ("a", "b"),
    ],
)
@pytest.mark.parametrize("outer", [(), ("state_dict",), ("checkpoint", "model_state_dict"), ("a", "b", "state")])
def test_networks_are_found_by_any_name_in_any_container(
    outer: tuple[str, ...], first: str, second: str, hnet: StateDict, mnet: StateDict, tmp_path: Path
) -> None:
    for inner in ((), ("state_dict",), ("module",)):
        content: dict[str, Any] = {}
        for name, state in ((second, mnet), (first, hnet)):
            content[name] = dict(state)
            for key in inner:
                content[name] = {key: content[name]}
        for key in reversed(outer):
            content = {"epoch": 3, key: content}
        found = read(tmp_path, content)
        assert is_same(found.hnet, hnet)
        assert is_same(found.mnet, mnet)
    assert is_same(read(tmp_path, {"nets": [dict(mnet), dict(hnet)]}).hnet, hnet)


class Options(dict[str, int]):
    """As argument parsers of training scripts make them."""


class Everything(nn.Module):
    """A training script's module of everything."""

    def __init__(self, ensemble: Ensemble) -> None:
        super().__init__()
        self.hnet, self.mnet = ensemble.hnet, ensemble.mnet
        self.criterion = nn.CrossEntropyLoss(weight=torch.ones(10))


def surroundings(hnet: nn.Module) -> dict[str, Any]:
    """What training scripts keep beside their networks."""
    optimizer = torch.optim.Adam(hnet.parameters(), lr=1e-3)
    for parameter in hnet.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = [parameter.detach().clone() for parameter in hnet.parameters()]
    optimizer.step()
    hnet.zero_grad()
    with torch.no_grad():
        for parameter, value in zip(hnet.parameters(), before, strict=True):
            parameter.copy_(value)
    by_name = {f"hnet.{name}": {"exp_avg": tensor, "step": 1} for name, tensor in hnet.state_dict().items()}
    return {
        "optimizer": optimizer.state_dict(),
        "hnet_optimizer_state_dict": optimizer.state_dict(),
        "optim": {"state": by_name},
        "scheduler": torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=9).state_dict(),
        "scaler": torch.amp.GradScaler("cpu").state_dict(),
        "criterion": nn.CrossEntropyLoss(weight=torch.ones(3)).state_dict(),
        "n_averaged": torch.tensor(7),
        "epoch": 3,
        "mnet_ema": None,
        "hnet_config": {"layers": [10, 10], "lr": 0.1},
        "hyper_parameters": {"seed": 1},
        "rng": torch.get_rng_state(),
        "losses": [0.5] * 10,
        "args": argparse.Namespace(lr=0.1, out=pathlib.PurePosixPath("runs")),
        "options": Options(seed=3),
        "best": np.float64(0.9),
        "curve": np.arange(3.0),
        "log": defaultdict(list, {"loss": [1.0]}),
    }


def test_other_entries_of_any_kind_beside_the_networks_are_left_alone(
    ensemble: Ensemble, hnet: StateDict, mnet: StateDict, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    others = surroundings(ensemble.hnet)
    for content in ({"hnet": hnet, "mnet": mnet}, {**behind("hnet.", hnet), **behind("mnet.", mnet)}):
        for beside in ({name: value} for name, value in others.items()):
            assert is_same(read(tmp_path, {**beside, **content}).hnet, hnet), list(beside)
        found = read(tmp_path, {**others, **content})
        assert is_same(found.hnet, hnet)
        assert is_same(found.mnet, mnet)
        inside = read(tmp_path, {"state_dict": {**others, **content}, **others})
        assert is_same(inside.hnet, hnet)
    assert not [line for line in caplog.messages if "rng'" not in line]


def test_averaged_and_compiled_modules_with_their_criterion_are_read(ensemble: Ensemble, tmp_path: Path) -> None:
    hnet, mnet = ensemble.state_dicts().values()
    everything = Everything(ensemble)
    averaged = AveragedModel(everything).state_dict()
    for content in (
        averaged,
        {"state_dict": behind("_orig_mod.", averaged)},
        {name.replace("module.", ""): tensor for name, tensor in averaged.items()},
        {network: AveragedModel(getattr(ensemble, network)).state_dict() for network in ("hnet", "mnet")},
        {"hnet": {**hnet, "n_averaged": torch.tensor(1), "criterion.weight": torch.ones(3), "epoch": 3}, "mnet": mnet},
        torch.compile(everything).state_dict(),  # type: ignore[attr-defined] # what a test or a tool reaches for there
    ):
        found = read(tmp_path, content)
        assert is_same(found.hnet, hnet)
        assert is_same(found.mnet, mnet)


def test_a_tensor_that_may_be_part_of_a_network_is_never_dropped_in_silence(
    hnet: StateDict, mnet: StateDict, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    inside = {"hnet": {**hnet, "scale": torch.ones(1)}, "mnet": mnet}
    torch.save(inside, tmp_path / "inside.pt")
    with pytest.raises(CheckpointError, match=r"'scale' belongs to nothing.*inside\.pt holds 'hnet' \(\d+ tensors\)"):
        load_hypnettorch(tmp_path / "inside.pt")
    with caplog.at_level(logging.WARNING):
        read(tmp_path, {**behind("all.hnet.", hnet), **behind("all.mnet.", mnet), "all.temperature": torch.ones(1)})
    assert "tensors beside the networks are not used: 'all.temperature' (1 tensor)" in caplog.text


def test_several_networks_are_a_question_and_a_prefix_is_the_answer(
    hnet: StateDict, mnet: StateDict, tmp_path: Path
) -> None:
    other = {"hnet": trained_further(hnet), "mnet": trained_further(mnet)}
    content = {
        "state_dict": {**behind("model.hnet.", hnet), **behind("model.mnet._orig_mod.", mnet), "epoch": 3},
        "ema": other,
        "optimizer": {"state": {0: torch.ones(1)}},
    }
    with pytest.raises(CheckpointError, match="2 places could be the hypernetwork") as raised:
        read(tmp_path, content)
    for part in (
        "2 places could be the hypernetwork (hnet): 'state_dict.model.hnet' (",
        "say which: hnet_prefix='state_dict.model.hnet' or hnet_prefix='ema.hnet'",
        "2 places could be the main network (mnet): 'state_dict.model.mnet._orig_mod' (",
        "say which: mnet_prefix='state_dict.model.mnet._orig_mod' or mnet_prefix='ema.mnet'",
        "'state_dict.epoch' (int), 'ema.hnet' (",
        "'optimizer' (1 tensor)",
    ):
        assert part in str(raised.value)
    with in_command(), pytest.raises(CheckpointError, match=r"say which: --hnet-prefix state_dict\.model\.hnet or"):
        read(tmp_path, content)
    with pytest.raises(CheckpointError, match="places could be the main network") as raised:
        read(tmp_path, content, hnet_prefix="ema.hnet")
    assert "could be the hypernetwork" not in str(raised.value)
    for prefix in ("ema", "ema.", "ema.hnet", "ema.hnet."):
        found = read(tmp_path, content, hnet_prefix=prefix, mnet_prefix=prefix.replace("hnet", "mnet"))
        assert is_same(found.hnet, other["hnet"])
        assert is_same(found.mnet, other["mnet"])
    for prefix in ("state_dict.model", "model", "state_dict", "model.hnet."):
        found = read(tmp_path, content, hnet_prefix=prefix, mnet_prefix=prefix.replace("hnet", "mnet"))
        assert is_same(found.hnet, hnet)
        assert is_same(found.mnet, mnet)
    assert found.origin.endswith("), hnet from 'model.hnet.', mnet from 'model.mnet.'")


@pytest.mark.parametrize(
    "copies",
    [
        ("hnet", "hnet_ema"),
        ("hnet", "ema.hnet"),
        ("a", "b"),
        ("hnets.0", "hnets.1"),
        ("module", "model"),
        ("", "module"),
    ],
)
def test_copies_with_other_numbers_are_asked_for_and_equal_ones_are_not(
    copies: tuple[str, str], hnet: StateDict, mnet: StateDict, tmp_path: Path
) -> None:
    prefixes = [f"{copy}." if copy else "" for copy in copies]
    one, other = (behind(prefix, hnet) for prefix in prefixes)
    assert is_same(read(tmp_path, {"mnet": mnet, "all": {**one, **other}}).hnet, hnet)
    cloned = {name: tensor.clone() for name, tensor in other.items()}
    assert is_same(read(tmp_path, {"mnet": mnet, "all": {**one, **cloned}}).hnet, hnet)
    content = {"mnet": mnet, "all": {**one, **trained_further(other)}}
    with pytest.raises(CheckpointError, match="2 places could be the hypernetwork"):
        read(tmp_path, content)
    exact = ".".join(("all", copies[0])) if copies[0] else "all"
    assert is_same(read(tmp_path, content, hnet_prefix=exact).hnet, hnet)


def test_a_copy_that_nothing_calls_a_network_is_named_in_a_warning(
    hnet: StateDict, mnet: StateDict, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = {"hnet": hnet, "mnet": mnet, "ema": {"decay": 0.9, "shadow": trained_further(hnet)}}
    with caplog.at_level(logging.WARNING):
        assert is_same(read(tmp_path, content).hnet, hnet)
    assert len(caplog.messages) == 1
    read(tmp_path, content, hnet_prefix="hnet")
    assert len(caplog.messages) == 1, "who has chosen need not be told"
    assert re.search(r"'ema\.shadow' \(\d+ tensors\) is not used; .* say hnet_prefix='ema\.shadow'", caplog.text)


def test_two_unnamed_networks_without_batch_norm_are_not_told_apart_by_guessing(tmp_path: Path) -> None:
    built = build(Case(k=1, members=2, in_shape=(8, 8, 3), use_batch_norm=False, use_bias=True))
    states = built.state_dicts()
    content = {"a": states["hnet"], "b": states["mnet"]}
    with pytest.raises(
        CheckpointError, match=r"'a' \(\d+ tensors\), 'b' \(\d+ tensors\); say which: hnet_prefix='a' or"
    ):
        read(tmp_path, content)
    found = read(tmp_path, content, hnet_prefix="a", mnet_prefix="b")
    assert is_same(found.hnet, states["hnet"])
    assert is_same(found.mnet, states["mnet"])


def test_each_network_s_own_file_may_be_wrapped_too_and_has_its_own_prefix(
    hnet: StateDict, mnet: StateDict, tmp_path: Path
) -> None:
    torch.save({"model": behind("module.", hnet), "ema": trained_further(hnet)}, tmp_path / "h.pt")
    torch.save({"epoch": 1, "state_dict": {**behind("mnet.", mnet), **behind("hnet.", hnet)}}, tmp_path / "m.pt")
    paths: dict[str, Any] = {"hnet": tmp_path / "h.pt", "mnet": tmp_path / "m.pt"}
    with pytest.raises(CheckpointError, match=r"h\.pt: 2 places could be .* hnet_prefix='model\.module' or"):
        read_state_dicts(**paths)
    found = read_state_dicts(**paths, hnet_prefix="model")
    assert is_same(found.hnet, hnet)
    assert is_same(found.mnet, mnet)
    assert "m.pt (sha256 " in found.origin
    with pytest.raises(CheckpointError, match="mnet_prefix='x' goes with the main network's file"):
        read_state_dicts(hnet=paths["hnet"], hnet_prefix="model", mnet_prefix="x")


def test_a_prefix_that_leads_nowhere_is_refused_with_what_there_is(
    hnet: StateDict, mnet: StateDict, tmp_path: Path
) -> None:
    message = (
        r"hnet_prefix='x': no tensors of hypnettorch lie there; ensemble\.pt holds 'hnet' \(\d+ tensors\).* say hnet"
    )
    with pytest.raises(CheckpointError, match=message):
        read(tmp_path, {"hnet": hnet, "mnet": mnet}, hnet_prefix="x")


@pytest.mark.parametrize(
    ("content", "listed"),
    [
        ({"state_dict": {"conv.weight": torch.ones(1), "fc.bias": torch.ones(1)}}, "'state_dict.conv' (1 tensor), "),
        ({"mnet": {"_batchnorm_layers.0.mean_0": torch.ones(1)}, "epoch": 3}, "'mnet' (1 tensor), 'epoch' (int)"),
        ({f"entry {number}": number for number in range(100)}, " and 88 more"),
        ({"args": argparse.Namespace(), "log": [1, 2]}, "'args' (argparse.Namespace), 'log' (list)"),
    ],
)
def test_a_file_without_a_hypernetwork_is_refused_with_what_it_holds(
    content: object, listed: str, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "ensemble.pt")
    with pytest.raises(CheckpointError, match=re.escape(listed)):
        load_hypnettorch(tmp_path / "ensemble.pt")


def endless() -> dict[str, Any]:
    """Containers that hold themselves."""
    content: dict[str, Any] = {"mnet": {}}
    content["hnet"] = content
    return content


def exponential() -> dict[str, Any]:
    content: dict[str, Any] = {"a": torch.ones(1)}
    for _ in range(9):
        content = {str(number): content for number in range(10)}
    return content


@pytest.mark.parametrize(
    "made",
    first(1, [endless, exponential, lambda: {f"{number}._internal_params.0": torch.ones(1) for number in range(2000)}]),
    ids=["endless", "exponential", "thousands of networks"],
)
def test_containers_without_end_are_refused(made: Callable[[], dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"ensemble\.pt: "):
        read(tmp_path, made())


class Calls:
    """A pickle that calls a function with an argument."""

    def __init__(self, function: Callable[..., Any], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def test_code_beside_the_networks_never_runs(hnet: StateDict, mnet: StateDict, tmp_path: Path) -> None:
    bait = tmp_path / "ran"
    code = f"open({str(bait)!r}, 'w').close()"
    content = {"hnet": hnet, "mnet": mnet, "x": Calls(builtins.exec, code), "y": Calls(builtins.eval, code)}
    assert is_same(read(tmp_path, content).hnet, hnet)
    assert not bait.exists()
    torch.load(tmp_path / "ensemble.pt", weights_only=False)  # the bait works
    assert bait.exists()


def test_state_dicts_in_mappings_of_any_class_are_read(hnet: StateDict, mnet: StateDict, tmp_path: Path) -> None:
    kinds: tuple[Callable[[Any], Any], ...] = (OrderedDict, Options, lambda state: defaultdict(dict, state))
    for kind in kinds:
        found = read(tmp_path, kind({"hnet": kind(hnet), "mnet": kind(mnet)}))
        assert is_same(found.hnet, hnet)
        assert is_same(found.mnet, mnet)


@pytest.mark.parametrize(
    "name", ["hyper_parameters", "hyperparams", "model", "net", "optimizer", "domain", "chn", "hmm"]
)
def test_a_name_that_speaks_of_no_network_has_no_role(name: str) -> None:
    assert role(name) is None
