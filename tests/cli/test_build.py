"""`hnexport build`."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import spec_of
from fixture_types import Hnexport
from interruptible import HEARING, INTERRUPTS
from thorough import first, only
from zygote import Done, Limits, Zygote

from hnexport.bundle import read_manifest

SMALL = ("build", "--network", "wrn-10-1", "--image", "3,8,8", "--members", 2)


def test_a_build_ends_with_the_parity_table_and_the_bundles_path(hnexport: Hnexport, tmp_path: Path) -> None:
    done = hnexport(*SMALL)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "bundles/wrn-10-1-hypernet-2"
    for word in ("onnx-materialised", "torchscript", "pt2", "rel. L2", "same"):
        assert word in done.stdout
    assert "DIFFERENT" not in done.stdout
    assert read_manifest(tmp_path / "bundles/wrn-10-1-hypernet-2").members == 2


@pytest.mark.thorough
def test_the_same_seed_writes_the_same_bytes(hnexport: Hnexport, tmp_path: Path) -> None:
    """In processes whose sets are in another order, and which traced nothing: torch.jit numbers what one has traced."""
    assert "PYTHONHASHSEED" not in os.environ
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        done = hnexport(*SMALL, "--seed", 5, "--out", f"{name}/bundle", fresh=name == "one")
        assert done.returncode == 0
        assert "torchvision" not in done.stderr  # which the exporter would register its functions for
    files = sorted(path.name for path in (tmp_path / "one/bundle").iterdir())
    assert {"model.onnx", "model.pt", "model.pt2", "parity.json", "manifest.json"} <= set(files)
    for file in files:
        assert (tmp_path / "one/bundle" / file).read_bytes() == (tmp_path / "two/bundle" / file).read_bytes(), file


def test_options_reach_the_specification(hnexport: Hnexport, tmp_path: Path) -> None:
    done = hnexport(
        *("build", "--network", "wrn-10-2", "--members", 3, "--classes", 7, "--image", "1,12,9", "--seed", 4),
        *("--chunking", "gcd", "--embedding-sizes", "13,14,15,16,17,18,19,20", "--hidden-layers", "16,12"),
        *("--generate", "norm", "--generate", "output", "--formats", "onnx", "--out", "here", "--json"),
    )
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert value["bundle"] == "here"
    assert value["parity"]["passed"] is True
    manifest = read_manifest(tmp_path / "here")
    assert manifest.origin == "random weights, seed 4"
    assert [str(name) for name in manifest.formats] == ["onnx"]
    spec = spec_of(manifest)
    assert (spec.members, spec.network.classes, spec.network.image.shape) == (3, 7, (1, 12, 9))
    assert spec.recipe.name == "hypernet+norm-generated+output-generated"
    assert spec.hypernet.chunking == "gcd"
    assert spec.hypernet.embedding_sizes == (13, 14, 15, 16, 17, 18, 19, 20)
    assert spec.hypernet.hidden_layers == (16, 12)


@pytest.mark.thorough
def test_float16_bases_are_half_as_large_and_what_rounding_changed_is_told(hnexport: Hnexport, tmp_path: Path) -> None:
    done = hnexport(*SMALL, "--bases", "float16", "--out", "half")
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("bases in float16")]
    rounding = read_manifest(tmp_path / "half").basis_rounding
    assert 1e-4 < rounding.logits < 1e-2
    assert f"logits by {rounding.logits:.1e} (relative L2" in line
    assert line in hnexport("inspect", "half").stdout
    assert hnexport("verify", "half").returncode == 0
    value = json.loads(hnexport("inspect", "half", "--json").stdout)
    assert value["manifest"]["source"]["spec"]["hypernet"]["basis_dtype"] == "float16"
    assert value["manifest"]["basis_rounding"]["logits"] == rounding.logits
    assert value["summary"]["sizes_bytes"]["pt2 (model.pt2)"] == (tmp_path / "half/model.pt2").stat().st_size


@pytest.mark.parametrize(
    ("arguments", "message"),
    first(
        3,
        [
            pytest.param(["--network", "vgg"], "unknown network 'vgg': expected wrn-DEPTH-WIDENING", id="network"),
            pytest.param(["--network", "wrn-27-10"], "nearest is wrn-28-10", id="depth"),
            pytest.param(["--members", "0"], "members must be at least 1, found 0", id="no members"),
            pytest.param(["--members", "many"], "'many' is not a valid integer", id="members in words"),
            pytest.param(
                ["--embedding-sizes", "1,2"], "expected 7 embedding sizes, one for each internal", id="embeddings"
            ),
            pytest.param(["--embedding-sizes", "a"], "'a' is not comma-separated integers", id="embeddings in words"),
            pytest.param(["--formats", "onnx,tflite"], "'tflite' is not a format; choose among onnx", id="format"),
            pytest.param(["--image", "32,32"], "give channels, height and width", id="image"),
            pytest.param(["--classes", "0"], "classes must be at least 1", id="classes"),
            pytest.param(
                ["--recipe", "batch-ensemble", "--hidden-layers", "3"], "needs the recipe hypernet", id="recipe"
            ),
            pytest.param(["--recipe", "batch-ensemble", "--bases", "float16"], "it has no bases to store", id="bases"),
            pytest.param(["--verify-members", "7"], "member 7 does not exist", id="verify members"),
        ],
    ),
)
def test_bad_usage_is_a_clear_error_and_leaves_nothing(
    hnexport: Hnexport, tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = hnexport("build", "--network", "wrn-10-2", "--members", "2", *arguments)
    assert done.returncode == 2, done.stdout
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.onnx"))


def test_an_existing_bundle_is_refused_at_once(hnexport: Hnexport, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    done = hnexport(*SMALL, "--out", "here")
    assert done.returncode == 2
    assert "here exists: choose another --out, or give --force to replace it" in done.stderr


def test_a_provider_that_cannot_be_had_is_an_error_and_not_a_fallback(hnexport: Hnexport, tmp_path: Path) -> None:
    done = hnexport(*SMALL, "--provider", "tensorrt", "--out", "here")
    assert done.returncode == 2
    assert "tensorrt" in done.stderr.lower()
    assert not (tmp_path / "here").exists()


@pytest.mark.parametrize("limit_bytes", first(1, [50_000, 500_000, 1_640_000]), ids=["early", "in the weights", "late"])
def test_a_disk_that_fills_up_is_a_clear_error_and_leaves_nothing(
    zygote: Zygote, tmp_path: Path, limit_bytes: int
) -> None:
    limits = Limits(file_bytes=limit_bytes)
    done = zygote.run([*SMALL, "--out", "here"], cwd=tmp_path, env=os.environ, limits=limits)
    assert done.returncode == 2, done.stdout
    assert "Traceback" not in done.stderr
    assert "is full" in done.stderr or "failed" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.fixture
def build_here(zygote: Zygote, tmp_path: Path) -> Callable[..., Done]:
    """A build to `here`, and what to do with its process once it has begun to write."""

    def run(*arguments: object, meanwhile: Callable[[int], None]) -> Done:
        def wait(pid: int) -> None:
            while not list(tmp_path.glob(".hnexport-*-here/new/weights.bin")):
                os.kill(pid, 0)
                time.sleep(0.01)
            meanwhile(pid)

        given = (*SMALL, "--out", "here", *arguments)
        return zygote.run(given, cwd=tmp_path, env=os.environ, code=HEARING, meanwhile=wait)

    return run


@pytest.mark.thorough
def test_what_appears_at_the_target_meanwhile_stays(build_here: Callable[..., Done], tmp_path: Path) -> None:
    def appear(_pid: int) -> None:
        (tmp_path / "here").mkdir()
        (tmp_path / "here" / "thesis.txt").write_text("precious")

    done = build_here("--formats", "onnx", meanwhile=appear)
    assert done.returncode == 2, done.stderr
    assert "here exists, a folder that appeared meanwhile: it stays and nothing was published" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["here", "here/thesis.txt"]


@pytest.mark.each_once
@pytest.mark.parametrize("kill", only([*INTERRUPTS, signal.SIGKILL], signal.SIGKILL), ids=lambda kill: kill.name)
@pytest.mark.parametrize("exists", [False, True], ids=["nothing there", "a bundle there"])
def test_an_interrupted_build_leaves_the_target_as_it_was(
    build_here: Callable[..., Done], tmp_path: Path, kill: signal.Signals, exists: bool
) -> None:
    before = '{"schema": "hnexport-bundle", "files": {}}'
    if exists:
        (tmp_path / "here").mkdir()
        (tmp_path / "here" / "manifest.json").write_text(before)
    done = build_here("--force", meanwhile=lambda pid: os.kill(pid, kill))
    assert done.returncode != 0
    expected = ["here"] if exists else []
    assert [path.name for path in tmp_path.glob("[!.]*")] == expected
    if exists:
        assert (tmp_path / "here" / "manifest.json").read_text() == before
    if kill is not signal.SIGKILL:  # which no program can clean up after; the next build does
        assert not list(tmp_path.glob(".*"))


@pytest.mark.thorough
@pytest.mark.reference
def test_the_reference_model_builds_in_little_memory_with_its_numbers(tmp_path: Path) -> None:
    # On one core: threads that wait for each other cost a parallel run more than they gain. Of its peak the kernel's
    # `ru_maxrss` says nothing, since it begins with what the process that starts it has.
    code = """
