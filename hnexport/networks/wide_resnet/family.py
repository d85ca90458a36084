"""Wide ResNets as a family: from a specification to halves, slots and signature. Standard library only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hnexport.families import WIDE_RESNET, Described
from hnexport.hypernet.plan import ChunkPlan
from hnexport.networks.wide_resnet.chunking import plan_chunks
from hnexport.networks.wide_resnet.limits import check_expansion, check_tables
from hnexport.networks.wide_resnet.spec import PipelineSpec
from hnexport.networks.wide_resnet.storage import generator_spec, stored_tensors
from hnexport.records import from_json, to_json
from hnexport.spec import BATCH, OutputKind, OutputSpec, Signature, Slot, StoredTensor, TensorSpec
from hnexport.spec.counts import weight_counts
from hnexport.spec.images import ImageInput
from hnexport.spec.source import EnsembleSource

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hnexport.ensemble import Ensemble

__all__ = [
    "IMAGE",
    "LOGITS",
    "check",
    "check_described",
    "counts",
    "describe",
    "described",
    "ensemble",
    "generator",
    "image",
    "image_input",
    "load_hypnettorch",
    "plan",
    "source",
    "with_own",
]

IMAGE = "image"
LOGITS = "logits"


@dataclass(frozen=True, kw_only=True)
class _Description:
    name: str
    members: int
    signature: Signature
    slots: tuple[Slot, ...]
    stored: tuple[StoredTensor, ...]


def source(spec: PipelineSpec) -> EnsembleSource:
    """A specification as it stands in a manifest."""
    return EnsembleSource(family=WIDE_RESNET, spec=to_json(spec))


def check(spec: Mapping[str, Any], listed_bytes: int) -> None:
    """Bound what a specification asks for; see `hnexport.families.Family`."""
    found = from_json(PipelineSpec, spec)
    check_tables(found)
    check_expansion(found, listed_bytes)


def check_described(found: Described, spec: Mapping[str, Any]) -> None:
    """The specification says all of them."""


def described(spec: Mapping[str, Any]) -> Described:
    """What a specification says about the ensemble."""
    return describe(from_json(PipelineSpec, spec))


def describe(spec: PipelineSpec) -> Described:
    """Name, members, signature, slots and stored tensors of a pipeline."""
    dtype, shape = spec.image_input
    return _Description(
        name=spec.name,
        members=spec.members,
        signature=Signature(
            inputs=(TensorSpec(name=IMAGE, dtype=dtype, shape=(BATCH, *shape)),),
            outputs=(
                OutputSpec(
                    name=LOGITS, dtype="float32", shape=(BATCH, spec.network.classes), kind=OutputKind.LOGITS, axis=1
                ),
            ),
        ),
        slots=generator_spec(spec).slots,
        stored=stored_tensors(spec),
    )


def counts(found: Described) -> dict[str, int | float]:
    """Those that hypnettorch prints when it makes such a network."""
    return weight_counts(found.slots, found.stored, found.members)


def plan(spec: Mapping[str, Any]) -> ChunkPlan:
    """The chunk plan; empty where the recipe generates nothing."""
    return plan_chunks(from_json(PipelineSpec, spec))


def image(spec: Mapping[str, Any]) -> ImageInput:
    """Where the channels, height and width of the image input lie."""
    return image_input(from_json(PipelineSpec, spec))


def image_input(spec: PipelineSpec) -> ImageInput:
    """The same of a pipeline."""
    size = spec.network.image
    (tensor,) = describe(spec).signature.inputs
    return ImageInput(
        tensor=tensor, layout=spec.image_layout, channels=size.channels, height=size.height, width=size.width
    )


def generator(described: Described, spec: Mapping[str, Any], tensors: "Mapping[str, Tensor]") -> "nn.Module":
    """The generator over stored tensors, taken as they are."""
    from hnexport.hypernet.generator import WeightGenerator

    return WeightGenerator(generator_spec(from_json(PipelineSpec, spec)), tensors)


def ensemble(described: Described, spec: Mapping[str, Any], tensors: "Mapping[str, Tensor]", origin: str) -> "Ensemble":
    """Both halves again from stored tensors."""
    from hnexport.networks.wide_resnet.halves import wide_resnet_ensemble

    return wide_resnet_ensemble(from_json(PipelineSpec, spec), tensors, origin)


def load_hypnettorch(spec: Mapping[str, Any], member: int, threads: int, provider: str) -> tuple[str, Any]:
    """The same network and chunking in hypnettorch, with random weights: what runs it, and a function of inputs.

    Raises:
        SpecError: hypnettorch has no such pipeline, or it is not compared here.
    """
    from hnexport.networks.wide_resnet.yardstick import load_hypnettorch

    return load_hypnettorch(from_json(PipelineSpec, spec), member, threads, provider)


def with_own(ensemble: "Ensemble", own: Sequence[Slot], tensors: "Mapping[str, Tensor]") -> "Ensemble":
    """The same ensemble over these tensors; what can become each member's own are all statistics together."""
    import dataclasses

    from hnexport.hypernet.selection import with_copies
    from hnexport.networks.wide_resnet.halves import wide_resnet_ensemble

    spec = from_json(PipelineSpec, ensemble.source.spec)
    spec = dataclasses.replace(spec, member_statistics=spec.member_statistics or bool(own))
    held = with_copies(ensemble.stored, tensors, own, ensemble.members)[1]
    made = wide_resnet_ensemble(spec, {item.name: held[item.name] for item in stored_tensors(spec)}, ensemble.origin)
    return dataclasses.replace(made, usage=ensemble.usage)
