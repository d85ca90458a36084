"""Import of ensembles that were trained with hypnettorch 0.0.4: two state dicts in, a checkpoint out."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from hnexport.errors import CheckpointError
from hnexport.networks.wide_resnet.checkpoints.checkpoint import Checkpoint
from hnexport.networks.wide_resnet.checkpoints.conversion import check_dtype, float32, note_conversion
from hnexport.networks.wide_resnet.checkpoints.hypnettorch_inference import (
    Evidence,
    HypnettorchOverrides,
    Reading,
    infer,
)
from hnexport.networks.wide_resnet.checkpoints.hypnettorch_kinds import WAY_IN, other_kind
from hnexport.networks.wide_resnet.checkpoints.hypnettorch_names import (
    HypernetState,
    MainState,
    hypernet_state,
    main_state,
)
from hnexport.networks.wide_resnet.checkpoints.hypnettorch_order import main_order, norm_order
from hnexport.networks.wide_resnet.checkpoints.hypnettorch_statistics import statistics_sets, warn_of_statistics
from hnexport.networks.wide_resnet.checkpoints.state_dicts import read_state_dicts
from hnexport.networks.wide_resnet.storage import stored_tensors
from hnexport.spec import Source, StoredKind
from hnexport.spec.assumed import Assumed
from hnexport.spec.usage import Usage
from hnexport.spelling import spelled

__all__ = ["import_hypnettorch", "load_hypnettorch"]


def load_hypnettorch(
    checkpoint: str | os.PathLike[str] | None = None,
    *,
    hnet: str | os.PathLike[str] | None = None,
    mnet: str | os.PathLike[str] | None = None,
    hnet_prefix: str | None = None,
    mnet_prefix: str | None = None,
    overrides: HypnettorchOverrides | None = None,
) -> Checkpoint:
    """Read a hypnettorch ensemble from one file with both state dicts, or from one file for each network.

    `hnet_prefix` and `mnet_prefix` say which networks are meant where a file holds several; see `read_state_dicts`.

    Raises:
        CheckpointError: a file cannot be read, or the tensors are not those of an ensemble that hnexport knows.
        SpecError: the overrides contradict each other.
    """
    states = read_state_dicts(checkpoint, hnet=hnet, mnet=mnet, hnet_prefix=hnet_prefix, mnet_prefix=mnet_prefix)
    try:
        return import_hypnettorch(states.hnet, states.mnet, overrides=overrides, origin=states.origin)
    except CheckpointError as error:
        raise CheckpointError(f"{error} ({states.read})") from error


def import_hypnettorch(
    hnet: Mapping[str, Tensor],
    mnet: Mapping[str, Tensor] | None,
    *,
    overrides: HypnettorchOverrides | None = None,
    origin: str = "hypnettorch state dicts",
) -> Checkpoint:
    """Turn the state dicts of a hypernetwork (`HContainer` or `StructuredHMLP`) and of its `WRN` into a checkpoint.

    What the specification needs is inferred from the tensors' shapes and order; see
    `hypnettorch_inference` for how, and for what stays ambiguous. The tensors are copied to float32.

    Args:
        hnet: the hypernetwork's state dict.
        mnet: the main network's state dict, for its batch-norm statistics; None or empty for a network without batch
            norm.
        overrides: what is known about the ensemble; the rest is inferred.
        origin: one line that says where the state dicts came from.

    Raises:
        CheckpointError: a tensor is missing, unknown, of an unexpected shape or dtype, not finite, or contradicts an
            override; or no batch-norm statistics were tracked.
        SpecError: the overrides contradict each other.
    """
    overrides = overrides or HypnettorchOverrides()
    try:
        return _imported(hnet, mnet or {}, overrides, origin)
    except CheckpointError as error:
        kind = other_kind(hnet, mnet or {})
        if kind is None:
            raise
        raise CheckpointError(
            f"{kind}: state dicts say enough only where mnet is a WRN, and hnet an HContainer or a StructuredHMLP as "
            f"wrn_chunking sets it up; {WAY_IN}"
        ) from error


def _imported(
    hnet: Mapping[str, Tensor], mnet: Mapping[str, Tensor], overrides: HypnettorchOverrides, origin: str
) -> Checkpoint:
    for network, state in (("hnet", hnet), ("mnet", mnet)):
        _check_dtypes(network, state)
    hypernet, main = hypernet_state(hnet), main_state(mnet)
    evidence = Evidence(
        hypernet=tuple(tuple(tensor.shape) for tensor in hypernet.params),
        main=tuple(tuple(tensor.shape) for tensor in main.params),
        norms=tuple(tuple(statistics[0][0].shape) for statistics in main.statistics),
    )
    reading = infer(evidence, overrides)
    sets = statistics_sets(main, reading.spec.members, overrides.statistics)
    spec = replace(reading.spec, member_statistics=len(sets) > 1)
    tensors = _hypernet_tensors(reading, hypernet.params)
    if reading.shared_in_main:
        tensors |= _main_tensors(reading, main)
    tensors |= _statistics(replace(reading, spec=spec), main, sets)
    _check_duplicates(reading, hypernet, main)
    _check_activation(reading, overrides)
    note_conversion(origin, (*hypernet.params, *main.params))
    order = [stored.name for stored in stored_tensors(spec)]
    found = Checkpoint(
        spec=spec,
        tensors={name: tensors[name] for name in order},
        origin=origin,
        usage=Usage(assumed=tuple(_assumed(reading, main, overrides))),
    )
    warn_of_statistics(origin, main, found, sets)
    return found


def _assumed(reading: Reading, main: MainState, overrides: HypnettorchOverrides) -> Iterator[Assumed]:
    """What neither a tensor nor the overrides say, and the checkpoint needs."""
    if overrides.image_height is None or overrides.image_width is None:
        yield Assumed.IMAGE_SIZE
    yield Assumed.NORMALISATION
    yield Assumed.ASSEMBLY
    network, hidden = reading.spec.network, reading.spec.recipe.output is Source.GENERATED and not main.params
    said = overrides.classes is not None or overrides.output_bias is not None
    if hidden and network.output_bias and not said and network.classes % network.widths[-1] == 0:
        yield Assumed.CLASSES


def _check_activation(reading: Reading, overrides: HypnettorchOverrides) -> None:
    """Any activation between hidden layers gives numbers, and only one of them is right: nobody guesses."""
    hypernet = reading.spec.hypernet
    if hypernet is not None and hypernet.hidden_layers and overrides.activation is None:
        raise CheckpointError(
            f"hnet: the internal hypernetworks have hidden layers {list(hypernet.hidden_layers)}, and no tensor says "
            f"which activation is between them: say {spelled('activation=Activation.RELU', '--activation relu')}, "
            "hypnettorch's default, or the one that was set"
        )


def _check_duplicates(reading: Reading, hypernet: HypernetState, main: MainState) -> None:
    """Check that tensors which hypnettorch keeps under several names agree."""
    bias = (StoredKind.HIDDEN_BIAS, StoredKind.BASIS_BIAS)
    hypernet.check_duplicates(
        weights=[i for i, tensor in enumerate(reading.expected) if tensor.transposed],
        biases=[i for i, tensor in enumerate(reading.expected) if tensor.stored.kind in bias],
    )
    main.check_duplicates()


def _check_dtypes(network: str, state: Mapping[str, Tensor]) -> None:
    for name, tensor in state.items():
        if not name.endswith("._num_stats"):
            check_dtype(f"{network} tensor {name!r}", tensor)


def _hypernet_tensors(reading: Reading, params: Sequence[Tensor]) -> dict[str, Tensor]:
    """The tensors of the hypernetwork's state dict, as they are stored."""
    tensors: dict[str, Tensor] = {}
    for index, (expected, found) in enumerate(zip(reading.expected, params, strict=True)):
        name = expected.stored.name
        where = f"hnet tensor '_internal_params.{index}' ({expected.description})"
        if expected.member is None:
            tensors[name] = float32(where, found.t() if expected.transposed else found)
            continue
        if name not in tensors:
            tensors[name] = torch.empty(expected.stored.shape)
        tensors[name][expected.member] = float32(where, found)
    return tensors


