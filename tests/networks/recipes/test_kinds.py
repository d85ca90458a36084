"""What recipes generate beyond matrices and plain kernels, each built, verified and loaded."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from thorough import first
from torch import Tensor, nn

from hnexport import Ensemble, ModuleRecipe, Rule
from hnexport.build import BuildOptions, build
from hnexport.bundle.manifest import Format
from hnexport.errors import RuntimeInputError
from hnexport.runtime import load


class Signals(nn.Module):
    """In one dimension: grouped, transposed in groups, dilated."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(4, 8, 3, groups=2, padding=1)
        self.up = nn.ConvTranspose1d(8, 6, 3, stride=2, groups=2)
        self.last = nn.Conv1d(6, 5, 3, dilation=2)

    def forward(self, signal: Tensor) -> Tensor:
        return self.last(self.up(self.first(signal).relu())).mean(2)


class Volumes(nn.Module):
    """In three dimensions, by channel too, then transposed in two."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.depthwise = nn.Conv3d(2, 6, 3, padding=1), nn.Conv3d(6, 6, 3, groups=6)
        self.up = nn.ConvTranspose2d(6, 4, 2, stride=2)

    def forward(self, volume: Tensor) -> Tensor:
        return self.up(self.depthwise(self.first(volume).relu()).relu().mean(2)).relu().mean((2, 3))


class Texts(nn.Module):
    """An embedding, to which the decoder is tied."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.body, self.decoder = nn.Embedding(11, 5), nn.Linear(5, 5), nn.Linear(5, 11, bias=False)
        self.decoder.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.decoder(self.body(self.embedding(tokens)).tanh())


ALL = (Rule("*", "generated"),)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """`hypernets`: chunks, chunk size and embedding size of each internal hypernetwork."""

    make: Callable[[], nn.Module]
    recipe: ModuleRecipe
    members: int
    inputs: Tensor
    hypernets: dict[str, tuple[int, int, int]]


KINDS = {
    "kernels of one dimension, cut, one member, bases in float16": Kind(
        make=Signals,
        recipe=ModuleRecipe(
            rules=ALL, chunk_size=30, basis_dtype="float16", embedding_size=3, embedding_sizes={"shape_?": 2}
        ),
        members=1,
        inputs=torch.zeros(1, 4, 8),
        hypernets={
            "shape_8_1_3": (5, 24, 3),
            "shape_8": (1, 8, 2),
            "shape_6": (1, 6, 2),
            "shape_5_2_3": (3, 30, 3),
            "shape_5": (1, 5, 2),
        },
    ),
    "kernels of three dimensions in one chunk, a hidden layer, bases in int8": Kind(
        make=Volumes,
        recipe=ModuleRecipe(
            rules=ALL, planner="whole", hidden_layers=(4,), bias=True, activation="elu", basis_dtype="int8"
        ),
        members=2,
        inputs=torch.zeros(1, 2, 3, 4, 4),
        hypernets={"whole": (1, 324 + 6 + 162 + 6 + 96 + 4, 8)},
    ),
    "a tied embedding over chunks of an odd size, a hundred members, bases in int4": Kind(
        make=Texts,
        recipe=ModuleRecipe(rules=ALL, planner="flat", chunk_size=37, embedding_size=3, basis_dtype="int4"),
        members=100,
        inputs=torch.zeros(1, 6, dtype=torch.int64),
        hypernets={"flat": (3, 37, 3)},
    ),
}


@pytest.mark.parametrize("kind", first(1, KINDS.values()), ids=KINDS.keys())
def test_a_kind_of_tensor_is_generated_in_every_graph(kind: Kind, tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module, shape = kind.make().eval(), (3, *kind.inputs.shape[1:])
        inputs = torch.randn(shape) if kind.inputs.is_floating_point() else torch.randint(0, 11, shape)
    ensemble = Ensemble.from_recipe(module, kind.recipe, members=kind.members, example_inputs=kind.inputs)
    plan = ensemble.generator.spec.plan
    assert {item.name: (item.chunks, item.chunk_size, item.embedding_size) for item in plan.hypernets} == kind.hypernets
    loaded = load(build(ensemble, tmp_path / "b", options=BuildOptions(formats=(Format.ONNX,))).path)
    for member in {0, kind.members - 1}:
        with torch.no_grad():
            (expected,) = ensemble(member, {loaded.signature.inputs[0].name: inputs}).values()
        np.testing.assert_allclose(loaded.predict(inputs.numpy(), member=member), expected.numpy(), 1e-4, 1e-6)
    if kind.members == 1:  # there is nothing to choose
        assert np.array_equal(loaded.predict(inputs.numpy()), loaded.predict(inputs.numpy(), member=0))
    else:
        with pytest.raises(RuntimeInputError, match="give either member=3 or"):
            loaded.predict(inputs.numpy())
