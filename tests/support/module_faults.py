"""Faults in networks of any kind: a file is written from modules that somebody changed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from module_ensembles import ENSEMBLES, Basic, Cnn, Reader, Transformer
from torch import Tensor, nn
from torch.nn import functional as F

from hnexport.export import capture, write_onnx, write_pt2, write_torchscript

Change = Callable[[list[nn.Module]], list[nn.Module]]
WEIGHTS, INFERENCE = "weight generation", "inference"


@dataclass(frozen=True, kw_only=True)
class ModuleFault:
    """`place` is what `locate` should name."""

    name: str
    kind: str
    change: Change
    stage: str
    place: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}"

    def write(self, artifact: str, folder: Path) -> Path:
        """The faulty file; of ONNX with its weights beside it."""
        kind = ENSEMBLES[self.kind]
        captured = capture(kind.ensemble_of(self.change(kind.modules())))
        if artifact == "onnx":
            write_onnx(captured, folder, {})
            return folder / "model.onnx"
        path = folder / ("model.pt2" if artifact == "pt2" else "model.pt")
        (write_pt2 if artifact == "pt2" else write_torchscript)(captured, path)
        return path


def each(change: Callable[[nn.Module], None]) -> Change:
    def changed(modules: list[nn.Module]) -> list[nn.Module]:
        with torch.no_grad():
            for module in modules:
                change(module)
        return modules

    return changed


def written_as(kind: type[nn.Module], path: str = "") -> Change:
    """The part at a path of every member computes what another class says."""
    return each(lambda module: setattr(module.get_submodule(path), "__class__", kind))


class IgnoresAnInput(Transformer):
    def forward(self, tokens: Tensor, weighting: Tensor) -> dict[str, Tensor]:
        return super().forward(tokens, 0 * weighting + 1)


class ShiftedPositions(Transformer):
    def forward(self, tokens: Tensor, weighting: Tensor) -> dict[str, Tensor]:
        hidden = self.embedding(tokens[:, self.order]) * self.scale + self.position.roll(1, 0)
        hidden = self.encoder(hidden)
        pooled = (hidden * weighting[:, :, None]).sum(1) / weighting.sum(1, keepdim=True)
        return {"classes": self.classify(pooled), "words": self.decode(hidden)}


class WorstClass(Reader):
    def forward(self, tokens: Tensor, weighting: Tensor) -> dict[str, Tensor]:
        found = super().forward(tokens, weighting)
        return {**found, "choice": found["logits"].argmin(1)}


class WithoutResidual(Basic):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


class Squared(nn.PReLU):
    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x * x


class MaximumPooled(Cnn):
    def forward(self, image: Tensor) -> Tensor:
        x = self.act(self.norm(self.stem(image)))
        x = self.last_act(self.up(self.pointwise(self.depthwise(x))))
        return self.head(x.amax((2, 3)))


def _untie(module: Any) -> None:
    module.decode.weight = nn.Parameter(1.01 * module.embedding.weight)


def _swap_gates(module: Any) -> None:
    reset, update, new = module.below.weight_hh_l0.chunk(3)
    module.below.weight_hh_l0.data = torch.cat([update, reset, new])


def _replace_activation(module: Any) -> None:
    layer = module.encoder.layers[0]
    layer.activation, layer.activation_relu_or_gelu = F.gelu, 2  # what eager PyTorch's fast path goes by


def _attribute(path: str, name: str, value: object) -> Change:
    return each(lambda module: setattr(module.get_submodule(path), name, value))


def _data(name: str, change: Callable[[Tensor], Tensor]) -> Change:
    def changed(module: nn.Module) -> None:
        module.get_parameter(name).data = change(module.get_parameter(name)).contiguous()

    return each(changed)


def _exchange(first: str, second: str) -> Change:
    def changed(module: nn.Module) -> None:
        one, other = module.get_parameter(first), module.get_parameter(second)
        one.data, other.data = other.data.clone(), one.data.clone()

    return each(changed)


_OUT_PROJECTION = "encoder.layers.0.self_attn.out_proj.weight"

MODULE_FAULTS = (
    ModuleFault(
        name="members swapped",
        kind="transformer",
        change=lambda modules: [modules[1], modules[0], *modules[2:]],
        stage=WEIGHTS,
        place="position",
    ),
    ModuleFault(
        name="tied weights untied", kind="transformer", change=each(_untie), stage=WEIGHTS, place="decode.weight"
    ),
    ModuleFault(
        name="an input ignored", kind="transformer", change=written_as(IgnoresAnInput), stage=INFERENCE, place="network"
    ),
    ModuleFault(
        name="LayerNorm's epsilon",
        kind="transformer",
        change=_attribute("encoder.layers.1.norm2", "eps", 1e-2),
        stage=INFERENCE,
        place="encoder.layers.1.norm2",
    ),
    ModuleFault(
        name="positions shifted",
        kind="transformer",
        change=written_as(ShiftedPositions),
        stage=INFERENCE,
        place="network",
    ),
    ModuleFault(
        name="stored positions shifted",
        kind="transformer",
        change=_data("position", lambda tensor: tensor.roll(1, 0)),
        stage=WEIGHTS,
        place="position",
    ),
    ModuleFault(
        name="a projection transposed",
        kind="transformer",
        change=_data(_OUT_PROJECTION, lambda tensor: tensor.t()),
        stage=WEIGHTS,
        place=_OUT_PROJECTION,
    ),
    ModuleFault(
        name="an activation replaced",
        kind="transformer",
        change=each(_replace_activation),
        stage=INFERENCE,
        place="encoder.layers.0",
    ),
    ModuleFault(name="another choice", kind="reader", change=written_as(WorstClass), stage=INFERENCE, place="choice"),
    ModuleFault(
        name="GroupNorm's groups",
        kind="cnn",
        change=_attribute("norm", "num_groups", 2),
        stage=INFERENCE,
        place="norm",
    ),
    ModuleFault(
        name="an activation replaced",
        kind="cnn",
        change=written_as(Squared, "last_act"),
        stage=INFERENCE,
        place="last_act",
    ),
    ModuleFault(
        name="a slope of PReLU",
        kind="cnn",
        change=_data("act.weight", lambda t: 1.01 * t),
        stage=WEIGHTS,
        place="act.weight",
    ),
    ModuleFault(name="maximum pooled", kind="cnn", change=written_as(MaximumPooled), stage=INFERENCE, place="network"),
    ModuleFault(
        name="a GRU's gates swapped",
        kind="recurrent",
        change=each(_swap_gates),
        stage=WEIGHTS,
        place="below.weight_hh_l0",
    ),
    ModuleFault(
        name="a residual dropped",
        kind="resnet",
        change=written_as(WithoutResidual, "layers.0"),
        stage=INFERENCE,
        place="layers.0",
    ),
    ModuleFault(
        name="weights of two convolutions exchanged",
        kind="resnet",
        change=_exchange("layers.0.conv1.weight", "layers.0.conv2.weight"),
        stage=WEIGHTS,
        place="layers.0.conv1.weight",
    ),
    ModuleFault(
        name="batch norm's epsilon",
        kind="resnet",
        change=_attribute("layers.1.bn2", "eps", 1e-3),
        stage=INFERENCE,
        place="layers.1.bn2",
    ),
)
