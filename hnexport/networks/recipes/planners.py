"""Planners: from the slots that are generated to a chunk plan. Standard library only."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from hnexport.errors import SpecError
from hnexport.hypernet.plan import Assembly, ChunkPlan, InternalHypernet, Piece
from hnexport.networks.recipes.recipe import ModuleRecipe, Planner
from hnexport.spec import Slot

__all__ = ["plan_chunks"]


def plan_chunks(recipe: ModuleRecipe, generated: Sequence[Slot]) -> ChunkPlan:
    """The chunk plan of slots in their order; empty where there are none.

    Raises:
        SpecError: an embedding size is for no internal hypernetwork.
    """
    return _sized(recipe, _planned(recipe, generated) if generated else ChunkPlan())


def _planned(recipe: ModuleRecipe, generated: Sequence[Slot]) -> ChunkPlan:
    match recipe.planner:
        case Planner.BY_SHAPE:
            return _by_shape(recipe, generated)
        case Planner.WHOLE:
            return _end_to_end(recipe, generated, sum(slot.size for slot in generated))
        case Planner.FLAT:
            return _end_to_end(recipe, generated, min(recipe.chunk_size, sum(slot.size for slot in generated)))


def _sized(recipe: ModuleRecipe, plan: ChunkPlan) -> ChunkPlan:
    """The plan with the embedding sizes that the recipe has for single internal hypernetworks."""
    sizes, deciding = recipe.embedding_sizes, {}
    for hypernet in plan.hypernets:
        pattern = next((pattern for pattern in sizes if fnmatchcase(hypernet.name, pattern)), None)
        if pattern is not None:
            deciding[hypernet.name] = pattern
    idle = next((pattern for pattern in sizes if pattern not in deciding.values()), None)
    if idle is not None:
        known = ", ".join(hypernet.name for hypernet in plan.hypernets) or "none"
        raise SpecError(f"embedding_sizes: {idle!r} decides for no internal hypernetwork; there are {known}")
    hypernets = (
        dataclasses.replace(item, embedding_size=sizes[deciding[item.name]]) if item.name in deciding else item
        for item in plan.hypernets
    )
    return dataclasses.replace(plan, hypernets=tuple(hypernets))


def _by_shape(recipe: ModuleRecipe, generated: Sequence[Slot]) -> ChunkPlan:
    """An internal hypernetwork for each shape of a chunk, in the order in which slots have them first."""
    chunks: dict[tuple[int, ...], int] = {}
    assembly = {}
    for slot in generated:
        parts = _parts(slot.shape, recipe.chunk_size)
        shape = slot.shape if parts == 1 else (slot.shape[0], slot.shape[1] // parts, *slot.shape[2:])
        first = chunks.get(shape, 0)
        chunks[shape] = first + parts
        pieces = (
            Piece(hypernet=_name(shape), chunk=chunk, offset=0, shape=shape) for chunk in range(first, first + parts)
        )
        assembly[slot.name] = Assembly(pieces=tuple(pieces), axis=None if parts == 1 else 1)
    hypernets = (
        InternalHypernet(
            name=_name(shape), chunks=count, chunk_size=math.prod(shape), embedding_size=recipe.embedding_size
        )
        for shape, count in chunks.items()
    )
    return ChunkPlan(hypernets=tuple(hypernets), assembly=assembly)


def _parts(shape: tuple[int, ...], most: int) -> int:
    """Into how many equal parts a tensor is cut along its second axis: the fewest that are no larger than `most`.

    A tensor of one axis stays whole, and a part has at least one index of that axis.
    """
    if len(shape) < 2:
        return 1
    size = math.prod(shape)
    return next((parts for parts in _divisors(shape[1]) if size // parts <= most), shape[1])


def _divisors(number: int) -> list[int]:
    small = [divisor for divisor in range(1, math.isqrt(number) + 1) if number % divisor == 0]
    return sorted({*small, *(number // divisor for divisor in small)})


def _name(shape: tuple[int, ...]) -> str:
    return "_".join(["shape", *map(str, shape)])


def _end_to_end(recipe: ModuleRecipe, generated: Sequence[Slot], chunk_size: int) -> ChunkPlan:
    """All slots one after the other, over as many chunks as they need."""
    name, assembly, start = recipe.planner.value, {}, 0
    for slot in generated:
        assembly[slot.name] = Assembly(pieces=tuple(_pieces(name, slot, start, chunk_size)))
        start += slot.size
    hypernet = InternalHypernet(
        name=name, chunks=-(-start // chunk_size), chunk_size=chunk_size, embedding_size=recipe.embedding_size
    )
    return ChunkPlan(hypernets=(hypernet,), assembly=assembly)


def _pieces(hypernet: str, slot: Slot, start: int, chunk_size: int) -> Iterator[Piece]:
    end = start + slot.size
    if end <= chunk_size * (start // chunk_size + 1):  # in one chunk: in its own shape
        yield Piece(hypernet=hypernet, chunk=start // chunk_size, offset=start % chunk_size, shape=slot.shape)
        return
    while start < end:
        taken = min(end - start, chunk_size - start % chunk_size)
        yield Piece(hypernet=hypernet, chunk=start // chunk_size, offset=start % chunk_size, shape=(taken,))
        start += taken
