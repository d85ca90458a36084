"""Model files as other people's tools leave them, made from a bundle's own files."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import torch
from faults import OnnxEditor
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from hnexport.bundle import read_manifest
from hnexport.parity.torch_runners import load_torch


def edited(bundle: Path, edit: Callable[[OnnxEditor], None], name: str = "model.onnx") -> Path:
    """A bundle's ONNX file, edited in place (give a copy)."""
    editor = OnnxEditor(bundle / name)
    edit(editor)
    editor.save()
    return bundle / name


def with_fixed_batch(bundle: Path, size: int, name: str = "model.onnx") -> Path:
    def edit(editor: OnnxEditor) -> None:
        for item in (*editor.graph.input, *editor.graph.output):
            for axis in item.type.tensor_type.shape.dim:
                if axis.dim_param == "batch":
                    axis.Clear()
                    axis.dim_value = size
        del editor.graph.value_info[:]

    return edited(bundle, edit, name)


def with_image_type(bundle: Path, dtype: int) -> Path:
    """The image arrives in another type, the graph computes in float32."""

    def edit(editor: OnnxEditor) -> None:
        image = editor.graph.input[1]
        image.type.tensor_type.elem_type = dtype
        for node in editor.graph.node:
            node.input[:] = ["image/cast" if name == "image" else name for name in node.input]
        editor.graph.node.insert(0, helper.make_node("Cast", ["image"], ["image/cast"], to=TensorProto.FLOAT))

    return edited(bundle, edit)


def with_logits_type(bundle: Path, dtype: int) -> Path:
    def edit(editor: OnnxEditor) -> None:
        editor.after("logits", "Cast", to=dtype)
        editor.graph.output[0].type.tensor_type.elem_type = dtype

    return edited(bundle, edit)


def with_more_outputs(bundle: Path, *, logits: str = "logits", first: bool = False) -> Path:
    """A second output, the argmax, before or after the logits, which may be renamed."""

    def edit(editor: OnnxEditor) -> None:
        if logits != "logits":
            editor.graph.node.append(helper.make_node("Identity", ["logits"], [logits]))
            editor.graph.output[0].name = logits
        editor.graph.node.append(helper.make_node("ArgMax", [logits], ["winner"], axis=1, keepdims=0))
        winner = helper.make_tensor_value_info("winner", TensorProto.INT64, ["batch"])
        outputs = [winner, editor.graph.output[0]] if first else [editor.graph.output[0], winner]
        kept = [onnx.ValueInfoProto.FromString(item.SerializeToString()) for item in outputs]
        del editor.graph.output[:]
        editor.graph.output.extend(kept)

    return edited(bundle, edit)


def with_output(bundle: Path, node: onnx.NodeProto, output: onnx.ValueInfoProto, *constants: np.ndarray) -> Path:
    """One more node behind the logits, whose result is the only output."""

    def edit(editor: OnnxEditor) -> None:
        editor.graph.initializer.extend(
            numpy_helper.from_array(value, f"constant{number}") for number, value in enumerate(constants)
        )
        editor.graph.node.append(node)
        del editor.graph.output[:]
        editor.graph.output.append(output)

    return edited(bundle, edit)


def with_extra_input(bundle: Path, *, default: bool) -> Path:
    """A temperature that the logits are divided by."""

    def edit(editor: OnnxEditor) -> None:
        editor.after("logits", "Div", "temperature")
        editor.graph.input.append(helper.make_tensor_value_info("temperature", TensorProto.FLOAT, [1]))
        if default:
            editor.graph.initializer.append(numpy_helper.from_array(np.ones(1, dtype=np.float32), "temperature"))

    return edited(bundle, edit)


def with_vector_id(bundle: Path) -> Path:
    """`cond_id` of the shape `[1]`."""

    def edit(editor: OnnxEditor) -> None:
        editor.graph.input[0].type.tensor_type.shape.dim.add().dim_value = 1
        for node in editor.graph.node:
            node.input[:] = ["cond_id/scalar" if name == "cond_id" else name for name in node.input]
        editor.graph.initializer.append(numpy_helper.from_array(np.zeros(0, dtype=np.int64), "no axes"))
        editor.graph.node.insert(0, helper.make_node("Reshape", ["cond_id", "no axes"], ["cond_id/scalar"]))

    return edited(bundle, edit)


