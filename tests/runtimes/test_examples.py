"""The examples of other runtimes, as their READMEs run them, judged as they say; and a wrong one has another exit code.

`make test` runs Python, `make runtimes-test` also Node and libtorch.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from bundles import saying, small_bundle
from hypernetworks import CASES
from module_ensembles import ENSEMBLES
from PIL import Image
from shared import built_kind, built_list

from hnexport.images import Normalisation, read_images
from hnexport.parity import verify_outputs, write_golden_inputs
from hnexport.parity.results import Verdict
from hnexport.runtime import load

EXAMPLES = Path(__file__).parents[2] / "examples"
PACKAGES = Path(__file__).parent / "node_modules"
EVERYTHING = os.environ.get("HNEXPORT_RUNTIMES") == "1"


def run(*command: object, folder: Path | None = None) -> None:
    done = subprocess.run([*map(str, command)], cwd=folder, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]


def in_python(bundle: Path, golden: Path, tmp_path: Path) -> None:
    run(sys.executable, EXAMPLES / "python" / "predict.py", bundle, golden)


def in_node(bundle: Path, golden: Path, tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "node" / "predict.mjs", tmp_path)
    (tmp_path / "node_modules").symlink_to(PACKAGES)
    run("node", tmp_path / "predict.mjs", bundle, golden)


def in_libtorch(bundle: Path, golden: Path, tmp_path: Path) -> None:
    build = tmp_path / "build"
    prefix = f"-DCMAKE_PREFIX_PATH={torch.utils.cmake_prefix_path}"
    run("cmake", "-S", EXAMPLES / "cpp_libtorch", "-B", build, "-DCMAKE_BUILD_TYPE=Release", prefix)
    run("cmake", "--build", build)
    run(build / "predict", bundle, golden, 3, 16, 16, *range(-1, ENSEMBLES["cnn"].count + 1))


DTYPES = {"tensor(int64)": np.int64, "tensor(float)": np.float32, "tensor(double)": np.float64}
CARDS = {
    "images": lambda: small_bundle("hypernet"),
    "tokens": lambda: built_list("scorer").path,
    "conditions": lambda: built_kind("hypernetwork-both", CASES["both"]).path,
    "float64": lambda: built_list("regressor").path,
}
RUNTIMES = {
    "python, images": (in_python, "cnn"),
    **({"node, images": (in_node, "cnn"), "node, tokens": (in_node, "transformer")} if EVERYTHING else {}),
    **({"libtorch": (in_libtorch, "cnn")} if EVERYTHING else {}),
}


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_example_computes_every_member_and_the_ids_that_do_not_exist(runtime: str, tmp_path: Path) -> None:
    example, kind = RUNTIMES[runtime]
    bundle, golden = built_list(kind).path, tmp_path / "golden"
    index = write_golden_inputs(bundle, golden)
    example(bundle, golden, tmp_path)
    report = verify_outputs(golden, bundle)
    assert report.verdict is Verdict.SAME
    (artifact,) = report.artifacts
    assert [item.member for item in artifact.comparisons] == list(index.members)
    assert "ids that do not exist give NaN" in [check.name for check in artifact.checks]
    (first, second) = (next((golden / f"member-{k}").iterdir()) for k in index.members[:2])
    second.write_bytes(first.read_bytes())
    assert verify_outputs(golden, bundle).verdict is Verdict.DIFFERENT


if EVERYTHING:

    @pytest.mark.parametrize("kind", ["images", "tokens", "conditions", "float64"])
    def test_the_javascript_block_of_a_card_computes_what_onnxruntime_does_of_zeros(kind: str, tmp_path: Path) -> None:
        bundle = CARDS[kind]()
        (block,) = re.findall(r"^```js\n(.*?)^```$", (bundle / "README.md").read_text(), re.DOTALL | re.MULTILINE)
        written = "console.error(JSON.stringify(Object.fromEntries(Object.entries(outputs).map("
        written += "([name, one]) => [name, [one.dims, Array.from(one.data, Number).map(String)]]))));"
        (tmp_path / "card.mjs").write_text(block + written)
        (tmp_path / "node_modules").symlink_to(PACKAGES)
        command = ["node", str(tmp_path / "card.mjs")]
        done = subprocess.run(command, cwd=bundle, capture_output=True, text=True, check=True, timeout=600)
        session = onnxruntime.InferenceSession(bundle / "model.onnx", providers=["CPUExecutionProvider"])
        sizes = {"batch": 1, "time": 5, "time_1": 5}
        given = {
            one.name: np.zeros([sizes.get(size, size) for size in one.shape], DTYPES[one.type])
            for one in session.get_inputs()
        }
        expected = dict(zip([one.name for one in session.get_outputs()], session.run(None, given), strict=True))
        found = json.loads(done.stderr)
        assert set(found) == set(expected)
        for name, (shape, values) in found.items():
            assert shape == list(expected[name].shape)
            np.testing.assert_allclose(np.array(values, float), expected[name].ravel(), rtol=1e-4, atol=1e-5)
        assert done.stdout


IN_NODE = """
import { createRequire } from "node:module";
import { readFile } from "node:fs/promises";
import sharp from "sharp";
import { classify, load } from "./browser.mjs";

