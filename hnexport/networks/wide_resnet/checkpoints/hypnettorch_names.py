"""The names in hypnettorch's state dicts: which tensor is which, and which are the same tensor under another name.

`_internal_params.N` holds every trained tensor once, in order. `_layer_weight_tensors.N`, `_layer_bias_vectors.N` and,
in the main network, `_batchnorm_layers.N.scale`, `.bias` and `._weights.N` are other names for some of them; where the
file has these, they must agree.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hnexport.errors import CheckpointError
from hnexport.networks.wide_resnet.checkpoints.hypnettorch_kinds import WAY_IN

__all__ = ["HypernetState", "MainState", "hypernet_state", "main_state"]

_UNSUPPORTED = {
    "_context_mod_layers": "context modulation",
    "_batchnorm_layers": "batch norm between the hidden layers",
}
_NORM = re.compile(r"_batchnorm_layers\.(\d+)\.(?:(mean|var)_(\d+)|(scale|bias|_num_stats|_weights\.[01]))")
_LISTED = re.compile(r"(_internal_params|_layer_weight_tensors|_layer_bias_vectors)\.(\d+)")

Statistics = tuple[tuple[Tensor, Tensor], ...]


@dataclass(frozen=True, kw_only=True)
class HypernetState:
    """The hypernetwork's tensors in order, and their other names."""

    params: tuple[Tensor, ...]
    weights: Mapping[int, Tensor]
    biases: Mapping[int, Tensor]

    def check_duplicates(self, *, weights: Sequence[int], biases: Sequence[int]) -> None:
        """Check the other names of the internal hypernetworks' weights and biases, given their positions in `params`.

        Raises:
            CheckpointError: two tensors that should be one differ.
        """
        for names, positions, copies in (
            ("_layer_weight_tensors", weights, self.weights),
            ("_layer_bias_vectors", biases, self.biases),
        ):
            for number, copy in copies.items():
                _check_copy("hnet", f"{names}.{number}", copy, dict(enumerate(positions)).get(number), self.params)


@dataclass(frozen=True, kw_only=True)
class MainState:
    """The main network's own tensors in order (none with `no_weights`), and its batch-norm statistics.

    Attributes:
        copies: other names, and the position in `params` of the tensor that they stand for.
        statistics: for each batch norm, its sets of running mean and variance.
    """

    params: tuple[Tensor, ...]
    copies: Mapping[str, tuple[int | None, Tensor]]
    statistics: tuple[Statistics, ...]

    def check_duplicates(self) -> None:
        """Check the other names of the main network's own tensors.

        Raises:
            CheckpointError: two tensors that should be one differ.
        """
        for name, (position, copy) in self.copies.items():
            _check_copy("mnet", name, copy, position, self.params)


def hypernet_state(state: Mapping[str, Tensor]) -> HypernetState:
    """Sort the tensors of an `HContainer` or a `StructuredHMLP`.

    Raises:
        CheckpointError: a name is not one of theirs, or a number is left out.
    """
    if any(name.startswith("_batchnorm_layers.0.mean_") for name in state) and "_internal_params.0" not in state:
        raise CheckpointError("hnet: this is a main network's state dict; expected the hypernetwork's")
    lists: dict[str, dict[int, Tensor]] = {
        "_internal_params": {},
        "_layer_weight_tensors": {},
        "_layer_bias_vectors": {},
    }
    for name, tensor in state.items():
        match = _LISTED.fullmatch(name)
        if match is None:
            raise CheckpointError(_unknown("hnet", name))
        lists[match[1]][int(match[2])] = tensor
    return HypernetState(
        params=_in_order("hnet", lists["_internal_params"]),
        weights=lists["_layer_weight_tensors"],
        biases=lists["_layer_bias_vectors"],
    )


