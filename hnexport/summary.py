"""What a bundle is, in numbers: weight counts, compression ratios and file sizes."""

from collections.abc import Mapping
from dataclasses import dataclass

from hnexport.bundle.manifest import FORMAT_FILES, Manifest
from hnexport.hypernet.storage import count_weights
from hnexport.networks.wide_resnet.spec import PipelineSpec

__all__ = ["Summary", "summarise", "weight_summary"]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Numbers about a pipeline and its bundle.

    Attributes:
        counts: weight counts (integers) and compression ratios (floats), by label.
        sizes_bytes: of the bundle's formats, and of as many separate networks, by label.
    """

    name: str
    counts: Mapping[str, int | float]
    sizes_bytes: Mapping[str, int]


def weight_summary(spec: PipelineSpec) -> dict[str, int | float]:
    """The counts that hypnettorch prints when it makes such a network, by label."""
    counts = count_weights(spec)
    table: dict[str, int | float] = {"main network: weights": counts.network}
    if counts.hypernets:
        table |= {
            "internal hypernetworks": counts.hypernets,
            "chunks of one member": counts.chunks,
            "internal hypernetworks: combined output size": counts.hypernet_output,
            "structured hypernetwork: weights": counts.structured,
            "structured hypernetwork: unconditional weights": counts.structured_unconditional,
            "structured hypernetwork: conditional weights": counts.structured_conditional,
            "structured hypernetwork: outputs": counts.generated,
            "structured hypernetwork: compression ratio": counts.structured_ratio,
        }
    return table | {
        "container: weights": counts.total,
        "container: unconditional weights": counts.unconditional,
        "container: conditional weights": counts.conditional,
        "container: outputs": counts.network,
        "container: compression ratio": counts.ratio,
        "each further member: weights": counts.conditional // spec.members,
    }


def summarise(manifest: Manifest) -> Summary:
    """Counts from the specification, sizes from the manifest."""
    sizes = {
        f"{file_format} ({' + '.join(names)})": sum(manifest.files[name].size_bytes for name in names)
        for file_format, names in FORMAT_FILES.items()
        if file_format in manifest.formats
    }
    members = manifest.spec.members
    network_bytes = 4 * count_weights(manifest.spec).network
    sizes[f"{members} separate networks, weights alone"] = members * network_bytes
    return Summary(name=manifest.name, counts=weight_summary(manifest.spec), sizes_bytes=sizes)
