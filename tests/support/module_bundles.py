"""Small bundles of lists of modules that have nothing in common with an image classifier, for tests of locating."""

import copy
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hnexport import build as building
from hnexport.bundle.checksums import record_file
from hnexport.bundle.fingerprints import fingerprints
from hnexport.bundle.golden import Golden, write_golden
from hnexport.bundle.manifest import Format, Manifest, write_manifest
from hnexport.ensemble import Ensemble
from hnexport.names import MANIFEST_FILE
from hnexport.progress import no_progress

SAMPLES, MEMBERS = 6, 3


class Encoder(nn.Module):
    """Two inputs, one of them an index; two outputs; tied embeddings, positions, LayerNorm, attention."""

    def __init__(self, vocabulary: int = 23, width: int = 16, length: int = 6) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(0.5 * torch.randn(length, width))
        layer = nn.TransformerEncoderLayer(width, 2, 24, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.classify = nn.Linear(width, 3)
        self.decode = nn.Linear(width, vocabulary, bias=False)
        self.decode.weight = self.tokens.weight
        self.register_buffer("order", torch.arange(length).flip(0))

    def forward(self, tokens: Tensor, weighting: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden = self.norm(self.encoder(self.tokens(tokens[:, self.order]) + self.positions))
        pooled = (hidden * weighting[:, :, None]).sum(1) / weighting.sum(1, keepdim=True)
        classes = self.classify(pooled)
        return classes, self.decode(hidden), classes.argmax(1)


class Cnn(nn.Module):
    """GroupNorm, a depthwise convolution, a residual, PReLU, a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.GroupNorm(4, 8)
        self.act = nn.PReLU(8)
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), nn.GELU(), nn.Conv2d(8, 8, 1))
        self.up = nn.ConvTranspose2d(8, 6, 4, 2, 1)
        self.head = nn.Linear(6, 5)

    def forward(self, image: Tensor) -> Tensor:
        hidden = self.act(self.norm(self.stem(image)))
        hidden = hidden + self.body(hidden)
        return self.head(F.relu(self.up(hidden)).mean((2, 3)))


class Recurrent(nn.Module):
    """A GRU in two directions over a series."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(4, 6, batch_first=True, bidirectional=True)
        self.out = nn.Linear(12, 4)

    def forward(self, series: Tensor) -> Tensor:
        return self.out(self.rnn(series)[0][:, -1])


class Residual(nn.Module):
    """Batch norm, and two blocks of one shape."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.head = nn.Linear(8, 4)

    def forward(self, image: Tensor) -> Tensor:
        hidden = self.stem(image)
        for block in self.blocks:
            hidden = block(hidden)
        return self.head(hidden.mean((2, 3)))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.norm2 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))))


def _images(samples: int) -> dict[str, Tensor]:
    return {"image": torch.randn(samples, 3, 8, 8, generator=torch.Generator().manual_seed(5))}


def _texts(samples: int) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(6)
    tokens = torch.randint(0, 23, (samples, 6), generator=random)
    return {"tokens": tokens, "weighting": torch.rand(samples, 6, generator=random) + 0.1}


def _series(samples: int) -> dict[str, Tensor]:
    return {"series": torch.randn(samples, 5, 4, generator=torch.Generator().manual_seed(7))}


MODULES: Mapping[str, tuple[Callable[[], nn.Module], Callable[[int], dict[str, Tensor]], tuple[str, ...]]] = {
    "encoder": (Encoder, _texts, ("classes", "decoded", "choice")),
    "cnn": (Cnn, _images, ("logits",)),
    "recurrent": (Recurrent, _series, ("logits",)),
    "residual": (Residual, _images, ("logits",)),
}


def modules_of(kind: str) -> list[nn.Module]:
    """Members as after training: norms and biases differ everywhere."""
    members = []
    for seed in range(MEMBERS):
        torch.manual_seed(seed)
        module = MODULES[kind][0]()
        random = torch.Generator().manual_seed(100 + seed)
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if tensor.is_floating_point() and tensor.dim() <= 1:
                noise = 0.3 * torch.randn(tensor.shape, generator=random)
                tensor.data = tensor.data * noise.exp() if "var" in name else tensor.data + noise
        members.append(module.eval())
    for module in members[1:]:  # the input layer is shared
        next(iter(module.children())).load_state_dict(copy.deepcopy(next(iter(members[0].children())).state_dict()))
    return members


def module_bundle(kind: str, target: Path) -> Path:
    """A bundle of three members in every format, and its golden samples."""
    _, inputs, outputs = MODULES[kind]
    modules = modules_of(kind)
    ensemble = Ensemble.from_modules(modules, example_inputs=inputs(2), outputs=outputs)
    target.mkdir(parents=True)
    _write(ensemble, modules, inputs(SAMPLES), target)
    return target


def _write(ensemble: Ensemble, modules: list[nn.Module], inputs: dict[str, Tensor], target: Path) -> None:
    """What `hnexport.build.build` does, without its verification."""
    formats = (Format.ONNX, Format.TORCHSCRIPT, Format.PT2)
    manifest = building._write_formats(ensemble, target, formats, building._Clock(no_progress))
    write_golden(target, _golden(ensemble, manifest, modules, inputs))
    names = sorted(path.name for path in target.iterdir() if path.name != MANIFEST_FILE)
    write_manifest(target, dataclasses.replace(manifest, files={name: record_file(target / name) for name in names}))


def _golden(ensemble: Ensemble, manifest: Manifest, modules: list[nn.Module], inputs: dict[str, Tensor]) -> Golden:
    wide = {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in inputs.items()}
    found: dict[str, list[np.ndarray]] = {output.name: [] for output in manifest.outputs}
    for module in modules:
        with torch.no_grad():
            raw = copy.deepcopy(module).double()(**wide)
        for output, tensor in zip(manifest.outputs, raw if isinstance(raw, tuple) else (raw,), strict=True):
            found[output.name].append(tensor.numpy())
    zeros = {output.name: np.zeros((MEMBERS, SAMPLES)) for output in manifest.outputs if output.is_floating}
    return Golden(
        inputs={name: tensor.numpy() for name, tensor in inputs.items()},
        kinds=("noise",) * SAMPLES,
        members=np.arange(MEMBERS),
        outputs={name: np.stack(arrays) for name, arrays in found.items()},
        eager=zeros,
        noise=zeros,
        fingerprints=fingerprints((name, tensor.numpy()) for name, tensor in ensemble.tensors.items()),
    )
