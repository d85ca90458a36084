"""Lists of modules of every kind, each through build, load and plain runtimes with nothing special."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from module_ensembles import ENSEMBLES, Kind
from numpy.typing import NDArray
from shared import built_list
from thorough import only
from torch import Tensor, nn

from hnexport.ensemble import Ensemble
from hnexport.names import MODEL_FILE, PT2_FILE, TORCHSCRIPT_FILE
from hnexport.runtime import load

BATCHES = (1, 2, 7, 33)


Built = tuple[Kind, list[nn.Module], Ensemble, Path]


@pytest.fixture(scope="module", params=only(ENSEMBLES, "reader", "cnn", "recurrent"))
def built(request: pytest.FixtureRequest) -> Built:
    """`(kind, modules, ensemble, folder)` of a list that was built in every format, and verified by that."""
    kind = ENSEMBLES[request.param]
    return kind, kind.modules(), kind.ensemble(), built_list(request.param).path


def _agree(found: object, expected: Mapping[str, np.ndarray], what: str) -> None:
    tensors = found if isinstance(found, Mapping) else {next(iter(expected)): found}
    assert set(tensors) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(tensors[name], value, rtol=1e-3, atol=1e-4, err_msg=f"{what}: {name}")


def _expected(
    kind: Kind, modules: list[nn.Module], ensemble: Ensemble, batch: int
) -> tuple[dict[str, Tensor], dict[str, NDArray[Any]], list[dict[Any, Any]]]:
    """`(tensors, arrays, outputs of each module)`."""
    inputs = kind.inputs(batch, 17)
    names = [output.name for output in ensemble.signature.outputs]
    outputs = []
    with torch.no_grad():
        for module in modules:
            raw = module(**inputs)
            each = raw if isinstance(raw, tuple) else (raw,)
            tensors = raw if isinstance(raw, dict) else dict(zip(names, each, strict=True))
            outputs.append({name: tensor.numpy() for name, tensor in tensors.items()})
    return inputs, {name: tensor.numpy() for name, tensor in inputs.items()}, outputs


def test_every_golden_sample_passes_with_every_strategy(built: Built) -> None:
    for strategy in ("materialised", "generated"):
        load(built[3], strategy=strategy, check="all")


def test_the_runtime_computes_what_each_module_computes(built: Built) -> None:
    kind, modules, ensemble, folder = built
    loaded = load(folder)
    for batch in BATCHES:
        _, arrays, expected = _expected(kind, modules, ensemble, batch)
        for member, outputs in enumerate(expected):
            _agree(loaded.predict(arrays, member=member), outputs, f"member {member}, batch {batch}")
        together = {name: np.stack([one[name] for one in expected]) for name in expected[0]}
        _agree(loaded.predict(arrays, members="all"), together, f"all members, batch {batch}")


def test_files_in_plain_runtimes_compute_what_each_module_computes(
    built: Built,
) -> None:
    kind, modules, ensemble, folder = built
    session = onnxruntime.InferenceSession(folder / MODEL_FILE, providers=["CPUExecutionProvider"])
    script, program = torch.jit.load(folder / TORCHSCRIPT_FILE), torch.export.load(folder / PT2_FILE).module()
    names = [output.name for output in ensemble.signature.outputs]
    for batch in BATCHES:
        inputs, arrays, expected = _expected(kind, modules, ensemble, batch)
        for member, outputs in enumerate(expected):
            what = f"member {member}, batch {batch}"
            found = session.run(names, {"cond_id": np.array(member), **arrays})
            _agree(dict(zip(names, found, strict=True)), outputs, what)
            for run in (script, program):
                raw = run(torch.tensor(member), *inputs.values())
                tensors = raw if isinstance(raw, tuple) else (raw,)
                _agree(dict(zip(names, (t.detach().numpy() for t in tensors), strict=True)), outputs, what)
