"""`deploy_triton`: what a repository holds, by Triton's own protobuf and by onnxruntime, and what stays as it was."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from bundles import saying
from google.protobuf import text_format
from thorough import first
from triton_kinds import KINDS, bundle_of
from tritonclient.grpc import model_config_pb2

from hnexport.bundle.golden import read_golden
from hnexport.bundle.manifest import read_identified
from hnexport.deploy import Device, Served, TritonOptions, deploy_triton
from hnexport.errors import BundleError, DeployError, RuntimeInputError
from hnexport.rows import row_errors

EVERYTHING = tuple(Served)


def config(repository: Path, name: str) -> Any:
    text = (repository / name / "config.pbtxt").read_text(encoding="utf-8")
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def contents(folder: Path) -> dict[Any, Any]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def typed(name: Any) -> Any:
    return model_config_pb2.DataType.Name(name).removeprefix("TYPE_").lower()


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Any], Any]:
    """Of each kind, with every model that it can have."""
    root = tmp_path_factory.mktemp("repositories")

    def made(kind: str) -> Any:
        if not (root / kind).exists():
            members = () if kind == "conditions" else (1,)
            deploy_triton(bundle_of(kind), root / kind, TritonOptions(name=kind, models=EVERYTHING, members=members))
        return root / kind

    return made


@pytest.mark.parametrize("kind", first(3, KINDS))
def test_every_configuration_is_one_of_triton_and_says_what_the_graph_takes_and_gives(
    repositories: Callable[[Any], Any], kind: str
) -> None:
    repository = repositories(kind)
    types = {"float": "fp32", "double": "fp64"}
    for folder in sorted(repository.iterdir()):
        found = config(repository, folder.name)
        assert found.name == folder.name
        if found.backend == "python":
            continue
        session = onnxruntime.InferenceSession(folder / "1" / "model.onnx")
        batched = found.max_batch_size > 0
        for described, items in ((found.input, session.get_inputs()), (found.output, session.get_outputs())):
            assert [one.name for one in described] == [item.name for item in items]
            for one, item in zip(described, items, strict=True):
                dtype = item.type.removeprefix("tensor(").removesuffix(")")
                assert typed(one.data_type) == types.get(dtype, dtype)
                sizes = [size if isinstance(size, int) else -1 for size in item.shape]
                assert list(one.dims) == (sizes[batched:] or [1])
                assert one.HasField("reshape") == (batched and not sizes[1:])  # the server refuses it without batches
                assert not batched or item.shape[0] == "batch"


@pytest.mark.parametrize("kind", first(2, KINDS))
def test_a_warm_up_request_has_a_golden_sample_for_every_input(repositories: Callable[[Any], Any], kind: str) -> None:
    repository, golden = repositories(kind), read_golden(bundle_of(kind)).inputs
    for folder in sorted(repository.iterdir()):
        found = config(repository, folder.name)
        (sample,) = found.model_warmup
        assert set(sample.inputs) == {item.name for item in found.input}
        for name, value in sample.inputs.items():
            content = (folder / "warmup" / value.input_data_file).read_bytes()
            dtype = {"fp32": "float32", "fp64": "float64"}.get(typed(value.data_type), typed(value.data_type))
            assert len(content) == math.prod(value.dims) * np.dtype(dtype).itemsize
            expected = np.zeros(1, np.int64) if name.startswith("cond_id") else golden[name]
            assert expected.tobytes().startswith(content)


def test_what_has_a_batch_everywhere_takes_batches_and_the_rest_does_not(repositories: Callable[[Any], Any]) -> None:
    def sizes(kind: str) -> dict[Any, Any]:
        repository = repositories(kind)
        return {name.name: config(repository, name.name).max_batch_size for name in repository.iterdir()}

    assert sizes("images") == {"images": 0, "images-ensemble": 0, "images-python": 32, "images-member-1": 32}
    assert set(sizes("scorer").values()) == {0}  # an input has no batch
    assert set(sizes("regressor").values()) == {0}  # an output has none


@pytest.mark.parametrize("kind", ["images", "regressor"])
def test_every_model_computes_what_the_golden_samples_say(repositories: Callable[[Any], Any], kind: str) -> None:
    repository, golden = repositories(kind), read_golden(bundle_of(kind))
    for name, feeds in (
        (kind, {"cond_id": np.array(1), **golden.inputs}),
        (f"{kind}-ensemble", {"cond_ids": np.array([1]), **golden.inputs}),
        (f"{kind}-member-1", golden.inputs),
    ):
        session = onnxruntime.InferenceSession(repository / name / "1" / "model.onnx")
        for output in golden.outputs:
            called = f"member_{output}" if name.endswith("ensemble") else output
            (array,) = session.run([called], dict(feeds))
            array = array[0] if name.endswith("ensemble") else array
            assert row_errors(array, golden.outputs[output][1]).max() < 1e-5


def test_every_file_is_a_copy_and_each_version_says_which_bundle_it_is_of(repositories: Callable[[Any], Any]) -> None:
    repository, bundle = repositories("images"), bundle_of("images")
    for name, source in (("images", "model.onnx"), ("images-ensemble", "ensemble.onnx")):
        assert (repository / name / "1" / "model.onnx").read_bytes() == (bundle / source).read_bytes()
        assert (repository / name / "1" / "weights.bin").read_bytes() == (bundle / "weights.bin").read_bytes()
    files = [path for path in repository.rglob("*") if not path.is_dir()]
    assert all(path.stat().st_nlink == 1 and not path.is_symlink() for path in files)
    digest = read_identified(bundle).digest
    records = {path.name: json.loads((path / "1" / "hnexport.json").read_text()) for path in repository.iterdir()}
    assert {record["bundle"] for record in records.values()} == {digest}
    assert (records["images-member-1"]["kind"], records["images-member-1"]["member"]) == ("member", 1)


def test_options_become_the_configuration(tmp_path: Path) -> None:
    options = TritonOptions(
        name="net",
        models=EVERYTHING,
        version=7,
        latest=2,
        max_batch=5,
        queue_delay_us=300,
        device=Device.GPU,
        instances=3,
        threads=2,
    )
    assert deploy_triton(bundle_of("images"), tmp_path / "repository", options).version == 7
    for name in ("net", "net-ensemble", "net-python"):
        found = config(tmp_path / "repository", name)
        assert (tmp_path / "repository" / name / "7").is_dir()
        assert found.version_policy.latest.num_versions == 2
        (group,) = found.instance_group
        assert (group.count, group.kind) == (3, model_config_pb2.ModelInstanceGroup.KIND_GPU)
        threads = "threads" if found.backend == "python" else "intra_op_thread_count"
        assert found.parameters[threads].string_value == "2"
        assert found.parameters["hnexport.members"].string_value == "3"
    assert found.max_batch_size == 5
    assert found.dynamic_batching.max_queue_delay_microseconds == 300


def test_names_of_classes_and_normalisation_reach_clients(named: Path, tmp_path: Path) -> None:
    options = TritonOptions(name="net", models=EVERYTHING)
    deploy_triton(named, tmp_path / "repository", options)
    found = config(tmp_path / "repository", "net-python")
    assert found.output[0].label_filename == "labels.txt"
    labels = (tmp_path / "repository" / "net-python" / "labels.txt").read_text().splitlines()
    assert labels == [f"kind {one}" for one in range(10)]
    assert found.parameters["hnexport.mean"].string_value == "0.4"
    assert found.parameters["hnexport.std"].string_value == "0.25,0.5,1.0"
    # Triton's classification takes what has no batch as one sample
    assert config(tmp_path / "repository", "net").output[0].label_filename == ""
    (tmp_path / "other.txt").write_text("".join(f"other {one}\n" for one in range(10)))
    deploy_triton(named, tmp_path / "given", TritonOptions(models=EVERYTHING, labels=tmp_path / "other.txt"))
    (other,) = (tmp_path / "given").glob("*/labels.txt")
    assert other.read_text().startswith("other 0\n")


def test_the_name_of_the_bundle_becomes_one_that_triton_takes(tmp_path: Path) -> None:
    assert TritonOptions().base_name("./a net/of ours") == "a-net-of-ours"
    assert TritonOptions(name="net").base_name("other") == "net"
    assert deploy_triton(bundle_of("images"), tmp_path / "repository").models == (
        "wrn-10-1-hypernet-3",
        "wrn-10-1-hypernet-3-ensemble",
    )


def test_a_further_version_leaves_everything_that_is_there_as_it_was(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    options = TritonOptions(name="net", models=(Served.CONDITIONAL, Served.PYTHON), members=(0,))
    assert deploy_triton(bundle_of("images"), repository, options).version == 1
    (repository / "somebody-elses").mkdir()
    before = contents(repository)
    other = saying(bundle_of("images"), tmp_path / "other", license="apache-2.0")
    written = deploy_triton(other, repository, options)
    assert (written.version, written.models) == (2, ("net", "net-python", "net-member-0"))
    after = contents(repository)
    assert {name: after[name] for name in before} == before
    assert {name.split("/")[1] for name in after.keys() - before.keys()} == {"2"}
    digests = [json.loads(after[f"net/{version}/hnexport.json"])["bundle"] for version in (1, 2)]
    assert digests == [read_identified(bundle).digest for bundle in (bundle_of("images"), other)]
    assert {path.name for path in repository.iterdir()} == {*written.models, "somebody-elses"}


def test_a_further_model_joins_with_the_same_version_or_its_own(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    deploy_triton(bundle_of("images"), repository, TritonOptions(name="net", version=4))
    written = deploy_triton(bundle_of("images"), repository, TritonOptions(name="net", models=EVERYTHING))
    assert written.version == 5
    assert sorted(path.name for path in (repository / "net-python").iterdir() if path.name.isdecimal()) == ["5"]


def test_what_is_in_the_way_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    deploy_triton(bundle_of("images"), repository, TritonOptions(name="net"))
    before = contents(repository)
    with pytest.raises(DeployError, match="a version is never replaced"):
        deploy_triton(bundle_of("images"), repository, TritonOptions(name="net", version=1))
    with pytest.raises(DeployError, match="all versions of a model share it"):
        deploy_triton(bundle_of("uint8"), repository, TritonOptions(name="net"))
    with pytest.raises(DeployError, match="all versions of a model share it"):
        deploy_triton(bundle_of("images"), repository, TritonOptions(name="net", latest=2))
    (tmp_path / "file").write_text("")
    with pytest.raises(DeployError, match="exists"):
        deploy_triton(bundle_of("images"), tmp_path / "file")
    with pytest.raises(DeployError, match="which never changes"):
        deploy_triton(bundle_of("images"), bundle_of("images") / "repository")
    assert contents(repository) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "repository"]


@pytest.mark.parametrize("name", ["manifest.json", "weights.bin"])
def test_a_bundle_that_is_replaced_while_it_is_copied_is_refused(tmp_path: Path, name: str) -> None:
    bundle = Path(shutil.copytree(bundle_of("images"), tmp_path / "bundle"))

    def replace(stage: str, done: int, total: int) -> None:
        (bundle / "new").write_bytes((bundle / name).read_bytes()[:-1] + b" ")
        (bundle / "new").replace(bundle / name)

    options = TritonOptions(name="net", models=(Served.PYTHON,), members=(0,))
    with pytest.raises(DeployError, match=f"{name} was replaced or changed while it was copied"):
        deploy_triton(bundle, tmp_path / "repository", options, progress=replace)
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_bundle_that_cannot_be_served_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    target = tmp_path / "repository"
    damaged = tmp_path / "damaged"
    shutil.copytree(bundle_of("images"), damaged)
    content = bytearray((damaged / "weights.bin").read_bytes())
    content[5000] ^= 1
    (damaged / "weights.bin").write_bytes(content)
    with pytest.raises(BundleError, match=r"weights\.bin is damaged"):
        deploy_triton(damaged, target)
    with pytest.raises(RuntimeInputError, match="use model.onnx"):
        deploy_triton(bundle_of("conditions"), target, TritonOptions(members=None))
    with pytest.raises(RuntimeInputError, match="member 3 does not exist"):
        deploy_triton(bundle_of("images"), target, TritonOptions(members=(3,)))
    with pytest.raises(BundleError, match="is not the bundle that was asked for"):
        deploy_triton(bundle_of("images"), target, TritonOptions(digest="sha256:" + 64 * "0"))
    (tmp_path / "labels.txt").write_text("one\n")
    with pytest.raises(DeployError, match="whose classes labels could name"):
        deploy_triton(bundle_of("regressor"), target, TritonOptions(labels=tmp_path / "labels.txt"))
    assert not target.exists()


def test_options_that_cannot_be_are_refused() -> None:
    with pytest.raises(DeployError, match="nothing is to be served"):
        TritonOptions(models=())
    for wrong in ("", "a b", "../net", ".net", "x" * 200):
        with pytest.raises(DeployError, match="is no name of a model"):
            TritonOptions(name=wrong)
    for name in ("version", "latest", "max_batch", "instances", "threads"):
        with pytest.raises(DeployError, match=f"{name} is a whole number from 1"):
            TritonOptions(**{name: 0})
