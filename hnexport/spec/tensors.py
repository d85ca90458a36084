"""The tensors of an ensemble, as data: what the graph takes and gives, the network's slots, and what is stored."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from hnexport.errors import SpecError
from hnexport.names import MEMBER_PREFIX, SHARED_PREFIX
from hnexport.records import SPARSE
from hnexport.spec.checks import require

__all__ = [
    "BATCH",
    "MEMBER",
    "OutputKind",
    "OutputSpec",
    "Signature",
    "Slot",
    "StoredKind",
    "StoredTensor",
    "TensorSpec",
    "stored_as",
]

BATCH = "batch"
"""The name of the axis along which samples lie. Where a tensor has it, it is the first, or stands after `MEMBER`."""
MEMBER = "member"
"""The name of the axis along which members lie."""

_ITEM_BYTES: Mapping[str, int] = MappingProxyType(
    {
        **dict.fromkeys(("bool", "int8", "uint8"), 1),
        **dict.fromkeys(("int16", "uint16", "float16", "bfloat16"), 2),
        **dict.fromkeys(("int32", "uint32", "float32"), 4),
        **dict.fromkeys(("int64", "uint64", "float64"), 8),
    }
)
FLOATING = ("float16", "bfloat16", "float32", "float64")


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """Name, dtype (numpy's and PyTorch's name of it) and shape; a string in `shape` is an axis of any size.

    Attributes:
        name: of the input or output.
        dtype: numpy's and PyTorch's name of it.
        shape: a number is a size, a text an axis of any size; axes of one name have one size, and `batch` is the
            samples'.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def __post_init__(self) -> None:
        require(self.dtype in _ITEM_BYTES, f"{self.name}: there is no dtype {self.dtype!r}")
        require(
            all(isinstance(size, str) or size >= 0 for size in self.shape),
            f"{self.name}: sizes must be at least 0, found {list(self.shape)}",
        )
        require(
            BATCH not in self.shape[1:] or self.shape[0] == MEMBER,
            f"{self.name}: the batch must be the first axis, found {list(self.shape)}",
        )

    @property
    def is_floating(self) -> bool:
        """Whether its elements are floating-point numbers, which can be NaN."""
        return self.dtype in FLOATING

    @property
    def has_batch(self) -> bool:
        """Whether its first axis is the batch."""
        return self.shape[:1] == (BATCH,)

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return _ITEM_BYTES[self.dtype]

    @property
    def row(self) -> tuple[int | str, ...]:
        """The shape of one sample: without the batch axis."""
        return self.shape[1:] if self.has_batch else self.shape


class OutputKind(StrEnum):
    """What an output means, and so what an ensemble says of several members.

    `logits` have classes along one axis: members are averaged after a softmax, and disagree by entropies. Of a `value`
    there are mean and variance over the members (where it is floating-point).
    """

    LOGITS = "logits"
    VALUE = "value"


@dataclass(frozen=True, kw_only=True)
class OutputSpec(TensorSpec):
    """An output of the network.

    Attributes:
        kind: what it means.
        axis: of `logits` the axis with the classes, from the start; None for a `value`.
    """

    kind: OutputKind = OutputKind.VALUE
    axis: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind is OutputKind.VALUE:
            require(self.axis is None, f"{self.name}: a value has no axis of classes")
            return
        require(
            self.axis is not None and self.has_batch <= self.axis < len(self.shape),
            f"{self.name}: logits need an axis of classes among {list(self.shape)}, found {self.axis}",
        )
        require(self.is_floating, f"{self.name}: logits must be floating-point numbers, found {self.dtype}")


