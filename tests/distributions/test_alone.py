"""hnexport-runtime in an environment of its own: no torch, no onnx, and a clean `pip check`."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from shared import Built
from wheels import Environment, Wheels

from hnexport.bundle.golden import read_golden
from hnexport.bundle.manifest import read_manifest
from hnexport.cli.main import COMMANDS

WORK_ALONE = {"card", "deploy", "doctor", "evaluate", "golden", "inspect", "predict", "schema", "serve"}
pytestmark = pytest.mark.thorough  # both wheels, and an environment of its own
FROM_INDEX = os.environ.get("HNEXPORT_INDEX") == "1"
IMAGE = Path(__file__).parents[2] / "examples/images/cat.png"


def test_pip_finds_nothing_broken_and_torch_is_not_there(alone: Environment) -> None:
    assert "No broken requirements" in alone.pip("check").stdout
    absent = "import importlib.util as u; print([n for n in ('torch', 'onnx', 'onnxscript') if u.find_spec(n)])"
    assert alone.run("python", "-c", absent).stdout.strip() == "[]"


def test_a_bundle_loads_and_predicts(alone: Environment, built: Built, tmp_path: Path) -> None:
    code = f"""
import sys
import numpy as np
from hnexport.runtime import load
ensemble = load({str(built.path)!r}, check="all", provider="cpu")
images = np.load({str(tmp_path / "images.npy")!r})
np.save({str(tmp_path / "logits.npy")!r}, ensemble.predict(images, members="all"))
assert ensemble.predict_mean(images).probabilities.shape == (len(images), ensemble.classes)
for member in (-1, ensemble.members, 2**40):
    try: ensemble.predict(images, member=member)
    except ValueError: continue
    raise AssertionError(member)
assert not {{"torch", "onnx"}} & set(sys.modules)
"""
    golden = read_golden(built.path, read_manifest(built.path))
    np.save(tmp_path / "images.npy", golden.inputs["image"])
    alone.run("python", "-c", code)
    found, reference = np.load(tmp_path / "logits.npy")[golden.members], golden.outputs["logits"]
    assert np.linalg.norm(found - reference) < 1e-5 * np.linalg.norm(reference)


def test_a_repository_for_triton_is_written_and_plain_members_say_what_they_need(
    alone: Environment, built: Built, tmp_path: Path
) -> None:
    command = ("hnexport", "deploy", "triton", built.path, "--out", tmp_path / "repository", "--name", "net")
    said = json.loads(alone.run(*command, "--models", "conditional,ensemble,python", "--json").stdout)
    assert said["models"] == ["net", "net-ensemble", "net-python"]
    refused = alone.run(*command, "--members", "0", ok=False)
    assert refused.returncode == 2
    assert "(--members) needs" in refused.stderr
    assert "pip install hnexport" in refused.stderr


def test_inspect_predict_golden_card_and_doctor_work(alone: Environment, built: Built, tmp_path: Path) -> None:
    shown = json.loads(alone.run("hnexport", "inspect", built.path, "--json").stdout)
    assert shown["manifest"]["members"] == built.manifest.members
    how = ("--resize", "--mean", "0", "--std", "1")
    said = alone.run("hnexport", "predict", built.path, IMAGE, *how, "--json", "--provider", "cpu").stdout
    assert json.loads(said)
    alone.run("hnexport", "golden", built.path, "--out", tmp_path / "golden")
    assert (tmp_path / "golden/inputs/image.npy").is_file()
    alone.run("hnexport", "card", built.path, "--out", tmp_path / "card.md")
    assert (tmp_path / "card.md").read_bytes() == (built.path / "README.md").read_bytes()
    diagnosis = json.loads(alone.run("hnexport", "doctor", "--json").stdout)
    assert diagnosis["sound"]
    torch = next(finding for finding in diagnosis["findings"] if finding["what"] == "PyTorch")
    assert torch["state"] == "missing"
    assert torch["remedy"].startswith("pip install hnexport")


def test_every_other_command_says_in_one_line_what_to_install(alone: Environment, built: Built) -> None:
    done = alone.run("hnexport", "verify", built.path, ok=False)
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: `hnexport verify` needs all of hnexport, and torch, onnx,")
    assert line.endswith("not installed: pip install hnexport")
    assert done.returncode == 2
    code = """
