"""The hypernetwork of a specification: where slots come from, and how chunks are generated."""

from dataclasses import dataclass
from enum import StrEnum

from hnexport.spec.checks import require_kind, require_positive, require_tuple

__all__ = ["Activation", "BasisDtype", "Chunking", "HypernetSpec", "Source"]


class Source(StrEnum):
    """Where a tensor of the main network comes from."""

    SHARED = "shared"
    MEMBER = "member"
    GENERATED = "generated"


class Chunking(StrEnum):
    """How a planner cuts a layer group's kernels into chunks.

    As published, by greatest common divisors, or in halves, as the template banks of the late-phase code do.
    """

    PUBLISHED = "published"
    GCD = "gcd"
    HALVES = "halves"


class Activation(StrEnum):
    """The activation between the hidden layers of an internal hypernetwork."""

    RELU = "relu"
    TANH = "tanh"
    SIGMOID = "sigmoid"
    ELU = "elu"
    NONE = "none"


class BasisDtype(StrEnum):
    """How the bases, the last layers of the internal hypernetworks, are stored.

    Whatever it is, they are multiplied in float32: `float16` halves what is stored, `int8` takes about a quarter and
    `int4` about a seventh of it, and the model is that of the rounded bases; see `hnexport.spec.bases`.
    """

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"
    INT4 = "int4"


@dataclass(frozen=True, kw_only=True)
class HypernetSpec:
    """The structured chunked hypernetwork: one internal hypernetwork for each chunk shape.

    Attributes:
        chunking: how kernels are cut into chunks.
        embedding_sizes: one for each internal hypernetwork, in their order; None takes the published sizes.
        hidden_layers: sizes of each internal hypernetwork's hidden layers; empty means linear.
        bias: whether the internal hypernetworks' layers have biases.
        activation: between hidden layers.
        basis_dtype: of the bases alone; every other tensor is float32.
    """

    chunking: Chunking = Chunking.PUBLISHED
    embedding_sizes: tuple[int, ...] | None = None
    hidden_layers: tuple[int, ...] = ()
    bias: bool = False
    activation: Activation = Activation.RELU
    basis_dtype: BasisDtype = BasisDtype.FLOAT32

    def __post_init__(self) -> None:
        require_kind("chunking", self.chunking, Chunking)
        require_kind("activation", self.activation, Activation)
        require_kind("basis_dtype", self.basis_dtype, BasisDtype)
        if self.embedding_sizes is not None:
            require_tuple("embedding_sizes", self.embedding_sizes)
            require_positive("embedding_sizes", self.embedding_sizes)
        require_tuple("hidden_layers", self.hidden_layers)
        require_positive("hidden_layers", self.hidden_layers)
