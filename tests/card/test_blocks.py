"""Every block of code that a card prints runs in the bundle's folder, and computes what PyTorch computes."""

import dataclasses
import re
import shlex
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundles import small_bundle
from click.testing import CliRunner
from hypernetworks import CASES
from shared import Built, built_kind, built_list
from thorough import only

from hnexport.bundle.golden import read_golden
from hnexport.bundle.manifest import read_identified, write_manifest
from hnexport.card import bundle_card
from hnexport.cli.main import cli
from hnexport.spec.usage import Normalisation, Usage

PICTURE = Path(__file__).parents[2] / "examples/images/cat.png"
STORED = Path(__file__).parents[1] / "data/bundle-v1"
EVERY = ("hnexport.runtime", "onnxruntime", "torch", "openvino")
KINDS: dict[str, tuple[Callable[[], Path], tuple[str, ...]]] = {
    "images": (lambda: small_bundle("hypernet"), (*EVERY, "hnexport.images")),
    "pixels that the graph normalises": (lambda: small_bundle("pixels"), (*EVERY, "hnexport.images")),
    "tokens, three outputs": (lambda: built_list("scorer").path, EVERY),
    "values in float64": (lambda: built_list("regressor").path, EVERY[:3]),
    "conditions": (lambda: built_kind("hypernetwork-both", CASES["both"]).path, EVERY),
    "of hnexport 0.1": (lambda: STORED, EVERY),
}


def blocks(card: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", card, re.DOTALL | re.MULTILINE)


def arrays(outputs: Any, names: list[str]) -> list[np.ndarray]:
    """What a runtime gave, in the signature's order."""
    if isinstance(outputs, Mapping) or hasattr(outputs, "to_dict"):  # OpenVINO's
        return [np.asarray(outputs[name]) for name in names]
    several = outputs if isinstance(outputs, list | tuple) else [outputs]
    return [one.detach().numpy() if isinstance(one, torch.Tensor) else np.asarray(one) for one in several]


@pytest.fixture(params=only(KINDS, "images", "of hnexport 0.1", "values in float64"))
def folder(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, tuple[str, ...]]:
    """A copy of a bundle, with a card, in the way a reader has it."""
    source, libraries = KINDS[request.param]
    folder = Path(shutil.copytree(source(), tmp_path / "bundle"))
    found = read_identified(folder)
    if request.param == "images":
        said = dataclasses.replace(found.manifest, usage=Usage(normalisation=Normalisation(mean=(0.5,), std=(0.25,))))
        write_manifest(folder, said)
        found = read_identified(folder)
    (folder / "README.md").write_text(bundle_card(folder, found), encoding="utf-8")
    shutil.copy(PICTURE, folder / "picture.png")
    monkeypatch.chdir(folder)
    return folder, libraries


def test_the_python_blocks_run_and_compute_what_pytorch_computes(folder: tuple[Path, tuple[str, ...]]) -> None:
    where, libraries = folder
    manifest = read_identified(where).manifest
    golden, names = read_golden(where, manifest), [output.name for output in manifest.outputs]
    assert golden.members[0] == 0
    found = blocks((where / "README.md").read_text(encoding="utf-8"), "python")
    assert len(found) == 1 + len(libraries)
    held: dict[str, Any] = {}
    for block in found:
        held.pop("outputs", None)
        exec(compile(block, block, "exec"), held)
        if "outputs" not in held:
            continue
        for name, array in zip(names, arrays(held["outputs"], names), strict=True):
            reference = golden.outputs[name][0]
            assert array.shape == reference.shape
            assert np.linalg.norm(array - reference) <= 1e-4 * np.linalg.norm(reference)
    assert all(
        any(f"import {name}" in block or f"from {name} import" in block for block in found) for name in libraries
    )
    assert set(held["found"]) == set(held["names"])
    np.testing.assert_allclose(held["found"][f"member_{names[0]}"], golden.outputs[names[0]], rtol=1e-3, atol=1e-4)
    assert ("seen" in held) == ("hnexport.images" in libraries)


def test_the_commands_of_a_card_run(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(built.path)
    (block,) = blocks((built.path / "README.md").read_text(encoding="utf-8"), "sh")
    commands = [line for line in block.splitlines() if not line.startswith("#")]
    assert [line.split()[:2] for line in commands] == [["hnexport", "inspect"], ["hnexport", "verify"]]
    for line in commands:
        _, *arguments = shlex.split(line)
        done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
