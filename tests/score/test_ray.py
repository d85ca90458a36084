"""Actors of Ray give the same file, and say why where they cannot."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hnexport.errors import RuntimeInputError
from hnexport.score import RayWorkers, ScoreOptions
from hnexport.score.on_ray import for_ray

RUNS = """
import sys
from dataclasses import replace
from pathlib import Path
import ray
from hnexport.errors import RuntimeInputError
from hnexport.score import RayWorkers, ScoreOptions, score
from hnexport.score.on_ray import _connected, contents_by_ray
from hnexport.score.scorer import Job

bundle, data, out = map(Path, sys.argv[1:])
options, workers = ScoreOptions(provider="cpu", part_rows=16), RayWorkers(actors=2)
with _connected(workers):
    done = score(bundle, data, out, options=options, workers=workers)
    plan = replace(done.plan, fingerprint="another")
    job = Job(bundle=bundle, data=data, options=options, plan=plan)
    try:
        list(contents_by_ray(job, plan.parts[:1], workers))
    except RuntimeInputError as error:
        assert str(error).startswith(f"a worker of Ray failed: {data} has changed"), error
    else:
        raise AssertionError("another set was scored")
assert not ray.is_initialized()
assert not {"torch", "onnx"} & set(sys.modules), "torch or onnx was imported"
"""


@pytest.fixture
def short() -> Iterator[str]:
    """A folder with a short name: Ray's sockets lie in it."""
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.thorough
def test_ray_writes_the_same_bytes_as_this_process(
    bundle: Path, forms: dict[str, Path], whole: bytes, short: str, tmp_path: Path
) -> None:
    out = tmp_path / "out.parquet"
    command = [sys.executable, "-c", RUNS, str(bundle), str(forms["photos"]), str(out)]
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "TMPDIR": short, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() == whole


def test_auto_is_the_cpu_and_no_actors_are_none() -> None:
    here, there = for_ray(ScoreOptions()), for_ray(ScoreOptions(provider="cuda"))
    assert (here.provider, here.strategy) == ("cpu", "materialised")
    assert (there.provider, there.strategy) == ("cuda", "generated")
    with pytest.raises(RuntimeInputError, match="actors must be"):
        RayWorkers(actors=0)
