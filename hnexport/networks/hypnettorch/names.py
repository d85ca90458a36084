"""Names of tensors, from what hypnettorch says about them."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from hnexport.spec import StoredKind

__all__ = ["hypernet_names", "own_name", "weight_names"]

_STATISTIC = re.compile(r"root\.(?:(.+)\.)?_?batchnorm_layers\.(\d+)\.(mean|var)_\d+")
CONTAINER = "hnet"
"""What is called so belongs to the outermost hypernetwork itself."""
_OF_KIND = {StoredKind.BASIS: "basis", StoredKind.BASIS_BIAS: "bias"}
"""As they are called everywhere."""


def weight_names(mnet: nn.Module, weights: Sequence[Tensor]) -> list[str]:
    """Names of the weights that the main network is given: `layer3.weight`, with hypnettorch's number of the layer."""
    metas = _metas(mnet)
    learned = getattr(mnet, "_hyper_shapes_learned_ref", None) or []
    order: Sequence[int] = range(len(weights))
    if len(weights) != len(metas) and len(weights) == len(learned):
        order = learned
    elif len(weights) != len(metas):
        metas = []
    names: list[str] = []
    for number in order:
        names.append(_new(_of_meta(metas[number] if metas else {}, "main"), names))
    return names


def own_name(name: str, taken: Sequence[str]) -> str:
    """The slot's name of a tensor that the main network keeps itself: `norm2.mean` of statistics, else its own path.

    Args:
        name: in `Live.mnet`.
    """
    found = _STATISTIC.fullmatch(name)
    if found is None:
        return _new(f"main.{_plain(name)}", taken)
    return _new(f"{_plain(found[1] or '')}.norm{found[2]}.{found[3]}".lstrip("."), taken)


def hypernet_names(hnet: nn.Module) -> Callable[[str, Tensor, StoredKind], tuple[str, str]]:
    """A function from a tensor's path, the tensor and its kind to its internal hypernetwork and its stored name."""
    known: dict[int, tuple[int, str, str]] = {}
    for path, part in _placed(hnet):
        parameters: Sequence[Tensor] = getattr(part, "_internal_params", None) or []
        for meta in _metas(part):
            if not 0 <= meta.get("index", -1) < len(parameters):
                continue
            label = "_".join(re.findall(r"\d+", path)) or CONTAINER
            found = (path.count("."), label, _of_meta(meta, "plain"))
            key = id(parameters[meta["index"]])
            if key not in known or known[key][0] < found[0]:
                known[key] = found
    taken: list[str] = []

    def name(path: str, tensor: Tensor, kind: StoredKind) -> tuple[str, str]:
        _, label, leaf = known.get(id(tensor), (0, CONTAINER, _plain(path)))
        taken.append(_new(f"hypernet.{label}.{_OF_KIND.get(kind, leaf)}", taken))
        return label, taken[-1]

    return name


def _metas(module: nn.Module) -> Sequence[Any]:
    return getattr(module, "_param_shapes_meta", None) or []


def _of_meta(meta: Any, otherwise: str) -> str:
    kind = re.sub(r"\W", "_", str(meta.get("name") or "weight"))
    if "embedding" in kind or "embedding" in str(meta.get("info")):
        return "chunk_embedding" if "chunk" in str(meta.get("info")) else "embedding"
    layer = meta.get("layer", -1)
    return f"layer{layer}.{kind}" if isinstance(layer, int) and layer >= 0 else f"{otherwise}.{kind}"


def _placed(module: nn.Module, path: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, nn.Module]]:
    """A network and the hypernetworks in it, with the paths of attributes and positions that lead there."""
    seen = set() if seen is None else seen
    if id(module) in seen:
        return
    seen.add(id(module))
    yield path, module
    for name, value in {**vars(module), **module._modules}.items():
        items = enumerate(value) if isinstance(value, list | tuple) else [("", value)]
        for number, item in items:
            if isinstance(item, nn.Module) and hasattr(item, "_param_shapes"):
                yield from _placed(item, f"{path}.{name}.{number}".strip("."), seen)


def _plain(path: str) -> str:
    """A path without underscores before the names, and without what only holds a network."""
    return ".".join(part.lstrip("_") or "_" for part in path.split(".") if part not in ("", "root", "hnet", "main"))


def _new(name: str, taken: Sequence[str]) -> str:
    candidate, number = name, 2
    while candidate in taken:
        candidate, number = f"{name}_{number}", number + 1
    return candidate
