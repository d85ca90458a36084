"""Faults in networks of any kind: a file is written from modules that somebody changed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from module_bundles import MODULES, Block, Cnn, Encoder, modules_of
from torch import Tensor, nn
from torch.nn import functional as F

from hnexport.ensemble import Ensemble
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
        _, inputs, outputs = MODULES[self.kind]
        modules = self.change(modules_of(self.kind))
        captured = capture(Ensemble.from_modules(modules, example_inputs=inputs(2), outputs=outputs))
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


class IgnoresAnInput(Encoder):
    def forward(self, tokens: Tensor, weighting: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return super().forward(tokens, 0 * weighting + 1)


class ShiftedPositions(Encoder):
    def forward(self, tokens: Tensor, weighting: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden = self.tokens(tokens[:, self.order]) + self.positions.roll(1, 0)
        hidden = self.norm(self.encoder(hidden))
        pooled = (hidden * weighting[:, :, None]).sum(1) / weighting.sum(1, keepdim=True)
        classes = self.classify(pooled)
        return classes, self.decode(hidden), classes.argmax(1)


class WorstClass(Encoder):
    def forward(self, tokens: Tensor, weighting: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        classes, decoded, _ = super().forward(tokens, weighting)
        return classes, decoded, classes.argmin(1)


class WithoutResidual(Block):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))))


class MaximumPooled(Cnn):
    def forward(self, image: Tensor) -> Tensor:
        hidden = self.act(self.norm(self.stem(image)))
        hidden = hidden + self.body(hidden)
        return self.head(F.relu(self.up(hidden)).amax((2, 3)))


def _untie(module: nn.Module) -> None:
    module.decode.weight = nn.Parameter(1.01 * module.tokens.weight)


def _swap_gates(module: nn.Module) -> None:
    reset, update, new = module.rnn.weight_hh_l0.chunk(3)
    module.rnn.weight_hh_l0.data = torch.cat([update, reset, new])


def _replace_activation(module: nn.Module) -> None:
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
        kind="encoder",
        change=lambda modules: [modules[1], modules[0], modules[2]],
        stage=WEIGHTS,
        place="positions",
    ),
    ModuleFault(name="tied weights untied", kind="encoder", change=each(_untie), stage=WEIGHTS, place="decode.weight"),
    ModuleFault(
        name="an input ignored", kind="encoder", change=written_as(IgnoresAnInput), stage=INFERENCE, place="network"
    ),
    ModuleFault(
        name="LayerNorm's epsilon",
        kind="encoder",
        change=_attribute("encoder.layers.1.norm2", "eps", 1e-2),
        stage=INFERENCE,
        place="encoder.layers.1.norm2",
    ),
    ModuleFault(
        name="positions shifted", kind="encoder", change=written_as(ShiftedPositions), stage=INFERENCE, place="network"
    ),
    ModuleFault(
        name="stored positions shifted",
        kind="encoder",
        change=_data("positions", lambda tensor: tensor.roll(1, 0)),
        stage=WEIGHTS,
        place="positions",
    ),
    ModuleFault(
        name="a projection transposed",
        kind="encoder",
        change=_data(_OUT_PROJECTION, lambda tensor: tensor.t()),
        stage=WEIGHTS,
        place=_OUT_PROJECTION,
    ),
    ModuleFault(
        name="an activation replaced",
        kind="encoder",
        change=each(_replace_activation),
        stage=INFERENCE,
        place="encoder.layers.0",
    ),
    ModuleFault(name="another choice", kind="encoder", change=written_as(WorstClass), stage=INFERENCE, place="choice"),
    ModuleFault(
        name="GroupNorm's groups",
        kind="cnn",
        change=_attribute("norm", "num_groups", 2),
        stage=INFERENCE,
        place="norm",
    ),
    ModuleFault(
        name="GELU replaced",
        kind="cnn",
        change=written_as(nn.Tanh, "body.1"),
        stage=INFERENCE,
        place="body.1",
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
        place="rnn.weight_hh_l0",
    ),
    ModuleFault(
        name="a residual dropped",
        kind="residual",
        change=written_as(WithoutResidual, "blocks.1"),
        stage=INFERENCE,
        place="blocks.1",
    ),
    ModuleFault(
        name="weights of two blocks exchanged",
        kind="residual",
        change=_exchange("blocks.0.conv1.weight", "blocks.1.conv1.weight"),
        stage=WEIGHTS,
        place="blocks.0.conv1.weight",
    ),
    ModuleFault(
        name="batch norm's epsilon",
        kind="residual",
        change=_attribute("blocks.1.norm2", "eps", 1e-3),
        stage=INFERENCE,
        place="blocks.1.norm2",
    ),
)
