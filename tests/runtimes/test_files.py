"""Every ONNX file of a bundle in every runtime: it loads, and its numbers are those of PyTorch in float64.

`make test` runs those that pip installs, `make runtimes-test` also those of npm.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_runtimes import FROM_MEMORY_ALONE, FROM_PIP, NEVER_FROM_MEMORY, RUNTIMES, Job, limit_of, refused
from numpy.typing import NDArray
from thorough import only
from written import ALL_KINDS, SAMPLES, Written, written

from hnexport.names import (
    COND_ID,
    COND_IDS,
    ENSEMBLE_FILE,
    HYPERNET_FILE,
    MODEL_FILE,
    NETWORK_FILE,
    SUPPLIED_FILE,
    WEIGHTS_FILE,
)
from hnexport.rows import row_errors
from hnexport.spec.summaries import SummaryKind, summaries

LIMIT = 1e-5
UNKNOWN = (-1, "members", 2**31, 2**32, 2**40)
CHOSEN = tuple(RUNTIMES) if os.environ.get("HNEXPORT_RUNTIMES") == "1" else FROM_PIP


class Loaded:
    """A bundle's files in one runtime."""

    def __init__(self, runtime: str, files: Written, folder: Path) -> None:
        self.runtime, self.files, self.folder = runtime, files, folder
        self.bundle, self.signature, self.members = files.folder, files.signature, files.members
        self.batched = {item.name for item in self.signature.inputs if item.has_batch}

    def run(
        self,
        file: str,
        calls: list[Any] | list[dict[Any, Any]],
        *,
        memory: bool | None = None,
        bundle: Path | None = None,
    ) -> list[dict[str, NDArray[Any]]]:
        """The outputs of each call; from memory where the runtime knows nothing else, or where that is asked for."""
        bundle = bundle or self.bundle
        names = (WEIGHTS_FILE, SUPPLIED_FILE) if file == NETWORK_FILE else (WEIGHTS_FILE,)
        job = Job(
            graph=bundle / file,
            calls=calls,
            external={name: bundle / name for name in names if (bundle / name).exists()},
            memory=self.runtime in FROM_MEMORY_ALONE if memory is None else memory,
        )
        return RUNTIMES[self.runtime]()(job, self.folder)

    def refuses(self, file: str) -> bool:
        """Whether the runtime lacks something that the file has; then it must say so instead of giving numbers."""
        limit = limit_of(self.runtime, self.bundle / file)
        if limit:
            with refused() as why:
                self.run(file, [])
            assert limit in why[0]
        return bool(limit)

    def inputs(self, samples: list[Any] | list[int] | None | list[int] | None = None) -> dict[Any, Any]:
        """The golden inputs, or some of their samples in any order."""
        return {
            name: array[samples] if samples is not None and name in self.batched else array
            for name, array in self.files.inputs.items()
        }

    def compare(self, outputs: dict[str, Any], member: int, samples: list[int] | None = None) -> float:
        """The largest error of a member's outputs."""
        worst = 0.0
        for output in self.signature.outputs:
            expected = self.files.outputs[output.name][member]
            if output.has_batch and samples is not None:
                expected = expected[samples]
            found = outputs[output.name]
            assert found.shape == expected.shape
            if output.is_floating:
                found, expected = (a if output.has_batch else a[np.newaxis] for a in (found, expected))
                worst = max(worst, float(row_errors(found, expected).max()))
            else:
                assert np.array_equal(found, expected)
        return worst

    def assert_nan(self, outputs: Any) -> None:
        for output in self.signature.outputs:
            if output.is_floating:
                assert np.isnan(outputs[output.name]).all()

    @property
    def unknown(self) -> list[Any]:
        return [self.members if one == "members" else one for one in UNKNOWN]


@pytest.fixture(scope="module", params=only(ALL_KINDS, "hypernet", "batch-ensemble", "pixels"))
def files(request: pytest.FixtureRequest) -> Written:
    return written(request.param)


@pytest.fixture(params=CHOSEN)
def loaded(request: pytest.FixtureRequest, files: Written, tmp_path: Path) -> Loaded:
    return Loaded(request.param, files, tmp_path / "calls")


def _id(member: int) -> NDArray[Any]:
    return np.array(member, np.int64)


def test_the_model_is_right_for_every_member_at_every_batch_size(loaded: Loaded) -> None:
    members = [*range(loaded.members)]
    batches = [None, [0], [SAMPLES - 1, 0, 1], [*range(SAMPLES), 0, *range(SAMPLES)]]
    asked = [(member, batch) for member in members for batch in batches]
    found = loaded.run(MODEL_FILE, [{COND_ID: _id(member), **loaded.inputs(batch)} for member, batch in asked])
    assert max(loaded.compare(one, *case) for one, case in zip(found, asked, strict=True)) <= LIMIT


def test_an_id_that_does_not_exist_gives_nan_in_the_model(loaded: Loaded) -> None:
    for outputs in loaded.run(MODEL_FILE, [{COND_ID: _id(one), **loaded.inputs()} for one in loaded.unknown]):
        loaded.assert_nan(outputs)


