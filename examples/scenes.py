"""A hypernetwork of a vector: a network that draws one scene, made of a code, in a few seconds.

    python examples/scenes.py [--out FOLDER]
    hnexport build --from examples/scenes.py:make --input code=float32[4] --input point=float32[batch,2]

A scene is a bump on the plane: its code is place, width and height. The hypernetwork makes the weights of a small
network `point -> height`, so that each scene is a network of its own. Two of them are made with onnxruntime alone: once
`hypernet.onnx`, then `network.onnx` as often as one likes.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn
from torch.func import functional_call

from hnexport import Ensemble
from hnexport.build import build
from hnexport.bundle import read_manifest

HIDDEN = 16
SCENES = {"left": (-0.5, 0.0, 0.3, 1.0), "right": (0.5, 0.2, 0.2, -0.7)}


class Field(nn.Module):
    """`point: float32 [batch, 2] -> height [batch, 1]`; its first layer is every scene's own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(2, HIDDEN), nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, 1)

    def forward(self, point: Tensor) -> Tensor:
        """Heights of points."""
        return self.last(torch.tanh(self.second(torch.tanh(self.first(point)))))


class Scenes(nn.Module):
    """`code: float32 [4] -> the tensors of a Field, by its names`."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 32), nn.Tanh())
        self.first, self.second, self.last = nn.Linear(32, 3 * HIDDEN), nn.Linear(32, HIDDEN), nn.Linear(32, HIDDEN + 1)

    def forward(self, code: Tensor) -> dict[str, Tensor]:
        """What it does not return, the network keeps: here the weight of its second layer."""
        hidden = self.body(code)
        first, last = self.first(hidden), self.last(hidden)
        return {
            "first.weight": first[: 2 * HIDDEN].view(HIDDEN, 2),
            "first.bias": first[2 * HIDDEN :],
            "second.bias": self.second(hidden),
            "last.weight": last[:HIDDEN].view(1, HIDDEN),
            "last.bias": last[HIDDEN:],
        }


def make() -> tuple[nn.Module, nn.Module]:
    """What `--from` takes: a hypernetwork and its network; with condition ids, how many there are too."""
    torch.manual_seed(0)
    return Scenes().eval(), Field().eval()


def main() -> None:
    parser = argparse.ArgumentParser(description="A hypernetwork of a vector, trained, exported, and its objects made.")
    parser.add_argument("--out", type=Path, help="where the bundle is kept; default: a temporary folder")
    arguments = parser.parse_args()
    hypernet, network = make()
    train(hypernet, network)
    ensemble = Ensemble.from_hypernetwork(
        hypernet,
        network,
        example_inputs={"code": torch.tensor(SCENES["left"]), "point": torch.zeros(2, 2)},
        outputs=("height",),
        origin="examples/scenes.py",
    )
    with tempfile.TemporaryDirectory() as temporary:
        bundle = build(ensemble, (arguments.out or Path(temporary)) / "scenes").path
        for name, code in SCENES.items():
            scene = materialise(bundle, np.array(code, dtype=np.float32))
            (found,) = scene.run(["height"], {"point": np.array([code[:2]], dtype=np.float32)})
            print(f"{name}: {found.item():.2f} at the place of its bump, which is {code[3]} high")


def materialise(bundle: Path, code: np.ndarray) -> onnxruntime.InferenceSession:
    """A session of one scene's network, with nothing but onnxruntime; `hnexport.runtime` does it in one call."""
    files = read_manifest(bundle).onnx
    assert files is not None  # a bundle may have other formats alone
    names = list(files.supplied)  # also in manifest.json, as onnx.supplied
    hypernet = onnxruntime.InferenceSession(bundle / "hypernet.onnx", providers=["CPUExecutionProvider"])
    weights = hypernet.run(names, {"cond_id": np.array(0), "code": code})
    options = onnxruntime.SessionOptions()
    options.add_external_initializers(names, [onnxruntime.OrtValue.ortvalue_from_numpy(one) for one in weights])
    return onnxruntime.InferenceSession(bundle / "network.onnx", options, providers=["CPUExecutionProvider"])


def train(hypernet: nn.Module, network: nn.Module) -> None:
    """Each step draws scenes, and points of them."""
    parameters = [*hypernet.parameters(), *network.get_submodule("second").parameters()]
    optimiser = torch.optim.Adam(parameters, lr=0.01)
    low, high = torch.tensor([-0.7, -0.7, 0.2, -1.0]), torch.tensor([0.7, 0.7, 0.5, 1.0])
    for _ in range(500):
        loss = torch.zeros(())
        for code in low + (high - low) * torch.rand(8, 4):
            point = code[:2] + 0.4 * torch.randn(64, 2)
            height = code[3] * torch.exp(-((point - code[:2]) ** 2).sum(1, keepdim=True) / code[2] ** 2 / 2)
            loss = loss + (functional_call(network, hypernet(code), (point,)) - height).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


if __name__ == "__main__":
    main()
