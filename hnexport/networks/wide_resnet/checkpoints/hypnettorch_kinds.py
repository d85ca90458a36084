"""State dicts of hypnettorch that are no Wide ResNet's: what they are, and what to give instead.

Standard library only.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["WAY_IN", "other_kind"]

WAY_IN = (
    "give the networks themselves: hnexport build --from FILE.py:NAME, a function that returns (hnet, mnet), or "
    "hnexport.Ensemble.from_hypnettorch(hnet, mnet, example_inputs=…)"
)
_OWN = re.compile(r"_internal_params\.(\d+)")
_INNER = re.compile(r"_hnet\._internal_params\.\d+")


def other_kind(hnet: "Mapping[str, Tensor]", mnet: "Mapping[str, Tensor]") -> str | None:
    """What cannot be read, by name; None where it may be a Wide ResNet's."""
    if hnet and all(name.isdigit() for name in hnet):
        return "hnet is a ParameterList, tensors without a network"
    inner = sum(_INNER.fullmatch(name) is not None for name in hnet)
    own = {int(found[1]): tensor for name, tensor in hnet.items() if (found := _OWN.fullmatch(name))}
    if inner:
        kind = "a ChunkedHMLP" if len(own) > inner else "an HPerturbWrapper around another hypernetwork"
        return f"hnet is {kind}"
    if any(name.startswith("_context_mod_layers") for name in mnet):
        return "mnet has context modulation"
    if sorted(own) != list(range(len(own))) or any(name.startswith("_batchnorm_layers") for name in hnet):
        return None  # one is missing, or named in the message already
    return _with_embeddings([tuple(own[number].shape) for number in sorted(own)])


def _with_embeddings(shapes: Sequence[tuple[int, ...]]) -> str | None:
    """A hypernetwork of an embedding `[size]` for each condition: these come first, then its layers `[out, in]`."""
    members = next((number for number, shape in enumerate(shapes) if shape != shapes[0]), len(shapes))
    if not shapes or len(shapes[0]) != 1 or members == len(shapes) or len(shapes[members]) != 2:
        return None
    layers: list[tuple[int, ...]] = list(shapes[members:])
    size = shapes[0][0]
    while layers and len(layers[0]) == 2 and layers[0][1] == size:
        size = layers.pop(0)[0]
        if layers[:1] == [(size,)]:
            layers.pop(0)
    if len(layers) == len(shapes) - members:
        return "hnet takes an embedding of the condition beside others (cond_in_size above 0)"
    return "hnet is a container around an HMLP" if layers else "hnet is an HMLP"
