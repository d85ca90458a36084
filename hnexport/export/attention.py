"""Attention in ONNX as PyTorch computes it: a row of the mask that lets nothing be seen gives zeros.

The exporter's own gives NaN there for a mask of numbers, and for one of booleans the mean of all that should be masked.
"""

import functools
from collections.abc import Callable
from typing import Any

import onnxscript
import torch
from onnxscript.function_libs.torch_lib.ops.nn import aten_scaled_dot_product_attention

__all__ = ["TRANSLATIONS"]

op: Any = onnxscript.opset18


def _attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """Rows that see nothing see everything, and their result is multiplied by 0: NaN in a value stays NaN, as there."""
    given = {"dropout_p": dropout_p, "is_causal": is_causal, "scale": scale, "enable_gqa": enable_gqa}
    if attn_mask is None:
        return aten_scaled_dot_product_attention(query, key, value, attn_mask, **given)
    hidden = op.CastLike(op.Constant(value_float=-float("inf")), query)
    zero = op.CastLike(op.Constant(value_float=0.0), query)
    if attn_mask.dtype.name == "BOOL":
        attn_mask = op.Where(attn_mask, zero, hidden)
    allowed = op.CastLike(op.Not(op.Equal(attn_mask, hidden)), query)
    seen = op.ReduceMax(allowed, op.Constant(value_ints=[-1]), keepdims=1)
    attn_mask = op.Where(op.Equal(seen, zero), zero, attn_mask)
    return op.Mul(aten_scaled_dot_product_attention(query, key, value, attn_mask, **given), seen)


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.aten.scaled_dot_product_attention.default: functools.update_wrapper(
        _attention, aten_scaled_dot_product_attention, updated=()
    )
}
"""For `torch.onnx.export`'s `custom_translation_table`."""
