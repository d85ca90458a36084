"""How a loaded PyTorch program is called: which arguments it has, in which order and nesting, and what it returns.

The programs of bundles are `(cond_id, *inputs)`; those of others may take them in another order, by keyword or in a
dict, and return them as a tuple, a named tuple or a dict.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from hnexport.parity.matching import match_inputs
from hnexport.parity.signature import Declared, GraphSignature, SignatureError
from hnexport.programs.tracing import is_scripted

__all__ = ["Call", "find_call", "has_recurrent", "named_outputs"]

_RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu")
_MEMBERS_OWN = (
    "; a member's own program is judged by what it returns: `hnexport golden BUNDLE --out FOLDER --members 3`"
)


@dataclass(frozen=True, kw_only=True)
class Call:
    """How a program is called.

    Attributes:
        function: takes the values, the condition id and then the network's inputs in the signature's order.
        inputs: those of the network as the program declares them, in that order; empty where it declares none.
        defaults: arguments besides, which have a default.
    """

    function: Callable[[Sequence[Tensor]], Any]
    inputs: tuple[Declared, ...] = ()
    defaults: tuple[str, ...] = ()

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The batch size that is declared as a number, if one is."""
        found = (item.shape[0] for item in self.inputs if item.shape)
        return tuple(dict.fromkeys(size for size in found if isinstance(size, int)))[:1]


def find_call(path: str, module: torch.nn.Module, signature: GraphSignature) -> Call:
    """Find out how a program is called.

    Raises:
        SignatureError: it cannot be called with a condition id and the bundle's inputs.
    """
    if is_scripted(module):
        return _scripted(path, module, signature)
    if isinstance(module, torch.fx.GraphModule):
        return _exported(path, module, signature)
    return Call(function=lambda values: module(*values))


def has_recurrent(module: torch.nn.Module) -> bool:
    """Whether a program calls a recurrent layer as one operator."""
    if is_scripted(module):
        graph: Any = module.inlined_graph
        return any(graph.findAllNodes(f"aten::{name}", recurse=True) for name in _RECURRENT)
    targets = [str(node.target) for node in getattr(module, "graph", torch.fx.Graph()).nodes]
    return any(target.startswith(f"aten.{name}.") for target in targets for name in _RECURRENT)


def named_outputs(path: str, result: Any) -> tuple[dict[str, Tensor], bool]:
    """The tensors that a program returns, by name, and whether the names are its own.

    A lone tensor has the name "", those of a plain tuple are numbered; inside a dict or another tuple names are joined
    by dots.

    Raises:
        SignatureError: it returns something else than tensors.
    """
    if isinstance(result, Tensor):
        return {"": result}, False
    found = dict(_leaves(result))
    if not found or not all(isinstance(value, Tensor) for value in found.values()):
        raise SignatureError(
            f"{path} returns {type(result).__name__} and not tensors: export it so that it returns the outputs alone"
        )
    return found, isinstance(result, Mapping) or hasattr(result, "_fields")


def _leaves(result: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(result, Mapping):
        pairs = [(str(name), value) for name, value in result.items()]
    elif isinstance(result, tuple | list):
        names = getattr(result, "_fields", None) or [f"output {number}" for number in range(len(result))]
        pairs = list(zip(names, result, strict=True))
    else:
        yield prefix, result
        return
    for name, value in pairs:
        yield from _leaves(value, f"{prefix}.{name}" if prefix else name)


def _scripted(path: str, module: Any, signature: GraphSignature) -> Call:
    """TorchScript declares names and defaults, neither dtypes nor shapes."""
    methods = module._c._method_names()
    entry: Any = module.forward if "forward" in methods else getattr(module, "ensemble", None)
    wanted = [item.name for item in signature.inputs]
    if not hasattr(entry, "schema"):
        raise SignatureError(
            f"{path} has no method forward: export the module that has one, ({', '.join(wanted)}) -> "
            f"{', '.join(item.name for item in signature.outputs)}"
        )
    arguments = entry.schema.arguments[1:]
    needed, further = arguments[: len(wanted)], arguments[len(wanted) :]
    if len(needed) < len(wanted):
        found = ", ".join(item.name for item in arguments) or "none"
        raise SignatureError(
            f"{path}: expected the inputs {' and '.join(wanted)}, found {found}; the condition id seems baked in"
            + (_MEMBERS_OWN if len(needed) == len(wanted) - 1 else "")
        )
    lacking = [item.name for item in further if not item.has_default_value()]
    if lacking:
        what = "the id and the image" if signature.takes_images else ", ".join(wanted)
        raise SignatureError(f"{path} needs {', '.join(lacking)} besides {what}: give it a default")
    order = _order([item.name for item in needed], wanted[1:])
    run = module if "forward" in methods else entry
    return Call(
        function=lambda values: run(*(values[at] for at in order)), defaults=tuple(item.name for item in further)
    )


def _order(names: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """For each argument which of the values (condition id, inputs) it takes: by name where all of them are there."""
    if not set(wanted) <= set(names):
        return list(range(len(names)))
    return [1 + wanted.index(name) if name in wanted else 0 for name in names]


def _exported(path: str, module: torch.fx.GraphModule, signature: GraphSignature) -> Call:
    """A `torch.export` program declares all: its arguments are the leaves of a tree of positions, names and dicts."""
    nodes = [node for node in module.graph.nodes if node.op == "placeholder"]
    values = [node.meta.get("val") for node in nodes]
    spec = getattr(module, "_in_spec", None)
    names = _argument_names([node.name for node in nodes], spec)
    if not all(isinstance(value, Tensor) for value in values):
        return Call(function=lambda given: module(*given))
    if len(nodes) != len(signature.inputs):
        own = len(nodes) == len(signature.inputs) - 1
        raise SignatureError(
            f"{path}: expected the inputs {' and '.join(item.name for item in signature.inputs)}, found "
            f"{', '.join(names) or 'none'}; export it with these, and anything else as constants"
            + (_MEMBERS_OWN if own else "")
        )
    declared = [
        Declared(name=name, dtype=_dtype(value), shape=tuple(_size(axis) for axis in value.shape))
        for name, value in zip(names, values, strict=True)
        if isinstance(value, Tensor)
    ]
    matched = match_inputs(path, declared, signature)
    order = [(matched.cond_id, *matched.inputs).index(item) for item in declared]

    def run(given: Sequence[Tensor]) -> Any:
        flat = [given[at] for at in order]
        if spec is None:
            return module(*flat)
        arguments, keywords = pytree.tree_unflatten(flat, spec)
        return module(*arguments, **keywords)

    return Call(function=run, inputs=matched.inputs)


def _argument_names(nodes: Sequence[str], spec: Any) -> list[str]:
    """The keys of dicts and keywords, and elsewhere the graph's own names."""
    if spec is None or spec.num_leaves != len(nodes):
        return list(nodes)
    paths, _ = pytree.tree_flatten_with_path(pytree.tree_unflatten(list(nodes), spec))
    return [str(getattr(path[-1], "key", name)) for path, name in paths]


def _size(axis: Any) -> int | str | None:
    return axis if isinstance(axis, int) else None


def _dtype(value: Any) -> str:
    return str(value.dtype).removeprefix("torch.")