@dataclass(frozen=True, kw_only=True)
class Signature:
    """What a network takes and gives, by name and in order; the condition id is not among the inputs.

    Attributes:
        conditions: the names of the inputs that the generator takes beside the condition id. They come first, are
            floating-point, and have neither a batch axis nor another one of any size.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[OutputSpec, ...]
    conditions: tuple[str, ...] = field(default=(), metadata=SPARSE)

    def __post_init__(self) -> None:
        names = [tensor.name for tensor in (*self.inputs, *self.outputs)]
        twice = next((name for name in names if names.count(name) > 1), None)
        require(twice is None, f"the name {twice!r} stands twice among inputs and outputs")
        require(bool(self.outputs), "a network needs an output")
        require(
            any(output.is_floating for output in self.outputs),
            "no output is floating-point: a condition id that does not exist could not be told; "
            "return the logits or another floating-point output too",
        )
        first = self.inputs[: len(self.conditions)]
        require(
            self.conditions == tuple(item.name for item in first),
            f"the conditions {', '.join(self.conditions)} must be the first inputs, found {', '.join(names)}",
        )
        for item in first:
            require(
                item.is_floating and not any(isinstance(size, str) for size in item.shape),
                f"the condition {item.name} must be floating-point with fixed sizes, found {item.dtype} "
                f"{list(item.shape)}",
            )

    @property
    def of_generator(self) -> tuple[TensorSpec, ...]:
        """The inputs that the generator takes beside the condition id."""
        return self.inputs[: len(self.conditions)]

    @property
    def of_network(self) -> tuple[TensorSpec, ...]:
        """The inputs that the network takes."""
        return self.inputs[len(self.conditions) :]

    @property
    def materialised(self) -> "Signature":
        """That of a network whose weights are made: without the conditions."""
        return Signature(inputs=self.of_network, outputs=self.outputs)

    def output(self, name: str) -> OutputSpec:
        """An output by its name.

        Raises:
            SpecError: there is none.
        """
        for found in self.outputs:
            if found.name == name:
                return found
        raise SpecError(f"there is no output {name!r}, only {', '.join(output.name for output in self.outputs)}")


@dataclass(frozen=True, kw_only=True)
class Slot:
    """One tensor of the main network, whose value a generator gives.

    Attributes:
        name: its path in the network, for instance `group1.block2.conv1.weight`.
        dtype: of its elements.
        shape: of the tensor.
        trained: whether training changes it by gradient: parameters, not statistics.
        alias_of: the slot that it is tied to; the two are one tensor. None for a tensor of its own.
    """

    name: str
    dtype: str = "float32"
    shape: tuple[int, ...]
    trained: bool = True
    alias_of: str | None = None

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """Bytes of its elements."""
        return self.size * _ITEM_BYTES[self.dtype]


class StoredKind(StrEnum):
    """What a stored tensor is for.

    `shared` and `member` fill a slot; of a `member` and of an `embedding` the first axis is the member. All others are
    a hypernetwork's.
    """

    BASIS = "basis"
    BASIS_SCALES = "basis-scales"
    BASIS_BIAS = "basis-bias"
    HIDDEN = "hidden"
    HIDDEN_BIAS = "hidden-bias"
    EMBEDDING = "embedding"
    SHARED = "shared"
    MEMBER = "member"


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """One tensor that the generator stores.

    Attributes:
        name: its name in the generator's state dict, in checkpoints and in the ONNX files.
        dtype: of its elements.
        shape: where it belongs to each member, the first axis is the member.
        kind: what it is for.
        hypernet: the internal hypernetwork it belongs to, by name, or None.
        slot: the main network's slot that it fills, by name, or None.
        trained: whether training changes it by gradient.
    """

    name: str
    dtype: str = "float32"
    shape: tuple[int, ...]
    kind: StoredKind
    hypernet: str | None = None
    slot: str | None = None
    trained: bool = True

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """Bytes of its elements."""
        return self.size * _ITEM_BYTES[self.dtype]

    @property
    def is_conditional(self) -> bool:
        """Whether its first axis is the member."""
        return self.kind in (StoredKind.EMBEDDING, StoredKind.MEMBER)


def stored_as(slot: Slot, members: int, *, shared: bool) -> StoredTensor:
    """How a slot is stored that nothing generates: once for all members, or with the member as the first axis."""
    return StoredTensor(
        name=f"{SHARED_PREFIX if shared else MEMBER_PREFIX}{slot.name}",
        dtype=slot.dtype,
        shape=slot.shape if shared else (members, *slot.shape),
        kind=StoredKind.SHARED if shared else StoredKind.MEMBER,
        slot=slot.name,
        trained=slot.trained,
    )
