"""What a manifest says of a module with a recipe, and what is stored for it. Standard library only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hnexport.hypernet.plan import ChunkPlan
from hnexport.hypernet.storage import GeneratorSpec
from hnexport.networks.recipes.planners import plan_chunks
from hnexport.networks.recipes.recipe import ModuleRecipe, sources
from hnexport.spec import Slot, Source

__all__ = ["RecipeSpec", "generator_spec", "planned"]


@dataclass(frozen=True, kw_only=True)
class RecipeSpec:
    """A recipe and the chunk plan that its planner made of it for one module.

    Attributes:
        recipe: where every tensor comes from.
        plan: of which chunks generated tensors are made.
    """

    recipe: ModuleRecipe
    plan: ChunkPlan = field(default_factory=ChunkPlan)


def planned(recipe: ModuleRecipe, slots: Sequence[Slot]) -> tuple[RecipeSpec, Mapping[str, Source]]:
    """The plan for a module's slots, and the source of each that is no alias.

    Raises:
        SpecError: the recipe does not fit the module, see `hnexport.networks.recipes.recipe.sources`.
    """
    found = sources(recipe, slots)
    generated = [slot for slot in slots if found.get(slot.name) is Source.GENERATED]
    return RecipeSpec(recipe=recipe, plan=plan_chunks(recipe, generated)), found


def generator_spec(
    name: str, members: int, slots: Sequence[Slot], found: Mapping[str, Source], spec: RecipeSpec
) -> GeneratorSpec:
    """The generator as data; its guard is on the outputs, which is right for any network.

    Raises:
        SpecError: the plan is not one for these slots and sources.
    """
    return GeneratorSpec(
        name=name,
        members=members,
        slots=tuple(slot for slot in slots if slot.alias_of is None),
        sources=found,
        plan=spec.plan,
        hypernet=spec.recipe.hypernet if spec.plan.hypernets else None,
        guards_outputs=True,
    )
