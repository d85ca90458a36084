"""What a bundle is, as paragraphs and tables: all of it from the manifest."""

from collections.abc import Iterator

from hnexport.bundle.manifest import Manifest
from hnexport.bundle.summary import anytime_line, judged_line, reference_line, summarise, temperature_line
from hnexport.card.loading import shape_text
from hnexport.card.markdown import code, prose, table
from hnexport.families import image_input
from hnexport.names import (
    COND_ID,
    ENSEMBLE_FILE,
    GOLDEN_FILE,
    HYPERNET_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
    NETWORK_FILE,
    PAGE_FILE,
    PARITY_FILE,
    PT2_FILE,
    TORCHSCRIPT_FILE,
    WEIGHTS_FILE,
)
from hnexport.spec import BasisDtype, OutputKind, OutputSpec, TensorSpec
from hnexport.spec.assumed import assumption
from hnexport.spec.bases import basis_dtype
from hnexport.spec.images import ImageInput
from hnexport.spec.usage import Normalisation
from hnexport.text import megabytes, number_of

__all__ = ["class_names", "files", "introduction", "parity", "signature", "weights"]

_MOST_NAMES = 100  # of classes
_FILES = {
    MODEL_FILE: "one member a call, its weights made in the graph",
    ENSEMBLE_FILE: "any number of members in one call, and what they say together",
    HYPERNET_FILE: "a member's weights",
    NETWORK_FILE: "the network, which takes them at load",
    WEIGHTS_FILE: "the weights that the ONNX files share: keep it beside them",
    TORCHSCRIPT_FILE: "TorchScript",
    PT2_FILE: "`torch.export`",
    GOLDEN_FILE: "samples with every checked member's reference outputs",
    PARITY_FILE: "what verification found, for programs",
    PAGE_FILE: "the same for people",
}


def introduction(manifest: Manifest) -> Iterator[str]:
    """What it is, in a few lines."""
    inputs = ", ".join(tensor.name for tensor in manifest.inputs)
    call = f"({inputs}) -> {', '.join(output.name for output in manifest.outputs)}"
    yield (
        f"An ensemble of {number_of(manifest.members, 'member')} as **one graph**, {code(call)}: the condition id says "
        f"which member answers. Exported by hnexport {prose(manifest.versions.get('hnexport', '?'))} to "
        f"{', '.join(one.value for one in manifest.formats)}."
    )
    if manifest.conditions:
        named = ", ".join(map(code, manifest.conditions))
        yield f"A hypernetwork makes the network's weights of {named} too: with other values it is another network."
    rows = [
        ("weights come from", prose(manifest.origin)),
        (
            "members",
            str(manifest.members) + (f", numbered from 0 to {manifest.members - 1}" if manifest.members > 1 else ""),
        ),
        ("family", code(manifest.source.family)),
        *((("licence", code(manifest.usage.license)),) if manifest.usage.license else ()),
        *((("bases", _bases(manifest)),) if _bases(manifest) else ()),
    ]
    said = {" ": temperature_line(manifest), ": ": anytime_line(manifest), ", ": reference_line(manifest)}
    for separator, line in said.items():
        if line is not None:
            what, _, rest = line.partition(separator)
            rows.append((what, prose(rest)))
    if manifest.usage.assumed:
        image = image_input(manifest)
        lines = [prose(assumption(word, image)) for word in manifest.usage.assumed]
        rows.append(("assumed, since nobody said it", "; ".join(lines)))
    yield table(rows[0], rows[1:])


def _bases(manifest: Manifest) -> str:
    """How bases are stored, where that is not as the network has them."""
    dtype = basis_dtype(manifest.stored)
    if dtype in (None, BasisDtype.FLOAT32):
        return ""
    rounding = manifest.basis_rounding
    changed = "" if rounding is None else f"; rounding changed outputs by {rounding.logits:.1e}, relative L2"
    if rounding is not None and rounding.judged is not None:
        changed += f"; on {prose(judged_line(rounding.judged))}"
    return f"stored in {dtype}, weights generated in float32{changed}"