def test_the_ensemble_is_right_for_ids_in_any_order(loaded: Loaded) -> None:
    if loaded.refuses(ENSEMBLE_FILE):
        return
    last = loaded.members - 1
    orders = [[*range(loaded.members)], [last, 0, last], [last]]
    calls = [{COND_IDS: np.array(ids, np.int64), **loaded.inputs()} for ids in orders]
    for ids, outputs in zip(orders, loaded.run(ENSEMBLE_FILE, calls), strict=True):
        for row, member in enumerate(ids):
            own = {one.name: outputs[f"member_{one.name}"][row] for one in loaded.signature.outputs}
            assert loaded.compare(own, member) <= LIMIT
    for summary in summaries(loaded.signature):
        if summary.kind in (SummaryKind.MEAN, SummaryKind.MEAN_PROBABILITIES):
            assert np.isfinite(outputs[summary.name]).all()


def test_an_id_that_does_not_exist_gives_nan_in_its_row_of_the_ensemble(loaded: Loaded) -> None:
    if loaded.refuses(ENSEMBLE_FILE):
        return
    ids = np.array([0, loaded.members, -1], np.int64)
    (outputs,) = loaded.run(ENSEMBLE_FILE, [{COND_IDS: ids, **loaded.inputs()}])
    for output in loaded.signature.outputs:
        if output.is_floating:
            found = outputs[f"member_{output.name}"]
            assert np.isfinite(found[0]).all()
            assert np.isnan(found[1:]).all()


def test_hypernet_and_network_are_the_model(loaded: Loaded, tmp_path: Path) -> None:
    members = [*range(loaded.members)]
    weights = loaded.run(HYPERNET_FILE, [{COND_ID: _id(member)} for member in members])
    for member, tensors in zip(members, weights, strict=True):
        folder = network_folder(loaded, tensors, tmp_path / f"member{member}")
        samples = [1, 0, 1]
        found = loaded.run(NETWORK_FILE, [loaded.inputs(), loaded.inputs(samples)], bundle=folder)
        assert loaded.compare(found[0], member) <= LIMIT
        assert loaded.compare(found[1], member, samples) <= LIMIT


def test_an_id_that_does_not_exist_gives_nan_in_what_depends_on_the_member(loaded: Loaded) -> None:
    for tensors in loaded.run(HYPERNET_FILE, [{COND_ID: _id(one)} for one in loaded.unknown]):
        for slot in loaded.files.supplied:
            assert tensors[slot].dtype.kind != "f" or np.isnan(tensors[slot]).all(), slot


@pytest.mark.parametrize("missing", [4, "all"])
def test_a_file_that_is_too_short_for_the_network_is_refused(
    loaded: Loaded, tmp_path: Path, missing: int | str
) -> None:
    (tensors,) = loaded.run(HYPERNET_FILE, [{COND_ID: _id(0)}])
    folder = network_folder(loaded, tensors, tmp_path / "short")
    supplied = folder / SUPPLIED_FILE
    supplied.write_bytes(supplied.read_bytes()[:-4] if missing == 4 else b"")
    with refused():
        loaded.run(NETWORK_FILE, [loaded.inputs()], bundle=folder)


def test_the_network_without_a_member_is_refused(loaded: Loaded) -> None:
    with refused():
        loaded.run(NETWORK_FILE, [loaded.inputs()])


@pytest.mark.parametrize("file", [MODEL_FILE, ENSEMBLE_FILE, HYPERNET_FILE])
def test_files_are_read_from_memory(loaded: Loaded, file: str) -> None:
    if loaded.runtime in NEVER_FROM_MEMORY:
        return  # it has no way to hand over the weights
    call = {COND_IDS: np.array([1], np.int64)} if file == ENSEMBLE_FILE else {COND_ID: _id(1)}
    inputs = {} if file == HYPERNET_FILE else loaded.inputs()
    (outputs,) = loaded.run(file, [{**call, **inputs}], memory=True)
    if file == ENSEMBLE_FILE:
        outputs = {f"{output.name}": outputs[f"member_{output.name}"][0] for output in loaded.signature.outputs}
    if file != HYPERNET_FILE:
        assert loaded.compare(outputs, 1) <= LIMIT


def test_files_are_read_over_symlinks(loaded: Loaded, tmp_path: Path) -> None:
    if loaded.runtime in FROM_MEMORY_ALONE:
        return  # it reads no files
    store, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "main"
    store.mkdir()
    snapshot.mkdir(parents=True)
    for number, path in enumerate(sorted(loaded.bundle.iterdir())):
        shutil.copy(path, store / f"{number}")
        (snapshot / path.name).symlink_to(Path("..", "..", "blobs", f"{number}"))
    call = {COND_ID: _id(1), **loaded.inputs()}
    if loaded.runtime == "tract":
        with refused() as why:
            loaded.run(MODEL_FILE, [call], bundle=snapshot)
        assert "resolves outside the model directory" in why[0]
        return
    (outputs,) = loaded.run(MODEL_FILE, [call], bundle=snapshot)
    assert loaded.compare(outputs, 1) <= LIMIT


def network_folder(loaded: Loaded, tensors: Any, folder: Path) -> Path:
    """network.onnx, the weights that all members share, and one member's tensors one after the other."""
    folder.mkdir()
    for name in (NETWORK_FILE, WEIGHTS_FILE):
        shutil.copy(loaded.bundle / name, folder / name)
    content = b"".join(np.ascontiguousarray(tensors[slot]).tobytes() for slot in loaded.files.supplied)
    (folder / SUPPLIED_FILE).write_bytes(content)
    return folder
