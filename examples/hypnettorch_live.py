"""Live networks of hypnettorch, from training code to a verified bundle and its predictions, in a few seconds.

    pip install hypnettorch
    python examples/hypnettorch_live.py [--out FOLDER]

A hypernetwork generates three small classifiers of points, one for each condition, each with a line of its own between
the two classes. They are trained for a moment, exported as one graph, loaded without PyTorch, and asked.
"""

import argparse
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hnexport import Ensemble, Logits
from hnexport.build import build
from hnexport.runtime import load

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # invalid escapes in its sources, when they are first compiled
    from hypnettorch.hnets import HMLP
    from hypnettorch.mnets import MLP

CONDITIONS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description="A hypernetwork and a main network of hypnettorch, exported.")
    parser.add_argument("--out", type=Path, help="where the bundle is kept; default: a temporary folder")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    mnet = MLP(n_in=2, n_out=2, hidden_layers=[16], no_weights=True, verbose=False)
    hnet = HMLP(mnet.param_shapes, cond_in_size=4, layers=[16], num_cond_embs=CONDITIONS, verbose=False)
    train(hnet, mnet)
    ensemble = Ensemble.from_hypnettorch(
        hnet.eval(),
        mnet.eval(),
        example_inputs={"point": torch.zeros(2, 2)},
        outputs={"logits": Logits(axis=1)},
        origin="examples/hypnettorch_live.py",
    )
    with tempfile.TemporaryDirectory() as temporary:
        loaded = load(build(ensemble, (arguments.out or Path(temporary)) / ensemble.name).path)
        points = np.array([[1.0, 0.2], [-1.0, 0.2], [0.2, 1.0]], dtype=np.float32)
        for condition in range(CONDITIONS):
            logits = loaded.predict(points, member=condition)
            print(f"condition {condition}: {points.tolist()} are of the classes {logits.argmax(axis=1).tolist()}")


def train(hnet: nn.Module, mnet: nn.Module) -> None:
    """Each condition has a line of its own between the classes."""
    optimiser = torch.optim.Adam(hnet.parameters(), lr=0.02)
    for step in range(150):
        condition = step % CONDITIONS
        point = torch.randn(64, 2)
        optimiser.zero_grad()
        F.cross_entropy(
            mnet.forward(point, weights=hnet.forward(cond_id=condition)), label(condition, point)
        ).backward()
        optimiser.step()


def label(condition: int, point: Tensor) -> Tensor:
    """1 on one side of a line through the middle, turned by the condition."""
    angle = torch.tensor(condition * torch.pi / CONDITIONS)
    return (point[:, 0] * angle.cos() + point[:, 1] * angle.sin() > 0).long()


if __name__ == "__main__":
    main()
