"""The repository in a real server, which `make triton-test` brings: asked over gRPC, and by the example over HTTP."""

import itertools
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import saying, small_bundle
from PIL import Image
from triton_kinds import KINDS, bundle_of
from triton_server import ENVIRONMENT, ONNXRUNTIME, Server, infer_inputs, tritonserver

from hnexport.bundle.golden import Golden, read_golden
from hnexport.bundle.manifest import read_manifest
from hnexport.deploy import Served, TritonOptions, deploy_triton
from hnexport.images import read_images
from hnexport.rows import row_errors
from hnexport.runtime import load
from hnexport.spec.usage import Normalisation

pytestmark = pytest.mark.triton
EXAMPLE = Path(__file__).parents[3] / "examples" / "triton_server" / "client.py"
MODELS = tuple(Served) if ONNXRUNTIME else (Served.PYTHON,)
BATCHED = ("images", "uint8", "reader")


@pytest.fixture(scope="module")
def served(named: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """Every kind in one repository, and the bundle `named`, whose requests wait for others."""
    folder = tmp_path_factory.mktemp("triton")
    repository = folder / "repository"
    for kind in KINDS:
        members = None if ONNXRUNTIME and kind != "conditions" else ()
        deploy_triton(bundle_of(kind), repository, TritonOptions(name=kind, models=MODELS, members=members, threads=1))
    waiting = TritonOptions(name="named", models=MODELS, queue_delay_us=200_000, latest=2)
    deploy_triton(named, repository, waiting)
    with tritonserver(repository, folder) as server:
        yield server, repository


def agree(found: Any, golden: Golden, member: int) -> None:
    for name, expected in golden.outputs.items():
        reference = np.atleast_1d(expected[member])
        array = found.as_numpy(name).reshape(reference.shape)  # one number a sample is [batch, 1] to clients
        if expected.dtype.kind == "f":
            assert row_errors(array, reference).max() < 1e-5
        else:
            assert np.array_equal(array, reference)


def test_every_model_is_ready_after_its_warm_up(served: tuple[Server, Path]) -> None:
    server, repository = served
    names = sorted(path.name for path in repository.iterdir())
    found = server.client.get_model_repository_index()
    assert sorted((item.name, item.state) for item in found.models) == [(name, "READY") for name in names]


@pytest.mark.parametrize("kind", KINDS)
def test_the_python_model_computes_every_member(served: tuple[Server, Path], kind: str) -> None:
    server, _ = served
    golden, members = read_golden(bundle_of(kind)), read_manifest(bundle_of(kind)).members
    shape = (len(golden.kinds), 1) if kind in BATCHED else (1,)
    for member in range(members):
        agree(server.ask(f"{kind}-python", {"cond_id": np.full(shape, member), **golden.inputs}), golden, member)


@pytest.mark.triton("onnxruntime")
@pytest.mark.parametrize(  # a model of one member has no conditions
    ("model", "kind"),
    [
        *itertools.product((Served.CONDITIONAL, Served.ENSEMBLE), KINDS),
        *(("member", kind) for kind in KINDS if kind != "conditions"),
    ],
)
def test_the_onnxruntime_backend_computes_every_member(served: tuple[Server, Path], kind: str, model: str) -> None:
    server, _ = served
    golden, members = read_golden(bundle_of(kind)), read_manifest(bundle_of(kind)).members
    for member in range(members):
        if model == "member":
            agree(server.ask(f"{kind}-member-{member}", golden.inputs), golden, member)
        elif model == Served.CONDITIONAL:
            agree(server.ask(kind, {"cond_id": np.array([member]), **golden.inputs}), golden, member)
    if model == Served.ENSEMBLE:
        found = server.ask(f"{kind}-ensemble", {"cond_ids": np.arange(members), **golden.inputs})
        for name, expected in golden.outputs.items():
            array = found.as_numpy(f"member_{name}")
            assert array.shape == expected.shape
            if expected.dtype.kind == "f":
                assert all(row_errors(array[k], expected[k]).max() < 1e-5 for k in range(members))


def test_requests_with_different_ids_are_answered_in_one_call(served: tuple[Server, Path]) -> None:
    server, _ = served
    golden = read_golden(bundle_of("images"))
    answers = {}
    before = statistics(server, "named-python")
    for number in range(24):
        inputs = {"cond_id": np.array([[number % 3]]), "image": golden.inputs["image"][[number % 7]]}

        def keep(result: Any, error: object, number: int = number) -> None:
            answers[number] = (result, error)

        server.client.async_infer("named-python", infer_inputs(inputs), keep)
    after = statistics(server, "named-python", wanted=before[0] + 24)
    assert after[0] - before[0] == 24
    assert after[1] - before[1] < 24
    for number, (result, error) in answers.items():
        assert error is None
        expected = golden.outputs["logits"][number % 3, [number % 7]]
        assert row_errors(result.as_numpy("logits"), expected).max() < 1e-5
    assert len(answers) == 24


def statistics(server: Any, model: str, wanted: int = 0) -> tuple[Any, Any]:
    """How many samples were answered, and in how many calls; waits until they are so many."""
    end = time.monotonic() + 60
    while True:
        (found,) = server.client.get_inference_statistics(model, "1").model_stats
        if found.inference_count >= wanted or time.monotonic() > end:
            time.sleep(0.5 if wanted else 0)  # the callbacks' threads
            return found.inference_count, found.execution_count
        time.sleep(0.05)


def test_an_id_that_does_not_exist_is_refused_or_nan(served: tuple[Server, Path]) -> None:
    from tritonclient.utils import InferenceServerException

    server, _ = served
    golden = read_golden(bundle_of("images"))
    for unknown in (-1, 3, 2**40):
        ids = np.full((len(golden.kinds), 1), unknown)
        with pytest.raises(InferenceServerException, match=f"member {unknown} does not exist") as raised:
            server.ask("images-python", {"cond_id": ids, **golden.inputs})
        assert raised.value.status() == "StatusCode.INVALID_ARGUMENT"
        if ONNXRUNTIME:
            found = server.ask("images", {"cond_id": np.array([unknown]), **golden.inputs})
            assert np.isnan(found.as_numpy("logits")).all()


def test_triton_names_the_classes(served: tuple[Server, Path]) -> None:
    import tritonclient.grpc as triton

    server, _ = served
    golden = read_golden(bundle_of("images"))
    inputs = infer_inputs({"cond_id": np.array([[1]]), "image": golden.inputs["image"][:1]})
    wanted = [triton.InferRequestedOutput("logits", class_count=2)]
    found = server.client.infer("named-python", inputs, outputs=wanted).as_numpy("logits")
    best = np.argsort(-golden.outputs["logits"][1, 0])[:2]
    told = [text.decode().split(":")[1:] for text in found.reshape(-1)]
    assert told == [[str(one), f"kind {one}"] for one in best]


def test_the_example_says_what_the_runtime_says(served: tuple[Server, Path], named: Path, tmp_path: Path) -> None:
    server, _ = served
    picture = tmp_path / "picture.png"
    pixels = np.random.default_rng(5).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(picture)
    ensemble = load(named)
    images = read_images([picture], ensemble.image_input).images
    logits = ensemble.predict(images, members=[2, 0])[:, 0].astype(np.float64)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = [("member 2", shares[0]), ("member 0", shares[1]), ("mean", shares.mean(axis=0))]
    for model in ("named-python", *(["named"] if ONNXRUNTIME else [])):
        command = [
            Path(ENVIRONMENT) / "bin" / "python",
            EXAMPLE,
            picture,
            model,
            "--members",
            "2,0",
            "--url",
            server.http,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        for line, (name, row) in zip(done.stdout.splitlines(), expected, strict=True):
            said, number = line.rsplit(", ", 1)
            assert said == f"{name}: class {row.argmax()}"
            assert abs(float(number) - row.max()) < 2e-6


def test_a_version_that_is_added_is_served_beside_the_old_one(served: tuple[Server, Path]) -> None:
    server, repository = served
    options = TritonOptions(name="named", models=MODELS, queue_delay_us=200_000, latest=2)
    other = small_bundle("hypernet", 1)
    golden = {"1": read_golden(bundle_of("images")), "2": read_golden(other)}
    deploy_triton(with_usage_of(other, repository.parent / "other"), repository, options)
    for name in ("named-python", *(["named"] if ONNXRUNTIME else [])):
        server.client.load_model(name)
        for version, reference in golden.items():
            shape = (len(reference.kinds), 1) if name == "named-python" else (1,)
            found = server.ask(name, {"cond_id": np.full(shape, 2), **reference.inputs}, version)
            agree(found, reference, 2)


def with_usage_of(bundle: Path, folder: Any) -> Path:
    """Another bundle that says the same of pictures and classes."""
    names = tuple(f"kind {one}" for one in range(10))
    said = Normalisation(mean=(0.4,), std=(0.25, 0.5, 1.0))
    return saying(bundle, folder, class_names={"logits": names}, normalisation=said)
