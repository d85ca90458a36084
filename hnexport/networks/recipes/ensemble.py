"""An ensemble of a module with a recipe: one whose bases can be stored in another dtype."""

import dataclasses
from typing import cast

from hnexport.ensemble import Ensemble
from hnexport.errors import SpecError
from hnexport.hypernet.bases import round_bases
from hnexport.hypernet.generator import WeightGenerator
from hnexport.hypernet.storage import stored_tensors
from hnexport.networks.recipes.storage import RecipeSpec
from hnexport.records import from_json, to_json
from hnexport.spec import BasisDtype

__all__ = ["RecipeEnsemble"]


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
            raise SpecError(f"{self.name} generates nothing: it has no bases to store in {dtype.value}")
        recipe = dataclasses.replace(spec.recipe, basis_dtype=dtype)
        described = dataclasses.replace(described, hypernet=recipe.hypernet)
        stored = stored_tensors(described)
        return dataclasses.replace(
            self,
            stored=stored,
            generator=WeightGenerator(described, round_bases(stored, self.tensors)).eval(),
            source=dataclasses.replace(self.source, spec=to_json(dataclasses.replace(spec, recipe=recipe))),
        )