const ort = createRequire(import.meta.url)("onnxruntime-web");
ort.env.wasm.numThreads = 1;
globalThis.fetch = async (path) => ({ arrayBuffer: async () => Uint8Array.from(await readFile(path)).buffer });
const [bundle, member, picture] = process.argv.slice(2);
const { data, info } = await sharp(picture).ensureAlpha().raw().toBuffer({ resolveWithObject: true });
console.log(await classify(ort, await load(ort, bundle), Number(member), { data, ...info }));
process.exit(0); // onnxruntime-web's threads would keep it
"""
"""The example for browsers, over files and onnxruntime-web in Node: what a page has of a canvas comes from sharp."""

if EVERYTHING:

    @pytest.mark.parametrize("program", ["picture.mjs", "browser-in-node.mjs"])
    def test_the_examples_in_javascript_say_of_a_picture_what_hnexport_says(program: str, tmp_path: Path) -> None:
        normalised = Normalisation(mean=(0.1, 0.5, 0.9), std=(0.25,))
        bundle = saying(small_bundle("hypernet"), tmp_path / "bundle", normalisation=normalised)
        ensemble = load(bundle, provider="cpu")
        takes = ensemble.image_input
        assert takes is not None
        pixels = np.random.default_rng(0).integers(0, 256, (takes.height, takes.width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "picture.png")
        shutil.copy(EXAMPLES / "node" / "picture.mjs", tmp_path)
        shutil.copy(EXAMPLES / "browser" / "picture.mjs", tmp_path / "browser.mjs")
        (tmp_path / "browser-in-node.mjs").write_text(IN_NODE)
        (tmp_path / "node_modules").symlink_to(PACKAGES)

        def said(member: int) -> "subprocess.CompletedProcess[str]":
            command = ["node", tmp_path / program, bundle, member, tmp_path / "picture.png"]
            return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, timeout=600)

        images = read_images([tmp_path / "picture.png"], takes).images
        for member in range(ensemble.members):
            done = said(member)
            assert done.returncode == 0, done.stderr[-2000:]
            assert done.stdout.strip() == f"class {ensemble.predict(images, member=member)[0].argmax()}"
        assert f"there is no member {ensemble.members}" in said(ensemble.members).stderr


def test_the_node_example_asks_for_the_tested_version() -> None:
    asked = json.loads((EXAMPLES / "node" / "package.json").read_text())["dependencies"]
    locked = json.loads((Path(__file__).parent / "package-lock.json").read_text())["packages"]
    assert asked == {name: locked[f"node_modules/{name}"]["version"] for name in ("onnxruntime-node", "sharp")}


def test_the_tensorrt_example_reads_what_it_is_given_before_it_asks_for_tensorrt(tmp_path: Path) -> None:
    bundle, golden = built_list("cnn").path, tmp_path / "golden"
    write_golden_inputs(bundle, golden)
    script = EXAMPLES / "tensorrt" / "predict.py"
    run(sys.executable, script, "--help")
    if importlib.util.find_spec("tensorrt"):
        return
    for folder, expected in ((golden, "No module named 'tensorrt'"), (tmp_path, "golden.json")):
        command = [sys.executable, script, tmp_path / "plain.onnx", folder, "0"]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=600)
        assert expected in done.stderr