def main_state(state: Mapping[str, Tensor]) -> MainState:
    """Sort the tensors of a `WRN`; `state` is empty where it has neither weights nor batch norm.

    Raises:
        CheckpointError: a name is not one of its names, a number is left out, or no batch-norm statistics were tracked.
    """
    params: dict[int, Tensor] = {}
    listed: list[tuple[str, int, Tensor]] = []
    norms: dict[int, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        if match := _LISTED.fullmatch(name):
            if match[1] == "_internal_params":
                params[int(match[2])] = tensor
            else:
                listed.append((match[1], int(match[2]), tensor))
        elif match := _NORM.fullmatch(name):
            norms.setdefault(int(match[1]), {})[name.split(".", 2)[2]] = tensor
        else:
            raise CheckpointError(_unknown("mnet", name))
    ordered = _in_order("mnet", params) if params else ()
    positions = _main_positions(ordered, norms=len(norms))
    copies = {f"{name}.{number}": (positions.get((name, number)), tensor) for name, number, tensor in listed}
    for layer, tensors in norms.items():
        for name, tensor in tensors.items():
            if name in ("scale", "bias", "_weights.0", "_weights.1"):
                second = name in ("bias", "_weights.1")
                copies[f"_batchnorm_layers.{layer}.{name}"] = (2 * layer + second, tensor)
    return MainState(params=ordered, copies=copies, statistics=_statistics(norms))


def _main_positions(params: Sequence[Tensor], *, norms: int) -> dict[tuple[str, int], int]:
    """Where the layer lists' tensors stand in `params`; the shortcuts keep an empty place in the list of biases."""
    weights = [i for i, tensor in enumerate(params) if tensor.ndim > 1]
    biases = [i for i, tensor in enumerate(params) if tensor.ndim == 1 and i >= 2 * norms]
    shortcuts = sum(tuple(params[i].shape[2:]) == (1, 1) for i in weights)
    return {("_layer_weight_tensors", number): i for number, i in enumerate(weights)} | {
        ("_layer_bias_vectors", number): i for number, i in enumerate(biases, start=shortcuts)
    }


def _statistics(norms: Mapping[int, Mapping[str, Tensor]]) -> tuple[Statistics, ...]:
    statistics: list[Statistics] = []
    for layer in range(len(norms)):
        if layer not in norms:
            raise CheckpointError(
                f"mnet tensor '_batchnorm_layers.{layer}.mean_0' is missing: later batch norms are there"
            )
        statistics.append(_layer_statistics(f"mnet tensor '_batchnorm_layers.{layer}.", norms[layer]))
        if len(statistics[layer]) != len(statistics[0]):
            raise CheckpointError(
                f"mnet tensor '_batchnorm_layers.{layer}.mean_{min(len(statistics[0]), len(statistics[layer]))}': "
                f"expected {len(statistics[0])} sets of statistics, as batch norm 0 has, found {len(statistics[layer])}"
            )
    return tuple(statistics)


def _layer_statistics(where: str, tensors: Mapping[str, Tensor]) -> Statistics:
    names = {name for name in tensors if name.startswith(("mean_", "var_"))}
    if not names:
        raise CheckpointError(
            f"{where}mean_0' is missing: batch norm tracked no running statistics (bn_track_stats=False), so "
            "predictions depend on the other images in the batch, and such a network cannot be exported. Train with "
            "tracked statistics, or set bn_track_stats=True and run the trained network in training mode over some "
            "training images"
        )
    count = tensors.get("_num_stats")
    if count is None:
        raise CheckpointError(f"{where}_num_stats' is missing: expected the number of sets of statistics")
    if count.numel() != 1 or count.is_floating_point() or count.is_complex():
        raise CheckpointError(
            f"{where}_num_stats': expected one integer, found {count.dtype} of shape {list(count.shape)}"
        )
    sets = max(int(count), (len(names) + 1) // 2) if 0 <= int(count) <= len(names) else (len(names) + 1) // 2
    expected = [f"{kind}_{number}" for number in range(sets) for kind in ("mean", "var")]
    for name in (*expected, *sorted(names)):
        if name not in tensors or name not in expected:
            what = "is missing" if name in expected else "belongs to no set"
            raise CheckpointError(f"{where}{name}' {what}: expected statistics 0 to {sets - 1}, mean and var of each")
    if int(count) != sets:
        raise CheckpointError(
            f"{where}_num_stats': expected {sets}, the sets of statistics there are, found {int(count)}"
        )
    for number in range(sets):
        mean, variance = tuple(tensors[f"mean_{number}"].shape), tuple(tensors[f"var_{number}"].shape)
        if mean != variance or len(mean) != 1:
            raise CheckpointError(
                f"{where}mean_{number}' and {where.removeprefix('mnet tensor ')}var_{number}': "
                f"expected one axis of the same length, found shapes {list(mean)} and {list(variance)}"
            )
    return tuple((tensors[f"mean_{number}"], tensors[f"var_{number}"]) for number in range(sets))


def _in_order(network: str, numbered: Mapping[int, Tensor]) -> tuple[Tensor, ...]:
    for number in range(max(1, len(numbered))):
        if number not in numbered:
            raise CheckpointError(f"{network} tensor '_internal_params.{number}' is missing")
    return tuple(numbered[number] for number in range(len(numbered)))


def _unknown(network: str, name: str) -> str:
    for start, feature in _UNSUPPORTED.items():
        if name.startswith(start):
            return f"{network} tensor {name!r}: {feature} is not supported in state dicts; {WAY_IN}"
    kind = "an HContainer or a StructuredHMLP" if network == "hnet" else "a WRN"
    return f"{network} tensor {name!r} belongs to nothing: expected the state dict of {kind} of hypnettorch 0.0.4"


def _check_copy(network: str, name: str, copy: Tensor, position: int | None, params: Sequence[Tensor]) -> None:
    if position is None or position >= len(params):
        raise CheckpointError(f"{network} tensor {name!r} belongs to nothing: there is no such layer")
    param = params[position]
    if copy.shape != param.shape:
        raise CheckpointError(
            f"{network} tensor {name!r}: expected shape {list(param.shape)}, that of '_internal_params.{position}', "
            f"found {list(copy.shape)}"
        )
    same = copy.data_ptr() == param.data_ptr() and copy.stride() == param.stride() and copy.dtype == param.dtype
    if not same and not torch.equal(copy, param):
        raise CheckpointError(
            f"{network} tensor {name!r}: expected the values of '_internal_params.{position}', which is the same "
            "tensor in hypnettorch, found others; the checkpoint was edited in only one of the places"
        )