import atexit, os, re, sys
from pathlib import Path
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
peak = lambda: re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]
atexit.register(lambda: Path("peak").write_text(peak()))
from hnexport.cli.main import main
main()
"""
    members = [0, 4, 9]  # `test_the_tutorials_ensemble_is_imported…` compares each of the ten
    chosen = ["--members", "10", "--verify-members", ",".join(map(str, members))]
    command = [sys.executable, "-c", code, "build", *chosen]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    peak_bytes = 1024 * int((tmp_path / "peak").read_text())
    assert peak_bytes <= 3e9, f"{peak_bytes / 1e9:.2f} GB"
    bundle = tmp_path / "bundles/wrn-28-10-hypernet-10"
    assert done.stdout.splitlines()[-1] == str(bundle.relative_to(tmp_path))
    sizes = {name: record.size_bytes for name, record in read_manifest(bundle).files.items()}
    own = 4 * 37_544_732
    assert sizes["model.pt"] <= 1.05 * own
    assert sizes["model.pt2"] <= 1.05 * own
    assert sum(sizes[name] for name in ("weights.bin", "model.onnx", "hypernet.onnx", "network.onnx")) <= 1.05 * own
    parity = json.loads((bundle / "parity.json").read_text())
    for artifact in parity["artifacts"]:
        assert [item["member"] for item in artifact["comparisons"]] == members
        for item in artifact["comparisons"]:
            assert item["relative_l2"] <= 1e-5
            assert item["multiple_of_eager"] <= 4
    shown = subprocess.run(
        [sys.executable, "-m", "hnexport", "inspect", str(bundle)], capture_output=True, text=True, check=True
    ).stdout
    counts = dict(re.findall(r"^│ (.+?) +│ +([\d,.]+) │$", shown, re.MULTILINE))
    assert counts["main network: weights"] == "36,479,194"
    assert counts["internal hypernetworks"] == "8"
    assert counts["chunks of one member"] == "42"
    assert counts["structured hypernetwork: weights"] == "37,462,680"
    assert counts["container: weights"] == "37,544,732"
    assert counts["container: conditional weights"] == "69,660"
    assert counts["container: compression ratio"] == "1.03"


def test_the_batch_ensemble_of_the_reference_model_has_its_numbers() -> None:
    from hnexport.networks.wide_resnet.counts import weight_summary
    from hnexport.networks.wide_resnet.spec import RECIPES, PipelineSpec, WideResNetSpec

    network = WideResNetSpec.from_name("wrn-28-10")
    spec = PipelineSpec(network=network, members=10, recipe=RECIPES["batch-ensemble"], hypernet=None)
    assert weight_summary(spec)["container: weights"] == 36_698_452
    assert Path(spec.name) == Path("wrn-28-10-batch-ensemble-10")
