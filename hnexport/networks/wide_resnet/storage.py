"""What a pipeline stores: its generator as data, and the tensors of it. Standard library only."""

import functools

from hnexport.hypernet.storage import GeneratorSpec
from hnexport.hypernet.storage import stored_tensors as tensors_of
from hnexport.networks.wide_resnet.chunking import plan_chunks
from hnexport.networks.wide_resnet.slots import OUTPUT_LAYER, network_slots, slot_source
from hnexport.networks.wide_resnet.spec import PipelineSpec
from hnexport.spec import Source, StoredTensor

__all__ = ["generator_spec", "stored_tensors"]


@functools.lru_cache(maxsize=8)
def generator_spec(spec: PipelineSpec) -> GeneratorSpec:
    """The generator of a pipeline as data. A shared output layer is guarded.

    Raises:
        SpecError: the number of embedding sizes is not the number of internal hypernetworks.
    """
    slots = network_slots(spec.network)
    sources = {slot.name: slot_source(spec, slot) for slot in slots}
    output = [slot.name for slot in slots if slot.role in OUTPUT_LAYER]
    return GeneratorSpec(
        name=spec.name,
        members=spec.members,
        slots=tuple(slot.general for slot in slots),
        sources=sources,
        plan=plan_chunks(spec),
        hypernet=spec.hypernet,
        guarded=frozenset(name for name in output if sources[name] is Source.SHARED),
    )


def stored_tensors(spec: PipelineSpec) -> tuple[StoredTensor, ...]:
    """Every tensor that the pipeline stores, in order; see `hnexport.hypernet.storage`."""
    return tensors_of(generator_spec(spec))
