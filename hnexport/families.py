"""The families of ensembles: what makes halves, slots and signature of a source, each in a folder of its own.

A family is a module with the functions of `Family`. It is imported when it is first needed. Nothing outside a family's
folder names what is in it.
"""

import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, cast

from hnexport.errors import SpecError
from hnexport.hypernet.plan import ChunkPlan
from hnexport.reading import shown
from hnexport.spec import Signature, Slot, StoredTensor

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hnexport.ensemble import Ensemble

__all__ = ["FAMILIES", "MODULES", "WIDE_RESNET", "Described", "Family", "family"]

WIDE_RESNET = "wide-resnet"
MODULES = "modules"

FAMILIES: Mapping[str, str] = MappingProxyType(
    {WIDE_RESNET: "hnexport.networks.wide_resnet.family", MODULES: "hnexport.networks.modules.family"}
)


class Described(Protocol):
    """An ensemble as data: a manifest is one, and so is an `Ensemble`."""

    @property
    def name(self) -> str:
        """Short, for reports and default folders."""
        ...

    @property
    def members(self) -> int:
        """How many there are."""
        ...

    @property
    def signature(self) -> Signature:
        """What the network takes and gives."""
        ...

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The network's tensors."""
        ...

    @property
    def stored(self) -> tuple[StoredTensor, ...]:
        """The tensors that the generator stores."""
        ...


class Family(Protocol):
    """What a family's module has. Importing it needs the standard library alone: manifests are read everywhere."""

    def check(self, spec: Mapping[str, Any], listed_bytes: int) -> None:
        """Bound what a specification out of a manifest asks for, before any table is made of it.

        Args:
            listed_bytes: the sizes of all files that the manifest lists.

        Raises:
            BundleError, SpecError, RecordError: it asks for too much, or is not valid.
        """
        ...

    def described(self, spec: Mapping[str, Any]) -> "Described | None":
        """What a specification says about the ensemble; None where the manifest's own tables are all that is known.

        Raises:
            SpecError, RecordError: it is not valid.
        """
        ...

    def plan(self, spec: Mapping[str, Any]) -> ChunkPlan:
        """How slots are assembled from chunks; an empty plan where none are.

        Raises:
            SpecError, RecordError: it is not valid.
        """
        ...

    def check_described(self, described: "Described") -> None:
        """Check the tables of a manifest of which `described` says nothing.

        Raises:
            BundleError: they are not those of such an ensemble.
        """
        ...

    def generator(
        self, described: "Described", spec: Mapping[str, Any], tensors: "Mapping[str, Tensor]"
    ) -> "nn.Module":
        """The generator over stored tensors, taken as they are."""
        ...

    def ensemble(
        self, described: "Described", spec: Mapping[str, Any], tensors: "Mapping[str, Tensor]", origin: str
    ) -> "Ensemble | None":
        """Both halves again from stored tensors; None where the network is not known from data."""
        ...


def family(name: str) -> Family:
    """A family by its name.

    Raises:
        SpecError: this hnexport has none of this name.
    """
    if name not in FAMILIES:
        raise SpecError(f"this hnexport knows no family {shown(name)}, only {', '.join(FAMILIES)}")
    return cast("Family", importlib.import_module(FAMILIES[name]))
