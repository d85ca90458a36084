"""An ensemble of a module with a recipe: one whose bases can be stored in another dtype."""

import dataclasses
import glob
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import cast

from torch import Tensor

from hnexport.ensemble import Ensemble
from hnexport.hypernet.bases import round_bases
from hnexport.hypernet.generator import WeightGenerator
from hnexport.hypernet.selection import with_copies
from hnexport.hypernet.storage import stored_tensors
from hnexport.networks.recipes.recipe import ModuleRecipe, Rule
from hnexport.networks.recipes.storage import RecipeSpec
from hnexport.records import from_json, to_json
from hnexport.spec import BasisDtype, Slot, Source
from hnexport.spec.bases import without_bases

__all__ = ["RecipeEnsemble", "with_own"]


class RecipeEnsemble(Ensemble):
    """What `Ensemble.from_recipe` gives."""

    def with_bases(self, dtype: BasisDtype) -> "RecipeEnsemble":
        """The same with its bases stored in `dtype`.

        Raises:
            SpecError: there are none.
            CheckpointError: a basis does not fit.
        """
        spec, described = from_json(RecipeSpec, self.source.spec), cast("WeightGenerator", self.generator).spec
        if described.hypernet is None:
            raise without_bases(self.name, dtype)
        recipe = dataclasses.replace(spec.recipe, basis_dtype=dtype)
        described = dataclasses.replace(described, hypernet=recipe.hypernet)
        stored = stored_tensors(described)
        return dataclasses.replace(
            self,
            stored=stored,
            generator=WeightGenerator(described, round_bases(stored, self.tensors)).eval(),
            source=dataclasses.replace(self.source, spec=to_json(dataclasses.replace(spec, recipe=recipe))),
        )


def with_own(ensemble: Ensemble, own: Sequence[Slot], tensors: Mapping[str, Tensor]) -> Ensemble:
    """See `hnexport.families.Family`: rules for these slots come before all others."""
    stored, held = with_copies(ensemble.stored, tensors, own, ensemble.members)
    spec, described = from_json(RecipeSpec, ensemble.source.spec), cast("WeightGenerator", ensemble.generator).spec
    described = dataclasses.replace(
        described, sources={**described.sources, **{slot.name: Source.MEMBER for slot in own}}
    )
    recipe = dataclasses.replace(spec.recipe, rules=_rules(spec.recipe, ensemble.slots, own))
    return dataclasses.replace(
        ensemble,
        stored=stored,
        generator=WeightGenerator(described, held).eval(),
        source=dataclasses.replace(ensemble.source, spec=to_json(dataclasses.replace(spec, recipe=recipe))),
    )


def _rules(recipe: ModuleRecipe, slots: Sequence[Slot], own: Sequence[Slot]) -> tuple[Rule, ...]:
    """With each member's own said first, without the rules that decide for nothing then."""
    names = [slot.name for slot in slots if slot.alias_of is None]
    rules = (*(Rule(glob.escape(slot.name), Source.MEMBER) for slot in own), *recipe.rules)
    used = {next(rule for rule in rules if fnmatchcase(name, rule.pattern)) for name in names}
    return tuple(rule for rule in rules if rule in used)