def as_ort(file: Path, target: Path) -> Path:
    """onnxruntime's own format, unoptimised, so that it runs on any machine."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return target


class Wrapped(nn.Module):
    """A bundle's program inside another module, to be scripted."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner


class OnlySize(Wrapped):
    """Refuses batches of any size but one, as a trace with baked sizes does."""

    size: int

    def __init__(self, inner: nn.Module, size: int) -> None:
        super().__init__(inner)
        self.size = size

    def forward(self, cond_id: Tensor, image: Tensor) -> Tensor:
        logits: Tensor = self.inner(cond_id, image)
        return logits.reshape(self.size, 10)


class FailsAt(Wrapped):
    """Raises at one member."""

    def __init__(self, inner: nn.Module, member: int, factor: float = 1.0) -> None:
        super().__init__(inner)
        self.member, self.factor = member, factor

    def forward(self, cond_id: Tensor, image: Tensor) -> Tensor:
        if int(cond_id) == self.member:
            raise RuntimeError("this member is not here")
        logits: Tensor = self.inner(cond_id, image)
        return logits * self.factor


class AsDict(Wrapped):
    def forward(self, cond_id: Tensor, image: Tensor) -> dict[str, Tensor]:
        logits: Tensor = self.inner(cond_id, image)
        return {"features": logits * 2.0, "logits": logits}


class AsTuple(Wrapped):
    def forward(self, cond_id: Tensor, image: Tensor) -> tuple[Tensor]:
        logits: Tensor = self.inner(cond_id, image)
        return (logits,)


class AsPair(Wrapped):
    def forward(self, cond_id: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        logits: Tensor = self.inner(cond_id, image)
        return logits, logits * 2.0


class AsMap(Wrapped):
    """Logits as a convolution leaves them."""

    def forward(self, cond_id: Tensor, image: Tensor) -> Tensor:
        logits: Tensor = self.inner(cond_id, image)
        return logits[:, :, None, None]


class WithDefault(Wrapped):
    def forward(self, cond_id: Tensor, image: Tensor, temperature: float = 1.0) -> Tensor:
        logits: Tensor = self.inner(cond_id, image)
        return logits / temperature


class VectorId(Wrapped):
    """Takes `cond_id` of the shape `[1]` only."""

    def forward(self, cond_id: Tensor, image: Tensor) -> Tensor:
        logits: Tensor = self.inner(cond_id.view([1])[0] + 0 * cond_id.size(0), image)
        return logits


class EnsembleOnly(Wrapped):
    """A module whose forward has the signature of `ensemble.onnx`."""

    if TYPE_CHECKING:  # TorchScript reads what stands here
        inner: Any

    def forward(self, cond_ids: Tensor, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        logits, mean, entropy, information = self.inner.ensemble(cond_ids, image)
        return logits, mean, entropy, information


def _program(path: Path) -> Any:
    return load_torch(path.read_bytes(), path.name, "cpu")


def scripted(bundle: Path, target: Path, wrap: Callable[[nn.Module], nn.Module]) -> Path:
    """A bundle's TorchScript inside another module, as TorchScript."""
    inner = _program(bundle / "model.pt")
    torch.jit.script(wrap(inner)).save(str(target))
    return target


def halved(bundle: Path, target: Path, dtype: torch.dtype = torch.float16) -> Path:
    """A bundle's TorchScript in another precision."""
    module = _program(bundle / "model.pt").to(dtype)
    module.save(str(target))
    return target


def exported(
    bundle: Path, target: Path, size: int, *, dynamic: object = None, dtype: torch.dtype | None = None
) -> Path:
    """A bundle's `.pt2`, exported again for one batch size, or for a range of them, maybe in another precision."""
    module = _program(bundle / "model.pt2")
    if dtype is not None:
        module = module.to(dtype)
    image = torch.zeros((size, *map(int, read_manifest(bundle).signature.inputs[0].row)), dtype=dtype or torch.float32)
    program = torch.export.export(module, (torch.tensor(1), image), dynamic_shapes=(None, dynamic) if dynamic else None)
    torch.export.save(program, target)
    return target


def as_aotinductor(target: Path) -> Path:
    """The table of contents of an AOTInductor package."""
    with zipfile.ZipFile(target, "w") as archive:
        for name in ("wrapper.cpp", "wrapper_metadata.json", "wrapper.so"):
            archive.writestr(f"model/data/aotinductor/model/abc.{name}", b"native code")
        archive.writestr("model/archive_format", b"pt2")
    return target
