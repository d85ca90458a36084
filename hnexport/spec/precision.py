"""The arithmetic that an artifact is computed in. Standard library only."""

from enum import StrEnum

__all__ = ["Precision"]


class Precision(StrEnum):
    """The arithmetic. Whatever is coarser than `float32` is a choice to make by name.

    `tf32` rounds the factors of convolutions and products to 10 bits of mantissa, on CUDA; `float16` stores everything
    in as many, and has on CUDA a graph of its own that `hnexport tune --precision float16` makes; `bfloat16` has 7
    bits. OpenVINO computes in either where the processor does. `int8` is for members on the CPU, materialised over
    graphs that `hnexport tune --precision int8` made.
    """

    FLOAT32 = "float32"
    TF32 = "tf32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    INT8 = "int8"
