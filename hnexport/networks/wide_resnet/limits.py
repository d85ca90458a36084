"""How much a bundle's specification may ask for, computed before any table is made of it.

A manifest is a few lines of text, and a specification in it may say anything: a network of a million layers, or one
whose weights fill the memory although the files hold a few kilobytes. What is bounded here is counted with arithmetic
alone, and against the files that the manifest lists. Standard library only.
"""

import math

from hnexport.errors import BundleError
from hnexport.networks.wide_resnet.chunking import count_pieces, plan_chunks
from hnexport.networks.wide_resnet.slots import count_slots, network_slots
from hnexport.networks.wide_resnet.spec import PipelineSpec
from hnexport.spec.bounds import EXPANSION, MAX_SLOTS, SMALL_BYTES

__all__ = ["check_expansion", "check_tables"]


def check_tables(spec: PipelineSpec) -> None:
    """Bound the number of slots, chunks and hidden layers, and with them the time and memory of every table.

    Raises:
        BundleError: there are more than `MAX_SLOTS`.
    """
    hidden = 0 if spec.hypernet is None else len(spec.hypernet.hidden_layers)
    for what, count in (
        ("slots", count_slots(spec.network)),
        ("chunks", count_pieces(spec)),
        ("hidden layers", 12 * hidden),  # of each of at most 12 internal hypernetworks
    ):
        if count > MAX_SLOTS:
            raise BundleError(f"$.spec: asks for {count} {what}, at most {MAX_SLOTS} are read")


def check_expansion(spec: PipelineSpec, listed_bytes: int) -> None:
    """Bound what one member takes in memory: its weights, its chunks, the largest layer's activations of one image.

    Args:
        spec: one that `check_tables` has passed.
        listed_bytes: the sizes of all files that the manifest lists.

    Raises:
        BundleError: it is more than `EXPANSION` times the files and more than `SMALL_BYTES`.
    """
    limit = max(SMALL_BYTES, EXPANSION * listed_bytes)
    hidden = max(spec.hypernet.hidden_layers, default=0) if spec.hypernet is not None else 0
    plan, image = plan_chunks(spec), spec.network.image
    for what, elements in (
        ("the main network's weights", sum(math.prod(slot.shape) for slot in network_slots(spec.network))),
        ("one member's chunks", sum(part.chunks * max(part.chunk_size, hidden) for part in plan.hypernets)),
        ("a layer's output for one image", image.height * image.width * max(image.channels, *spec.network.widths)),
    ):
        if 4 * elements > limit:
            raise BundleError(
                f"$.spec: {what} would take {4 * elements} bytes, at most {limit} are allowed for files of "
                f"{listed_bytes} bytes ({EXPANSION} times as much, or {SMALL_BYTES})"
            )