def signature(manifest: Manifest) -> Iterator[str]:
    """Inputs and outputs."""
    image = image_input(manifest)
    rows = [
        (role, code(tensor.name), tensor.dtype, code(shape_text(tensor)), _meaning(manifest, tensor, image))
        for role, tensors in (("input", manifest.inputs), ("output", manifest.outputs))
        for tensor in tensors
    ]
    yield table(("", "name", "dtype", "shape", "what it is"), rows)
    yield (
        "The batch is the first axis of what has one, and of any size; so is every other axis that has a name instead "
        "of a number."
    )


def _meaning(manifest: Manifest, tensor: TensorSpec, image: ImageInput | None) -> str:
    if tensor.name == COND_ID and tensor is manifest.inputs[0]:
        return "the member"
    if isinstance(tensor, OutputSpec):
        return _answer(manifest, tensor)
    if tensor.name in manifest.conditions:
        return "condition: the weights are made of it too"
    if image is None or image.tensor.name != tensor.name:
        return ""
    size = f"{image.width} x {image.height} pixels, {number_of(image.channels, 'channel')}, {image.layout.value}"
    return f"pictures of {size}; {_normalisation(image)}"


def _answer(manifest: Manifest, output: OutputSpec) -> str:
    if output.kind is OutputKind.VALUE:
        return "a value"
    divided = manifest.temperature is not None and manifest.temperature.output == output.name
    return f"logits, classes on axis {output.axis}" + ", divided by the temperature in the graph" * divided


def _normalisation(image: ImageInput) -> str:
    if image.tensor.dtype == "uint8":
        return "pixels from 0 to 255, which the graph normalises"
    found = image.normalisation
    if found is None:
        return "normalised as those of the training were, **which nobody said**"
    if found == Normalisation():
        return "pixel / 255"
    mean, std = (", ".join(f"{number:g}" for number in numbers) for numbers in (found.mean, found.std))
    return f"(pixel / 255 - mean) / std with mean {mean} and std {std}"


def class_names(manifest: Manifest) -> Iterator[str]:
    """The classes in their order, where somebody named them."""
    for output, names in manifest.usage.class_names.items():
        shown = ", ".join(f"{number} {code(name)}" for number, name in enumerate(names[:_MOST_NAMES]))
        more = f", and {len(names) - _MOST_NAMES} more in `{MANIFEST_FILE}`" if len(names) > _MOST_NAMES else ""
        yield f"Classes of {code(output)}: {shown}{more}."


def weights(manifest: Manifest) -> Iterator[str]:
    """How many weights there are, in the words of the family."""
    counts = summarise(manifest).counts
    if counts:
        rows = [(prose(name), f"{one:,}" if isinstance(one, int) else f"{one:.2f}") for name, one in counts.items()]
        yield f"<details>\n<summary>How many weights</summary>\n\n{table(('weights', ''), rows)}\n\n</details>"


def files(manifest: Manifest) -> Iterator[str]:
    """Every file that the manifest lists, with its size."""
    rows = [(code(name), megabytes(found.size_bytes), _FILES.get(name, "")) for name, found in manifest.files.items()]
    rows.append((code(MANIFEST_FILE), "", "how to call the files, and the size and SHA-256 of each"))
    yield table(("file", "size", "what it is"), rows)


def parity(manifest: Manifest) -> Iterator[str]:
    """What verification found when the bundle was made."""
    if not manifest.parity:
        yield "This bundle was not verified when it was made; `hnexport verify .` does that."
        return
    yield (
        "Before the bundle was published, every file was run and compared with PyTorch in float64, member by member. "
        "The error is that of the worst row of an output, relative L2; beside it stands the largest ratio to the error "
        "of PyTorch itself in float32."
    )
    rows = [
        (
            code(name),
            f"{found.members_checked} of {manifest.members}",
            f"{found.relative_l2:.1e}",
            f"{found.multiple_of_eager:.2f}",
        )
        for name, found in manifest.parity.items()
    ]
    yield table(("artifact", "members", "worst error", "times PyTorch's"), rows)
    versions = ", ".join(f"{prose(name)} {prose(version)}" for name, version in manifest.versions.items())
    yield f"With {versions}."
