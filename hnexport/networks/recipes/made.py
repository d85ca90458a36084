"""From a module and a recipe to an ensemble."""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path

from torch import Tensor, nn

from hnexport.dotted import named_tensors
from hnexport.ensemble import Ensemble
from hnexport.errors import CheckpointError, SpecError
from hnexport.families import RECIPE
from hnexport.hypernet.generator import WeightGenerator
from hnexport.hypernet.storage import GeneratorSpec, stored_tensors
from hnexport.networks.modules.first import FirstMember
from hnexport.networks.modules.inputs import Axes, read_inputs
from hnexport.networks.modules.members import check_finite, check_module, on_cpu
from hnexport.networks.modules.names import check_name, check_names, default_name
from hnexport.networks.modules.outputs import Outputs
from hnexport.networks.recipes.drawn import drawn
from hnexport.networks.recipes.ensemble import RecipeEnsemble
from hnexport.networks.recipes.files import read_tensors, unwrapped
from hnexport.networks.recipes.recipe import ModuleRecipe, read_recipe
from hnexport.networks.recipes.storage import generator_spec, planned
from hnexport.reading import shown
from hnexport.records import to_json
from hnexport.spec import Signature
from hnexport.spec.source import EnsembleSource
from hnexport.training.mixture import warn_of_mixture

__all__ = ["Weights", "ensemble_from_recipe"]

Weights = Mapping[str, Tensor] | str | PathLike[str] | None
"""The stored tensors by name, or a file of them (safetensors, or of `torch.save`); None draws them."""

_WHERE = "the module"


def ensemble_from_recipe(
    module: nn.Module,
    recipe: ModuleRecipe | str | PathLike[str],
    *,
    members: int,
    example_inputs: object,
    weights: Weights = None,
    seed: int = 0,
    dynamic_axes: Axes | None = None,
    outputs: Outputs = None,
    name: str | None = None,
    origin: str | None = None,
) -> Ensemble:
    """See `hnexport.ensemble.Ensemble.from_recipe`."""
    recipe = _recipe(recipe)
    if type(members) is not int or members < 1:
        raise SpecError(f"members: expected a whole number of at least 1, found {shown(members)}")
    module = on_cpu(_WHERE, check_module(_WHERE, module))
    first = FirstMember(module, read_inputs(module, example_inputs, dynamic_axes), outputs, _WHERE)
    kind = type(module).__name__
    name = check_name(default_name(kind, members) if name is None else name)
    spec, sources = planned(recipe, first.slots)
    described = generator_spec(name, members, first.slots, sources, spec)
    stored = stored_tensors(described)
    signature = Signature(inputs=first.inputs.specs, outputs=first.outputs)
    check_names(signature, first.slots, stored)
    if not any(item.is_conditional for item in stored):
        raise SpecError("the recipe shares every tensor: members would be equal; let some be `member` or `generated`")
    tensors, source = _tensors(described, module, weights, seed)
    warn_of_mixture(
        name,
        members,
        first.slots,
        stored,
        tensors,
        "Train with a set for each member (Rule('*running_*', 'member') first in the recipe), or estimate them from "
        "training data with `hnexport.recalibration.recalibrate`",
    )
    return RecipeEnsemble(
        name=name,
        origin=f"{kind} with a recipe, {source}" if origin is None else origin,
        members=members,
        signature=signature,
        slots=first.slots,
        stored=stored,
        generator=WeightGenerator(described, tensors).eval(),
        network=module,
        examples=first.inputs.examples,
        dynamic=first.inputs.dynamic,
        source=EnsembleSource(family=RECIPE, spec=to_json(spec)),
    )


def _recipe(recipe: object) -> ModuleRecipe:
    if isinstance(recipe, ModuleRecipe):
        return recipe
    if isinstance(recipe, str | PathLike):
        return read_recipe(recipe)
    raise SpecError(f"recipe: expected a ModuleRecipe or the path of one in TOML, found {shown(recipe)}")


def _tensors(
    described: GeneratorSpec, module: nn.Module, weights: Weights, seed: int
) -> tuple[Mapping[str, Tensor], str]:
    """The stored tensors, and where they come from in words."""
    if weights is None:
        own = named_tensors(module)
        check_finite(_WHERE, ((slot.name, own[slot.name]) for slot in described.slots))
        return drawn(described, own, seed), f"random weights, seed {seed}"
    found, source = _given(weights)
    tensors = unwrapped(source, found, [item.name for item in stored_tensors(described)])
    for item in stored_tensors(described):
        held = tensors.get(item.name)
        if held is None:
            raise CheckpointError(f"{source}: the tensor {item.name} is missing")
        dtype, shape = str(held.dtype).removeprefix("torch."), tuple(held.shape)
        if (dtype, shape) != (item.dtype, item.shape):
            raise CheckpointError(
                f"{source}: the tensor {item.name} should be {item.dtype} {list(item.shape)}, found {dtype} "
                f"{list(shape)}; is it of another recipe, module or number of members?"
            )
    check_finite(source, tensors.items())
    return {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}, f"weights of {source}"


def _given(weights: Mapping[str, Tensor] | str | PathLike[str]) -> tuple[Mapping[str, Tensor], str]:
    if isinstance(weights, Mapping):
        return weights, "the tensors given"
    return read_tensors(Path(weights)), Path(weights).name
