"""The families of ensembles: what makes halves, slots and signature of a source, each in a folder of its own.

A family is a module with the functions of `Family`. It is imported when it is first needed. Nothing outside a family's
folder names what is in it.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar, cast

from hnexport.errors import SpecError
from hnexport.hypernet.plan import ChunkPlan
from hnexport.progress import Progress
from hnexport.reading import shown
from hnexport.spec import BasisDtype, Signature, Slot, StoredTensor
from hnexport.spec.assumed import assumptions
from hnexport.spec.images import ImageInput
from hnexport.spec.source import EnsembleSource
from hnexport.spec.usage import Usage

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hnexport.ensemble import Ensemble

__all__ = [
    "FAMILIES",
    "HYPERNETWORK",
    "HYPNETTORCH",
    "MODULES",
    "RECIPE",
    "WIDE_RESNET",
    "Checkpoint",
    "CommandLine",
    "Described",
    "Family",
    "Told",
    "assumed",
    "command_line",
    "family",
    "image_input",
]

F = TypeVar("F", bound=Callable[..., Any])

WIDE_RESNET = "wide-resnet"
MODULES = "modules"
HYPNETTORCH = "hypnettorch"
RECIPE = "recipe"
HYPERNETWORK = "hypernetwork"

FAMILIES: Mapping[str, str] = MappingProxyType(
    {
        WIDE_RESNET: "hnexport.networks.wide_resnet.family",
        MODULES: "hnexport.networks.modules.family",
        HYPNETTORCH: "hnexport.networks.hypnettorch.family",
        RECIPE: "hnexport.networks.recipes.family",
        HYPERNETWORK: "hnexport.networks.hypernetwork.family",
    }
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


class Told(Protocol):
    """Of what something is said: a manifest, or an `Ensemble`."""

    @property
    def source(self) -> EnsembleSource:
        """The family that it is of, and its specification."""
        ...

    @property
    def signature(self) -> Signature:
        """What the network takes and gives."""
        ...

    @property
    def usage(self) -> Usage:
        """What whoever uses it has to know beside its tensors."""
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

    def check_described(self, described: "Described", spec: Mapping[str, Any]) -> None:
        """Check the tables of a manifest of which `described` says nothing.

        Raises:
            BundleError, SpecError: they are not those of such an ensemble.
        """
        ...

    def counts(self, described: "Described") -> Mapping[str, int | float]:
        """Weight counts (integers) and ratios (floats) by label, in the words of those who train such ensembles."""
        ...

    def plan(self, spec: Mapping[str, Any]) -> ChunkPlan:
        """How slots are assembled from chunks; an empty plan where none are.

        Raises:
            SpecError, RecordError: it is not valid.
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

    def with_own(self, ensemble: "Ensemble", own: Sequence[Slot], tensors: "Mapping[str, Tensor]") -> "Ensemble":
        """The same ensemble over copies of its tensors, in which each member has its own of some slots.

        Args:
            own: those slots, stored once for all; each member begins with that. May be empty.
            tensors: the stored ones by name, taken as they are.

        Raises:
            SpecError: it was captured from networks of a user's own, which say what members share.
        """
        ...


class Checkpoint(Protocol):
    """A family's specification and its tensors, from which an ensemble is made."""

    @property
    def spec(self) -> Any:
        """The family's own specification."""
        ...

    @property
    def tensors(self) -> "Mapping[str, Tensor]":
        """The stored tensors by name."""
        ...

    @property
    def origin(self) -> str:
        """Where they come from, one line."""
        ...

    def with_usage(self, usage: Usage) -> Self:
        """The same, of which more is said.

        Raises:
            SpecError: it cannot be said of this ensemble.
        """
        ...

    def ensemble(self) -> "Ensemble":
        """The ensemble of these tensors, taken as they are."""
        ...

    def with_bases(self, dtype: BasisDtype) -> Self:
        """The same with its bases stored in `dtype`.

        Raises:
            SpecError: there are none.
            CheckpointError: a basis does not fit.
        """
        ...


class CommandLine(Protocol):
    """How the commands `build`, `convert` and `recalibrate` are told what to make. Importing it needs click alone."""

    def build_options(self, function: F) -> F:
        """Add the options that say where weights come from and what they are."""
        ...

    def convert_options(self, function: F) -> F:
        """Add those that say what is to be converted."""
        ...

    def checkpoint(self, options: Mapping[str, Any]) -> Checkpoint:
        """What the options of `build` ask for.

        Raises:
            click.UsageError: they contradict each other.
            HnexportError: the specification is not valid, or a file cannot be read.
        """
        ...

    def imported(self, path: Path | None, options: Mapping[str, Any]) -> Checkpoint:
        """What the options of `convert` ask for, of one file or of those that they name; raises likewise."""
        ...

    def loaded(self, path: Path) -> Checkpoint:
        """What `save` wrote, to be recalibrated.

        Raises:
            CheckpointError: the file is something else, or damaged.
        """
        ...

    def recalibrated(self, checkpoint: Checkpoint, images: Any, batch_size: int, progress: Progress) -> Any:
        """The checkpoint with batch-norm statistics of each member, estimated from an array of images.

        It has `checkpoint`, `images`, `batches`, `norms`, `had_own` and `changes`.

        Raises:
            HnexportError: there are no statistics to estimate, or too few images.
        """
        ...

    def inspected(self, path: Path) -> tuple[str, Checkpoint]:
        """What a checkpoint file is, in words, and the checkpoint that is read from it; raises HnexportError."""
        ...

    def check_target(self, path: Path, *, replace: bool) -> None:
        """Refuse before the work what `save` would refuse after it.

        Raises:
            CheckpointError: there is a file already and `replace` is not set, or it is something else.
        """
        ...

    def save(self, path: Path, checkpoint: Checkpoint, *, replace: bool) -> None:
        """Write a checkpoint; it appears only once it is complete.

        Raises:
            CheckpointError: it cannot be written.
        """
        ...


def family(name: str) -> Family:
    """A family by its name.

    Raises:
        SpecError: this hnexport has none of this name.
    """
    if name not in FAMILIES:
        raise SpecError(
            f"this hnexport knows no family {shown(name)}, only {', '.join(FAMILIES)}: use the hnexport that wrote it"
        )
    return cast("Family", importlib.import_module(FAMILIES[name]))


def image_input(found: Told) -> ImageInput | None:
    """An ensemble's only input, if it takes images: as its family says, otherwise as its axes look.

    None where there are several inputs, or the only one does not look like images.
    """
    inputs = found.signature.inputs
    if len(inputs) != 1:
        return None
    said = getattr(family(found.source.family), "image", None)  # few families are about images
    image = said(found.source.spec) if said is not None else ImageInput.guess(inputs[0])
    return None if image is None else replace(image, normalisation=found.usage.normalisation)


def assumed(found: Told) -> tuple[str, ...]:
    """What nobody said of an ensemble and was assumed, a line each, and how to say it."""
    return assumptions(found.usage, image_input(found))


def command_line() -> CommandLine:
    """The options of the one family that a command line can describe; lists of modules are made in Python."""
    return cast("CommandLine", importlib.import_module("hnexport.networks.wide_resnet.options"))
