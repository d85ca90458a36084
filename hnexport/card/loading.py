"""How a bundle is loaded, as code that runs on this very bundle: whatever its inputs, outputs and conditions are.

Blocks are run in the bundle's folder, one after the other: each takes `inputs` from the first. Names stand in them as
literals of their language.
"""

import json
from collections.abc import Iterator, Mapping, Sequence

from hnexport.bundle.manifest import Format, Manifest
from hnexport.card.markdown import fenced, literal
from hnexport.families import image_input
from hnexport.names import COND_ID, COND_IDS, ENSEMBLE_FILE, GOLDEN_FILE, MODEL_FILE, PT2_FILE, TORCHSCRIPT_FILE
from hnexport.spec import OutputKind, TensorSpec
from hnexport.spec.summaries import summaries
from hnexport.text import clean

__all__ = ["how_to_load", "shape_text"]

_CPU = 'providers=["CPUExecutionProvider"]'
_JS_ARRAYS = {
    **{name: f"{name.capitalize()}Array" for name in ("int8", "int16", "int32", "float32", "float64")},
    **{f"uint{bits}": f"Uint{bits}Array" for bits in (8, 16, 32)},
    "int64": "BigInt64Array",
    "uint64": "BigUint64Array",
    "bool": "Uint8Array",
    "float16": "Uint16Array",
}
_OPENVINO = ("float32", "int64", "int32", "uint8", "bool")
"""The dtypes that OpenVINO computes as they are, at float32's precision."""


