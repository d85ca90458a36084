"""A vector that hnet gets from outside is an input of the graph where it stands among the example inputs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypnettorch.hnets import HMLP, ChunkedHMLP
from hypnettorch.mnets import MLP
from thorough import first

from hnexport import Ensemble
from hnexport.build import BuildOptions, build
from hnexport.bundle.manifest import Format
from hnexport.errors import SpecError
from hnexport.runtime import load

pytestmark = pytest.mark.filterwarnings("ignore:Requested that conditional weights")  # hypnettorch's own

SIZE = 3
LAYERS: dict[str, Any] = {"layers": [6], "verbose": False}
VECTORS: dict[str, tuple[Callable[[Any], Any], str, int]] = {
    "HMLP of a vector": (lambda shapes: HMLP(shapes, uncond_in_size=SIZE, cond_in_size=0, **LAYERS), "uncond_input", 0),
    "HMLP of both": (
        lambda shapes: HMLP(shapes, uncond_in_size=SIZE, cond_in_size=4, num_cond_embs=2, **LAYERS),
        "uncond_input",
        2,
    ),
    "HMLP of a conditional vector": (
        lambda shapes: HMLP(shapes, cond_in_size=SIZE, num_cond_embs=0, no_cond_weights=True, **LAYERS),
        "cond_input",
        0,
    ),
    "ChunkedHMLP of a vector": (
        lambda shapes: ChunkedHMLP(shapes, 10, chunk_emb_size=4, cond_in_size=0, uncond_in_size=SIZE, **LAYERS),
        "uncond_input",
        0,
    ),
}


def pair(name: str) -> tuple[Any, Any, str, int]:
    make, vector, members = VECTORS[name]
    with torch.random.fork_rng():
        torch.manual_seed(2)
        mnet = MLP(n_in=5, n_out=2, hidden_layers=[4], no_weights=True, verbose=False).eval()
        hnet = make(mnet.param_shapes).eval()
        for parameter in hnet.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return hnet, mnet, vector, members


def given(vector: Any, seed: int = 0) -> dict[Any, Any]:
    random = torch.Generator().manual_seed(seed)
    return {vector: torch.randn(1, SIZE, generator=random), "x": torch.randn(3, 5, generator=random)}


def expected(hnet: Any, mnet: Any, vector: Any, member: int | None, inputs: Any) -> Any:
    ids = {} if member is None else {"cond_id": member}
    with torch.no_grad():
        return mnet.forward(inputs["x"], weights=hnet.forward(**{vector: inputs[vector]}, **ids))


@pytest.mark.parametrize("name", first(1, VECTORS))
def test_every_vector_gives_what_hypnettorch_gives(name: str) -> None:
    hnet, mnet, vector, members = pair(name)
    ensemble = Ensemble.from_hypnettorch(hnet, mnet, example_inputs=given(vector, 9), outputs=("y",))
    assert (ensemble.members, ensemble.signature.conditions) == (members or 1, (vector,))
    for seed in range(2):
        inputs = given(vector, seed)
        for member in range(ensemble.members):
            found = ensemble(member, inputs)["y"].detach()
            torch.testing.assert_close(found, expected(hnet, mnet, vector, member if members else None, inputs))
    assert ensemble(ensemble.members, given(vector))["y"].isnan().all()


def test_it_is_built_and_an_object_is_a_plain_network(tmp_path: Path) -> None:
    hnet, mnet, vector, _ = pair("ChunkedHMLP of a vector")
    ensemble = Ensemble.from_hypnettorch(hnet, mnet, example_inputs=given(vector, 9), outputs=("y",))
    built = build(ensemble, tmp_path / "bundle", options=BuildOptions(formats=(Format.ONNX,)))
    inputs = given(vector, 1)
    scene = load(built.path, check="all").materialise(inputs[vector])
    wanted = expected(hnet, mnet, vector, None, inputs)
    np.testing.assert_allclose(scene.predict(inputs["x"]), wanted, rtol=1e-4, atol=1e-6)


def test_what_contradicts_itself_is_refused() -> None:
    hnet, mnet, vector, _ = pair("HMLP of a vector")
    with pytest.raises(SpecError, match="give an example of it, example_inputs="):
        Ensemble.from_hypnettorch(hnet, mnet, example_inputs=torch.zeros(1, 5))
    with pytest.raises(SpecError, match="uncond_input is given twice"):
        Ensemble.from_hypnettorch(hnet, mnet, example_inputs=given(vector), uncond_input=torch.zeros(1, SIZE))
    with pytest.raises(SpecError, match=r"float32 \[1, size\], found torch.float32 \[3\]"):
        Ensemble.from_hypnettorch(hnet, mnet, example_inputs={**given(vector), vector: torch.zeros(SIZE)})
    with pytest.raises(SpecError, match="hnet gets no condition id, so that there is one member, found 2"):
        Ensemble.from_hypnettorch(hnet, mnet, example_inputs=given(vector), members=2)
