"""The state dicts of a hypnettorch ensemble in files as people have them.

Networks may be wrapped (DataParallel, torch.compile, a module of both, …) and lie in containers beside anything else;
`places` finds them. Which one is which is said by its names or by what it holds. Where several could be meant, the
error names them, and a prefix says which.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from hnexport.errors import CheckpointError
from hnexport.networks.wide_resnet.checkpoints.files import existing_file
from hnexport.networks.wide_resnet.checkpoints.listing import option
from hnexport.networks.wide_resnet.checkpoints.network_file import NetworkFile

__all__ = ["StateDicts", "read_state_dicts"]


@dataclass(frozen=True, kw_only=True)
class StateDicts:
    """What a hypnettorch checkpoint holds.

    Attributes:
        hnet: the hypernetwork's state dict.
        mnet: the main network's, which holds the batch-norm statistics; None where there is none.
        origin: one line, for instance `hypnettorch ensemble.pt (sha256 …)`.
        read: what was read and what else there is, for messages.
    """

    hnet: Mapping[str, Tensor]
    mnet: Mapping[str, Tensor] | None
    origin: str
    read: str = ""


def read_state_dicts(
    checkpoint: str | os.PathLike[str] | None = None,
    *,
    hnet: str | os.PathLike[str] | None = None,
    mnet: str | os.PathLike[str] | None = None,
    hnet_prefix: str | None = None,
    mnet_prefix: str | None = None,
) -> StateDicts:
    """Read the two state dicts from one file, or from one file each.

    A file holds them under any names, in containers and behind the prefixes of wrapper modules, beside anything else
    (optimizer, criterion, epoch). A `checkpoint` that holds a single state dict is the hypernetwork's. A network that
    is there twice with the same numbers is read once; where several differ, `hnet_prefix` and `mnet_prefix` say which.

    Args:
        checkpoint: one file with both networks.
        hnet: the hypernetwork's file.
        mnet: the main network's.
        hnet_prefix: what stands in front of the hypernetwork's tensor names, dotted, through the file's containers
            (`state_dict.model.hnet`).
        mnet_prefix: the same for the main network's.

    Raises:
        CheckpointError: a file is missing, damaged, holds no such state dict, or several that could be meant; or
            `checkpoint` was given together with `hnet` or `mnet`, or neither.
    """
    either = CheckpointError(
        "name either one checkpoint with both networks, or the hypernetwork's and the main network's"
    )
    if checkpoint is not None and hnet is not None:
        raise either
    if checkpoint is not None and mnet is not None:
        raise CheckpointError(
            f"{mnet}: the main network's file goes with the hypernetwork's, not with a common checkpoint"
        )
    prefixes = {name: text for name, text in (("hnet", hnet_prefix), ("mnet", mnet_prefix)) if text is not None}
    if checkpoint is not None:
        file = NetworkFile.read(existing_file(checkpoint))
        found = file.networks(prefixes)
        return StateDicts(hnet=found["hnet"], mnet=found.get("mnet"), origin=file.origin(prefixes), read=file.listing)
    if hnet is None:
        raise either
    if mnet is None and mnet_prefix is not None:
        raise CheckpointError(f"{option('mnet', mnet_prefix)} goes with the main network's file: give that too")
    paths = {"hnet": existing_file(hnet)} | ({} if mnet is None else {"mnet": existing_file(mnet)})
    files = {name: NetworkFile.read(path) for name, path in paths.items()}
    single = {name: file.network(name, prefixes.get(name)) for name, file in files.items()}
    origins = [file.origin({name: prefixes[name]} if name in prefixes else {}) for name, file in files.items()]
    return StateDicts(
        hnet=single["hnet"],
        mnet=single.get("mnet"),
        origin=" and ".join([origins[0], *(origin.removeprefix("hypnettorch ") for origin in origins[1:])]),
        read="; ".join(f"{name}: {file.listing}" for name, file in files.items()),
    )