def how_to_load(manifest: Manifest, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
    """Paragraphs and blocks.

    Args:
        shapes: of the golden inputs, by name.
    """
    yield (
        f"The blocks run in the bundle's folder, one after the other. `{GOLDEN_FILE}` holds samples with reference "
        "outputs; put your own arrays in their place."
    )
    yield fenced("python", _inputs(manifest))
    has_onnx = Format.ONNX in manifest.formats
    if has_onnx:
        yield from _runtime(manifest)
        yield from _pictures(manifest)
        yield from _onnxruntime(manifest)
    if Format.TORCHSCRIPT in manifest.formats or Format.PT2 in manifest.formats:
        yield from _torch(manifest)
    if has_onnx:
        yield from _openvino(manifest)
        yield from _javascript(manifest, shapes)
    yield _elsewhere(manifest)


def shape_text(tensor: TensorSpec) -> str:
    """`[batch, 3, 32, 32]`."""
    return f"[{', '.join(clean(str(size)) for size in tensor.shape)}]"


def _typed(tensor: TensorSpec) -> str:
    return f"{tensor.dtype} {shape_text(tensor)}"


def _outputs(manifest: Manifest) -> str:
    """What a call gives, as a remark; names are quoted, so that none ends the line."""
    return ", ".join(f"{literal(output.name)} {_typed(output)}" for output in manifest.outputs)


def _inputs(manifest: Manifest) -> Iterator[str]:
    yield "import numpy as np"
    yield "from safetensors.numpy import load_file"
    yield ""
    yield f"golden = load_file({literal(GOLDEN_FILE)})"
    yield "inputs = {"
    for tensor in manifest.inputs[1:]:
        held = "images" if manifest.schema_version == 1 else f"input.{tensor.name}"
        yield f"    {literal(tensor.name)}: golden[{literal(held)}],  # {_typed(tensor)}"
    yield "}"


def _runtime(manifest: Manifest) -> Iterator[str]:
    yield (
        "**hnexport.runtime** (Python without PyTorch, `pip install 'hnexport-runtime[cpu]'`): a member's weights are "
        "made once, then a call costs what a plain network costs."
    )
    several = len(manifest.outputs) > 1
    what = "a dict: " if several else ""
    lines = [
        "from hnexport.runtime import load",
        "",
        'ensemble = load(".")  # checks the manifest, checksums and a golden sample',
        f"outputs = ensemble.predict(inputs, member=0)  # {what}{_outputs(manifest)}",
        'every = ensemble.predict(inputs, members="all")  # with the member as a further first axis',
        "together = ensemble.predict_mean(inputs)",
    ]
    if manifest.anytime is not None:
        lines.append('enough = ensemble.predict_mean(inputs, until="bundle")  # no more members than a row needs')
    for output in manifest.outputs:
        found = f"together[{literal(output.name)}]" if several else "together"
        if output.kind is OutputKind.LOGITS:
            lines.append(f"{found}.probabilities, {found}.mutual_information, {found}.votes")
        else:
            lines.append(f"{found}.mean, {found}.variance" if output.is_floating else f"{found}.values")
    yield fenced("python", lines)


def _pictures(manifest: Manifest) -> Iterator[str]:
    image = image_input(manifest)
    if image is None:
        return
    if image.tensor.dtype != "uint8" and image.normalisation is None:
        yield (
            "Pictures have to be normalised as those of the training were, which nobody said of this bundle: "
            "`hnexport.images.read_images` takes files with `normalisation=Normalisation(mean=…, std=…)`."
        )
        return
    yield (
        "Pictures (PNG, JPEG, WebP, …) become what the graph takes"
        + (":" if image.tensor.dtype == "uint8" else ", normalised as this bundle says:")
    )
    yield fenced(
        "python",
        [
            "from hnexport.images import read_images",
            "",
            f"# resize=True scales them to {image.width} x {image.height}",
            'pictures = read_images(["picture.png"], ensemble.image_input, resize=True)',
            "seen = ensemble.predict_mean(pictures.images)",
        ],
    )


def _onnxruntime(manifest: Manifest) -> Iterator[str]:
    yield (
        f"**onnxruntime** alone: `{MODEL_FILE}` is one member a call, `{ENSEMBLE_FILE}` any number of them, and what "
        "they say together."
    )
    names = [output.name for output in manifest.outputs]
    together = ", ".join(literal(one.name) for one in summaries(manifest.signature))
    yield fenced(
        "python",
        [
            "import onnxruntime as ort",
            "",
            f"session = ort.InferenceSession({literal(MODEL_FILE)}, {_CPU})",
            f"outputs = session.run({_list(names)}, {{{literal(COND_ID)}: np.array(0, np.int64), **inputs}})",
            "",
            f"session = ort.InferenceSession({literal(ENSEMBLE_FILE)}, {_CPU})",
            f"names = [{together}]",
            f"members = np.arange({manifest.members})",
            f"found = dict(zip(names, session.run(names, {{{literal(COND_IDS)}: members, **inputs}})))",
        ],
    )


def _torch(manifest: Manifest) -> Iterator[str]:
    yield (
        "**PyTorch**: inputs in the order of the table above. These files are programs: load them where you know who "
        "made them."
    )
    several = len(manifest.outputs) > 1
    lines = ["import torch", "", "tensors = [torch.from_numpy(array) for array in inputs.values()]"]
    what = f"# {'a tuple: ' if several else ''}{_outputs(manifest)}"
    if Format.TORCHSCRIPT in manifest.formats:
        lines += [
            f"module = torch.jit.load({literal(TORCHSCRIPT_FILE)})",
            f"outputs = module(torch.tensor(0), *tensors)  {what}",
        ]
    if Format.PT2 in manifest.formats:
        lines += [
            f"program = torch.export.load({literal(PT2_FILE)}).module()",
            f"outputs = program(torch.tensor(0), *tensors)  {what}",
        ]
    yield fenced("python", lines)


def _openvino(manifest: Manifest) -> Iterator[str]:
    if any(tensor.dtype not in _OPENVINO for tensor in (*manifest.inputs, *manifest.outputs)):
        return
    yield (
        'In **OpenVINO**, `load(".", engine="openvino")` of hnexport.runtime, or the file itself. It cuts ids to 32 '
        "bits and may compute a number where an input is NaN: check both before the call."
    )
    yield fenced(
        "python",
        [
            "import openvino as ov",
            "",
            'settings = {"INFERENCE_PRECISION_HINT": "f32"}',
            f'compiled = ov.Core().compile_model({literal(MODEL_FILE)}, "CPU", settings)',
            f"outputs = compiled({{{literal(COND_ID)}: np.array(0, np.int64), **inputs}})",
            f"outputs[{literal(manifest.outputs[0].name)}]",
        ],
    )


def _javascript(manifest: Manifest, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
    yield "**JavaScript**, here in Node with `npm install onnxruntime-node`, with zeros for inputs:"
    feeds = []
    for tensor in manifest.inputs[1:]:
        shape = list(shapes[tensor.name])
        if tensor.has_batch:
            shape[0] = 1
        count = " * ".join(map(str, shape)) or "1"
        made = f'new ort.Tensor("{tensor.dtype}", new {_JS_ARRAYS[tensor.dtype]}({count}), {json.dumps(shape)})'
        feeds.append(f"  {json.dumps(tensor.name)}: {made},  // {shape_text(tensor)}")
    names = [json.dumps(output.name) for output in manifest.outputs]
    yield fenced(
        "js",
        [
            'import ort from "onnxruntime-node";',
            "",
            f'const session = await ort.InferenceSession.create("{MODEL_FILE}");',
            "const outputs = await session.run({",
            f'  "{COND_ID}": new ort.Tensor("int64", BigInt64Array.of(0n), []),',
            *feeds,
            "});",
            f"console.log({', '.join(f'outputs[{name}].data' for name in names)});",
        ],
    )
    if manifest.conditions:
        return
    pages = " (`hnexport deploy web` makes a page of a bundle)" if manifest.schema_version > 1 else ""
    yield (
        f"In browsers, onnxruntime-web loads the same files; hnexport's TypeScript module does it with checks{pages}."
    )


def _elsewhere(manifest: Manifest) -> str:
    plain = "" if manifest.conditions else (
        " A member as a plain network in one file, without a condition id, for runtimes that want nothing else: "
        "`hnexport member . 0 --out member.onnx`."
    )  # fmt: skip
    libraries = "`model.pt` in libtorch, " * (Format.TORCHSCRIPT in manifest.formats)
    onnx = "the ONNX files in onnxruntime and OpenVINO; " * (Format.ONNX in manifest.formats)
    return (
        f"**C++**: {libraries}{onnx}hnexport's repository has programs for each in `examples/`.{plain}"
        if libraries or onnx
        else plain.strip()
    )


def _list(names: Sequence[str]) -> str:
    return f"[{', '.join(map(literal, names))}]"
