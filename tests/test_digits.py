"""Real handwriting, trained with hnexport's own modules: what the examples print, and what statistics are worth."""

import contextlib
import io
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from thorough import first

from hnexport.networks.wide_resnet.checkpoints import Checkpoint, recalibrate
from hnexport.networks.wide_resnet.pipeline import Pipeline

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def in_examples(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As `python examples/NAME.py` runs them."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    with torch.random.fork_rng():
        yield
    for name in ("train_digits", "train_digits_modules"):
        sys.modules.pop(name, None)


@pytest.mark.thorough
def test_an_example_starts_as_its_first_line_says_though_folders_lie_beside_it() -> None:
    """`python examples/NAME.py` puts `examples` first on the path: torch took a folder `triton` there for a package."""
    command = [sys.executable, str(EXAMPLES / "train_digits_modules.py"), "--help"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "--epochs" in ran.stdout


@pytest.mark.thorough
@pytest.mark.parametrize("name", first(1, ["train_digits", "train_digits_modules"]))
def test_an_example_trains_exports_and_judges_an_ensemble(
    name: str, in_examples: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [name, "--epochs", "4", "--out", str(tmp_path)])
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    found = {
        who: float(value) for who, value in re.findall(r"^(.+): (0\.\d+|1\.0+)$", printed.getvalue(), re.MULTILINE)
    }
    assert list(found) == [*(f"member {number}" for number in range(5)), "ensemble"]
    assert found["ensemble"] > 0.95  # 4 epochs; as the examples stand they reach 0.99


@pytest.mark.thorough
@pytest.mark.parametrize(("kind", "epochs"), first(1, [("convolutions", 3), ("transformer", 8)]))
def test_plain_modules_answer_in_int8_as_in_float32_and_most_images_take_one_member(
    kind: str, epochs: int, in_examples: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["digits_int8", "--kind", kind, "--epochs", str(epochs), "--out", str(tmp_path)])
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        runpy.run_path(str(EXAMPLES / "digits_int8.py"), run_name="__main__")
    lines = re.findall(r"^(\w+), (\w+), (\S+): (\S+), (\d+), (\S+)$", printed.getvalue(), re.MULTILINE)
    found = {tuple(one[:3]): (float(one[3]), int(one[4]), float(one[5])) for one in lines}
    assert len(found) == 2 * 2 * 3
    for engine in ("onnxruntime", "openvino"):
        accuracy = found[engine, "float32", "all"][0]
        assert accuracy > 0.9
        for until in ("all", "exact", "0.8"):
            given, changed, members = found[engine, "int8", until]
            assert given > accuracy - 0.01
            assert changed <= 5  # of 500
            assert members < {"all": 5.001, "exact": 4.0, "0.8": 3.0}[until]


@pytest.mark.thorough
def test_recalibrating_repairs_an_ensemble_that_was_trained_with_one_set_of_statistics(in_examples: None) -> None:
    example = runpy.run_path(str(EXAMPLES / "train_digits.py"))
    train_images, images, train_labels, labels = map(torch.from_numpy, example["digits"]())
    spec = replace(example["specification"](train_images.numpy()), members=3, member_statistics=False)
    pipeline = Pipeline.from_seed(spec)
    example["train"](pipeline, train_images, train_labels, 5)

    def accuracies(checkpoint: Checkpoint) -> list[float]:
        judged = Pipeline(checkpoint.spec, checkpoint.tensors)
        with torch.no_grad():
            answers = judged.ensemble(range(3), images).argmax(2)
        return (answers == labels).float().mean(1).tolist()

    broken = pipeline.checkpoint("a test")
    repaired = recalibrate(broken, train_images)
    assert min(accuracies(broken)) < 0.9
    assert min(accuracies(repaired.checkpoint)) > 0.95
