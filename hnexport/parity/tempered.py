"""An ensemble whose logits are divided by a temperature."""

import copy
import dataclasses
from typing import Any

from torch.utils import _pytree as pytree

from hnexport.bundle.manifest import Temperature
from hnexport.ensemble import Ensemble

__all__ = ["tempered"]


def tempered(ensemble: Ensemble, temperature: Temperature) -> Ensemble:
    """The same ensemble over the same tensors, whose network divides one of its outputs."""
    names = [output.name for output in ensemble.signature.outputs]
    position = names.index(temperature.output)
    kind: Any = type(ensemble.network)

    class Tempered(kind):  # type: ignore[misc]  # the network keeps its modules and their names
        def forward(self, *inputs: Any, **named: Any) -> Any:
            leaves, tree = pytree.tree_flatten(super().forward(*inputs, **named))
            tensors = [number for number, leaf in enumerate(leaves) if leaf is not None]
            leaves[tensors[position]] = leaves[tensors[position]] / temperature.value
            return pytree.tree_unflatten(leaves, tree)

    network = copy.copy(ensemble.network)
    network.__class__ = Tempered
    return dataclasses.replace(ensemble, network=network)
