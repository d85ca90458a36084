"""Faults in modules with recipes: TorchScript and `.pt2` files are written from an ensemble that somebody changed."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from module_recipes import RECIPES
from torch import Tensor

from hnexport.ensemble import Ensemble
from hnexport.export import capture, write_pt2, write_torchscript
from hnexport.hypernet.generator import WeightGenerator
from hnexport.names import GUARD, PT2_FILE, TORCHSCRIPT_FILE

WRITERS = {"torchscript": (write_torchscript, TORCHSCRIPT_FILE), "pt2": (write_pt2, PT2_FILE)}


@dataclass(frozen=True, kw_only=True)
class RecipeFault:
    """`place` is what `locate` should name or say of the place, as a regular expression."""

    name: str
    kind: str
    change: Callable[[Ensemble], Ensemble]
    stage: str
    place: str

    def __str__(self) -> str:
        return self.name

    def write(self, artifact: str, bundle: Path) -> None:
        """Put the faulty file into a copy of the kind's bundle."""
        write, file = WRITERS[artifact]
        write(capture(self.change(RECIPES[self.kind].ensemble())), bundle / file)


def _scaled(name: str) -> Callable[[Ensemble], Ensemble]:
    def change(ensemble: Ensemble) -> Ensemble:
        generator: Any = ensemble.generator
        with torch.no_grad():
            flat = generator.get(name).view(-1)
            flat[flat.numel() // 2] *= 1.1
        return ensemble

    return change


def _exchanged(one: str, other: str) -> Callable[[Ensemble], Ensemble]:
    """Each of two slots gets the other's pieces."""

    def change(ensemble: Ensemble) -> Ensemble:
        spec: Any = ensemble.generator.spec
        assembly = dict(spec.plan.assembly)
        assembly[one], assembly[other] = assembly[other], assembly[one]
        plan = dataclasses.replace(spec.plan, assembly=MappingProxyType(assembly))
        generator = WeightGenerator(dataclasses.replace(spec, plan=plan), ensemble.tensors)
        return dataclasses.replace(ensemble, generator=generator.eval())

    return change


class _Baked(WeightGenerator):
    """Whatever the id, member 1's tensors; ids that do not exist are guarded as ever."""

    def forward(self, cond_id: Tensor) -> dict[str, Tensor]:
        return {**super().forward(torch.ones_like(cond_id)), GUARD: super().forward(cond_id)[GUARD]}


def _baked(ensemble: Ensemble) -> Ensemble:
    generator: Any = ensemble.generator
    return dataclasses.replace(ensemble, generator=_Baked(generator.spec, ensemble.tensors).eval())


def _epsilon(path: str) -> Callable[[Ensemble], Ensemble]:
    def change(ensemble: Ensemble) -> Ensemble:
        ensemble.network.get_submodule(path).eps = 1e-2  # type: ignore[assignment] # replaced on purpose
        return ensemble

    return change


RECIPE_FAULTS = (
    RecipeFault(
        name="an element of a basis",
        kind="vision-transformer",
        change=_scaled("hypernet.shape_128_16.basis"),
        stage="weight generation",
        place="shape_128_16",
    ),
    RecipeFault(
        name="two slots exchanged",
        kind="convolution",
        change=_exchanged("layers.0.weight", "layers.2.weight"),
        stage="weight generation",
        place="layers.0.weight",
    ),
    RecipeFault(
        name="a member baked in",
        kind="tabular",
        change=_baked,
        stage="weight generation",
        place="it is (member 1|another member)'s",
    ),
    RecipeFault(
        name="batch norm's epsilon", kind="tabular", change=_epsilon("layers.1"), stage="inference", place="layers.1"
    ),
)
