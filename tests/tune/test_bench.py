"""The bench's contenders over tuned graphs compute what they are timed for."""

from pathlib import Path

import numpy as np
import pytest
from shared import Built

from hnexport.bench.contenders import CONTENDERS
from hnexport.bench.task import BenchTask
from hnexport.bundle import read_golden
from hnexport.runtime import load
from hnexport.tune import tune


@pytest.fixture
def task(wide: Built, tmp_path: Path) -> BenchTask:
    tune(wide.path)
    return BenchTask(bundle=wide.path, manifest=wide.manifest, plain=tmp_path, member=2, provider="cpu", threads=1)


@pytest.mark.parametrize("name", ["folded", "folded-resident"])
def test_a_contender_computes_the_member_that_is_timed(name: str, task: BenchTask) -> None:
    golden = read_golden(task.bundle)
    loaded = CONTENDERS[name].load(task)
    for _ in range(2):  # the second time in memory that the first one used
        found, known = loaded.run(golden.inputs)["logits"], golden.outputs["logits"][2]
        np.testing.assert_allclose(found, known, rtol=1e-3, atol=1e-4 * np.abs(known).max())
    assert {path.name for path in loaded.files} >= {"folded.bin", "folded-network.onnx", "folded-hypernet.onnx"}


@pytest.mark.parametrize("name", ["ensemble-folded", "ensemble-materialised"])
def test_an_ensemble_contender_computes_every_member(name: str, task: BenchTask) -> None:
    inputs = read_golden(task.bundle).inputs
    found = CONTENDERS[name].load(task).run(inputs)
    expected = load(task.bundle, provider="cpu", strategy="generated").predict_mean(inputs)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, rtol=1e-3, atol=1e-6)
