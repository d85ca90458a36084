"""Half precision where it is fast and harmless: in the factors of convolutions and matrix products.

What is between them, and what they give, stays float32: norms, softmax and sums of residuals lose nothing, and nothing
leaves the range of float16. Weights that only products read are stored in half precision.
"""

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

__all__ = ["narrow_products"]

_aten = torch.ops.aten
_PRODUCTS = (
    *(_aten.conv1d.default, _aten.conv1d.padding, _aten.conv2d.default, _aten.conv2d.padding),
    *(_aten.conv3d.default, _aten.conv3d.padding, _aten.convolution.default),
    *(_aten.conv_transpose1d.default, _aten.conv_transpose2d.input, _aten.conv_transpose3d.input),
    *(_aten.linear.default, _aten.addmm.default, _aten.mm.default, _aten.bmm.default, _aten.baddbmm.default),
    *(_aten.matmul.default, _aten.scaled_dot_product_attention.default),
)


def narrow_products(module: GraphModule, dtype: torch.dtype) -> int:
    """Let a graph's convolutions and matrix products compute in `dtype`; how many there are.

    Args:
        module: a graph of ATen operators; it is changed.
    """
    narrowed: dict[Node, Node] = {}
    products = [node for node in module.graph.nodes if node.op == "call_function" and node.target in _PRODUCTS]
    found = 0
    for node in products:
        given = [one for one in node.all_input_nodes if _dtype(module, one) is torch.float32]
        if not given or _dtype(module, node) is not torch.float32:
            continue
        found += 1
        for one in given:
            if one not in narrowed:
                narrowed[one] = _narrow(module, one, dtype)
            node.replace_input_with(one, narrowed[one])
        with module.graph.inserting_after(node):
            wide = module.graph.call_function(_aten.to.dtype, (node, torch.float32))
        wide.meta["val"] = node.meta["val"]
        narrowed[wide] = node  # another product takes it as it is
        node.replace_all_uses_with(wide, delete_user_cb=lambda user, own=wide: user is not own)
    return found


def _narrow(module: GraphModule, node: Node, dtype: torch.dtype) -> Node:
    if node.op != "get_attr":
        with module.graph.inserting_after(node):
            return module.graph.call_function(_aten.to.dtype, (node, dtype))
    name = f"half_{str(node.target).replace('.', '_')}"
    module.register_buffer(name, _held(module, node).detach().to(dtype))
    with module.graph.inserting_before(node):
        return module.graph.get_attr(name)


def _dtype(module: GraphModule, node: Node) -> torch.dtype | None:
    value = _held(module, node) if node.op == "get_attr" else node.meta.get("val")
    return value.dtype if isinstance(value, Tensor) else None


def _held(module: GraphModule, node: Node) -> Any:
    found: Any = module
    for part in str(node.target).split("."):
        found = getattr(found, part)
    return found
