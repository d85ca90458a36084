"""A bundle's model card, whole, and where it is written."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hnexport.bundle.card import is_as_made, with_mark
from hnexport.bundle.golden import Golden, read_golden
from hnexport.bundle.manifest import Format, Identified, Manifest
from hnexport.card.about import class_names, files, introduction, parity, signature, weights
from hnexport.card.loading import how_to_load
from hnexport.card.markdown import code, fenced, prose, table
from hnexport.card.measured import Measured
from hnexport.card.metadata import front_matter
from hnexport.names import CARD_FILE, NETWORK_FILE

__all__ = ["bundle_card", "card_text", "tell_of_kept", "write_card"]

logger = logging.getLogger(__name__)


def bundle_card(bundle: Path, found: Identified, measured: Sequence[Measured] = ()) -> str:
    """The card of a bundle that lies somewhere.

    Raises:
        BundleError: its golden samples are missing or damaged.
    """
    return card_text(found, _shapes(read_golden(bundle, found.manifest)), measured)


def write_card(folder: Path, found: Identified, golden: Golden, measured: Sequence[Measured] = ()) -> None:
    """Put the card into the folder of a bundle that is being built; no manifest lists it.

    Raises:
        OSError: the file cannot be written.
    """
    text = card_text(found, _shapes(golden), measured)
    (folder / CARD_FILE).write_text(text, encoding="utf-8", newline="\n")


def tell_of_kept(bundle: Path) -> None:
    """Warn where a published bundle has the card that somebody completed for the one before."""
    if not is_as_made(bundle / CARD_FILE):
        logger.warning(
            "%s was written or completed by hand and stays: it may speak of the bundle before (`hnexport card %s "
            "--force` makes another)",
            bundle / CARD_FILE,
            bundle,
        )


def card_text(found: Identified, shapes: Mapping[str, tuple[int, ...]], measured: Sequence[Measured] = ()) -> str:
    """Metadata, and Markdown for people; the same manifest gives the same bytes.

    Args:
        shapes: of the golden inputs, by name.
        measured: evaluations, of this bundle or of the one from which it was derived.
    """
    parts = "\n\n".join(_parts(found, shapes, measured))
    return with_mark(f"{front_matter(found.manifest, measured)}\n\n{parts}\n\n")


def _shapes(golden: Golden) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in golden.inputs.items()}


def _parts(found: Identified, shapes: Mapping[str, tuple[int, ...]], measured: Sequence[Measured]) -> Iterator[str]:
    manifest = found.manifest
    yield f"# {prose(manifest.name)}"
    yield from introduction(manifest)
    yield "## Inputs and outputs"
    yield from signature(manifest)
    yield from class_names(manifest)
    yield "## How to load it"
    yield from how_to_load(manifest, shapes)
    yield "## Evaluation"
    yield from _evaluation(measured)
    yield "## Parity"
    yield from parity(manifest)
    yield "## Limits"
    yield from _limits(manifest)
    yield "## Files"
    yield from files(manifest)
    yield from weights(manifest)
    yield "## Which bundle this is"
    yield from _identity(found)


def _evaluation(measured: Sequence[Measured]) -> Iterator[str]:
    if not measured:
        yield (
            "Nobody gave any to this card. `hnexport evaluate . DATA --json > evaluation.json` measures what members "
            "and ensemble are worth on data, `hnexport card . --evaluation evaluation.json` puts it here."
        )
    for one in measured:
        yield f"On {code(one.data)}, {one.samples:,} samples, output {code(one.output)}:"
        for part in one.tables:
            rows = [[prose(cell) for cell in row] for row in part.rows]
            yield table([prose(column) for column in part.columns], rows)
        if one.remarks:
            yield " ".join(map(prose, one.remarks))


def _limits(manifest: Manifest) -> Iterator[str]:
    lines = [
        f"A condition id that does not exist (negative, or from {manifest.members} on) gives NaN in every "
        "floating-point output. A graph cannot see what a runtime changes before it: where ids come from outside, "
        "check them before the call. `hnexport.runtime` refuses them.",
        "An input with a NaN gives NaN in PyTorch and onnxruntime; OpenVINO and WebGPU may give numbers.",
    ]
    if Format.ONNX in manifest.formats:
        lines.append(
            f"`{NETWORK_FILE}` lacks the weights that depend on the member: its loader supplies them, as "
            "`hnexport.runtime` does."
        )
    lines.append(
        "Parity says that the files compute what was trained, not that this is any good. Training data, intended use "
        "and their limits are for those to say who trained it: this file is theirs to complete."
    )
    yield "\n".join(f"- {line}" for line in lines)


def _identity(found: Identified) -> Iterator[str]:
    yield (
        f"This card was made for the bundle `{found.digest}`. That digest fixes every file but this one, which may be "
        "edited. What lies beside the files proves nothing: compare with a digest that you have from elsewhere."
    )
    yield fenced(
        "sh",
        [
            "# the digest that the files have",
            "hnexport inspect .",
            "# every file again, compared with its reference outputs (needs all of hnexport)",
            f"hnexport verify . --digest {found.digest}",
        ],
    )