def _main_tensors(reading: Reading, main: MainState) -> dict[str, Tensor]:
    """The shared tensors that are the main network's own weights."""
    shared = {
        stored.slot: stored.name
        for stored in stored_tensors(reading.spec)
        if stored.slot is not None and stored.kind is StoredKind.SHARED
    }
    return {
        shared[slot.name]: float32(f"mnet tensor '_internal_params.{index}' ({slot.name})", found)
        for index, (slot, found) in enumerate(zip(main_order(reading.spec.network), main.params, strict=True))
        if slot.name in shared
    }


def _statistics(reading: Reading, main: MainState, sets: Sequence[int]) -> dict[str, Tensor]:
    """Batch-norm statistics, shared or one set for each member, by stored name."""
    tensors = {}
    for layer, slots in enumerate(norm_order(reading.spec.network)):
        for kind, slot in enumerate(slots):
            found = []
            for number in sets:
                where = f"mnet tensor '_batchnorm_layers.{layer}.{('mean', 'var')[kind]}_{number}' ({slot.name})"
                tensor = main.statistics[layer][number][kind]
                if tuple(tensor.shape) != slot.shape:
                    raise CheckpointError(f"{where}: expected shape {list(slot.shape)}, found {list(tensor.shape)}")
                found.append(float32(where, tensor, lowest=0.0 if kind else -math.inf))
            source = Source.MEMBER if reading.spec.member_statistics else Source.SHARED
            tensors[f"{source}.{slot.name}"] = torch.stack(found) if len(sets) > 1 else found[0]
    return tensors