from hnexport.cli.main import _ALONE, COMMANDS, cli
from hnexport.errors import IncompleteError
import click
with click.Context(cli) as context:
    for name in COMMANDS:
        cli.get_command(context, name).get_help(context)
        try:
            if name not in _ALONE: cli.get_command(context, name).callback()
        except IncompleteError as error: print(name, str(error).endswith(": pip install hnexport"))
"""
    said = alone.run("python", "-c", code).stdout.split("\n")
    assert {f"{name} True" for name in set(COMMANDS) - WORK_ALONE} == set(filter(None, said))


def test_evaluate_says_what_to_install_beside_the_runtime(alone: Environment, built: Built, tmp_path: Path) -> None:
    done = alone.run("hnexport", "evaluate", built.path, tmp_path / "data.npz", ok=False)
    said = 'evaluating needs sklearn, which is not installed: pip install "hnexport-runtime[evaluate]"'
    assert (done.returncode, done.stderr.strip()) == (2, f"Error: {said}")


def test_serve_says_what_to_install_beside_the_runtime_and_works_with_it(
    alone: Environment, built: Built, serving_packages: Path
) -> None:
    if not FROM_INDEX:
        done = alone.run("hnexport", "serve", built.path, ok=False)
        said = 'serving needs starlette, which is not installed: pip install "hnexport-runtime[serve]"'
        assert (done.returncode, done.stderr.strip()) == (2, f"Error: {said}")
    code = f"""
import asyncio, sys
sys.path.append({str(serving_packages)!r})
from pathlib import Path
from hnexport.serve import ServeOptions, serve
from hnexport.serve.service import Service
async def loaded():
    service = Service(Path({str(built.path)!r}), ServeOptions())
    await service.start()
    await service.close()
    return service
assert asyncio.run(loaded()).ready
assert not {{"torch", "onnx"}} & set(sys.modules)
"""
    alone.run("python", "-c", code)


def test_help_marks_what_needs_more(alone: Environment) -> None:
    text = " ".join(alone.run("hnexport", "--help").stdout.split())
    assert text.count("[needs pip install hnexport]") == len(COMMANDS) - len(WORK_ALONE)
    assert "[needs" not in text[text.index(" inspect ") : text.index(" locate ")]


@pytest.mark.parametrize(
    "name", ["hnexport.Ensemble", "hnexport.parity.verify", "hnexport.build.build", "hnexport.export.capture"]
)
def test_python_names_say_it_too(alone: Environment, name: str) -> None:
    module, _, attribute = name.rpartition(".")
    done = alone.run("python", "-c", f"from {module} import {attribute}", ok=False)
    what = "building" if module in ("hnexport.build", "hnexport.export") else name
    assert f"{what} needs all of hnexport, and torch, onnx" in done.stderr.splitlines()[-1]


def test_both_together_share_no_file_and_each_removal_is_clean(alone: Environment, wheels: Wheels) -> None:
    alone.pip("install", "--quiet", "--no-index", "--no-deps", wheels.hnexport)
    code = """
from importlib.metadata import files
own = {str(file) for file in files("hnexport")}
assert not own & {str(file) for file in files("hnexport-runtime")}
assert all(".dist-info/" in file for file in own), own
"""
    alone.run("python", "-c", code)
    assert "hnexport-runtime" not in alone.pip("check", ok=False).stdout  # torch is missing, the runtime is not
    alone.pip("uninstall", "--quiet", "--yes", "hnexport-runtime")
    assert "requires hnexport-runtime, which is not installed" in alone.pip("check", ok=False).stdout
    alone.pip("install", "--quiet", "--no-index", wheels.runtime)
    alone.pip("uninstall", "--quiet", "--yes", "hnexport")
    alone.run("hnexport", "--version")
    alone.run("python", "-c", "import hnexport.runtime")
    assert "No broken requirements" in alone.pip("check").stdout
