"""A trace as data: the operators with the tensors that they were given, values and outputs."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Call", "Given", "Trace"]

Array = NDArray[np.generic]


@dataclass(frozen=True, kw_only=True, eq=False)
class Call:
    """One operator that works on something that comes from the inputs, with tensors that do not: a layer, say.

    Attributes:
        name: of the node, `PATH/OPERATOR` where the file tells the module's path.
        tensors: by role, with axes in PyTorch's order: `weight`, `bias`, `running_mean` and `running_var` of an
            operator that is a layer in PyTorch, a number for every other operand.
    """

    name: str
    tensors: Mapping[str, Array]

    @property
    def path(self) -> str:
        """The module's path, or what else stands before the operator."""
        return self.name.partition("/")[0]


@dataclass(frozen=True, kw_only=True, eq=False)
class Given:
    """The tensors that one member gives an artifact's operators.

    Attributes:
        named: by slot, where the artifact holds or computes a value of the slot's name.
        calls: in the order in which they ran.
        loose: other tensors that do not depend on the inputs and have the shape of a slot.
    """

    named: Mapping[str, Array]
    calls: tuple[Call, ...]
    loose: tuple[Array, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """What was observed of one member with one batch.

    Attributes:
        values: floating-point values by name, in the order in which they were computed.
        outputs: by the names that the artifact has for them, or by the bundle's where its runner knows them.
    """

    given: Given
    values: Mapping[str, Array]
    outputs: Mapping[str, Array]
