"""Which generated tensors can be folded: kernels of 2-D convolutions, each chunk of which is theirs alone."""

from collections.abc import Mapping

from hnexport.bundle.manifest import Manifest
from hnexport.errors import TuneError
from hnexport.families import family
from hnexport.hypernet.plan import ChunkPlan, InternalHypernet
from hnexport.spec import Slot

__all__ = ["foldable"]


def foldable(manifest: Manifest) -> tuple[ChunkPlan, Mapping[str, tuple[str, ...]]]:
    """How the bundle's weights are generated, and the kernels of each internal hypernetwork that can be folded.

    Raises:
        TuneError: nothing is generated, or in a way that cannot be folded.
    """
    plan = family(manifest.source.family).plan(manifest.source.spec)
    if manifest.onnx is None or not plan.hypernets:
        raise TuneError(f"{manifest.name} generates no weights from ONNX files: there is nothing to fold")
    own = {slot.name: slot for slot in manifest.slots}
    for name in manifest.onnx.supplied:
        if own[name].dtype != "float32":
            raise TuneError(f"{name} is {own[name].dtype}: only float32 can be folded")
    obstacles = {one.name: _obstacle(one, plan, own) for one in plan.hypernets}
    if all(obstacles.values()):
        raise TuneError(f"{manifest.name} cannot be folded: {next(iter(obstacles.values()))}")
    return plan, {name: _generated(name, plan) for name, obstacle in obstacles.items() if not obstacle}


def _obstacle(internal: InternalHypernet, plan: ChunkPlan, own: Mapping[str, Slot]) -> str:
    """Why what an internal hypernetwork generates cannot be folded; empty where it can."""
    for name in _generated(internal.name, plan):
        assembly = plan.assembly[name]
        if any(piece.size != internal.chunk_size for piece in assembly.pieces):
            return f"{internal.name} generates more than one tensor in a chunk, {name} with others or in part"
        if len(own[name].shape) != 4 or (len(assembly.pieces) > 1 and assembly.axis != 1):
            return f"{name} is generated, and no kernel of a convolution of images"
    return ""


def _generated(hypernet: str, plan: ChunkPlan) -> tuple[str, ...]:
    """The slots that an internal hypernetwork generates."""
    return tuple(slot for slot, item in plan.assembly.items() if item.pieces[0].hypernet == hypernet)
