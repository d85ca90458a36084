"""Members in int8: what is made, when it is refused, and what the runtime and the command do with it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from module_ensembles import ENSEMBLES
from shared import Built, built_list
from thorough import first

from hnexport.cli.main import cli
from hnexport.errors import BundleError, ProviderError, RuntimeInputError, TuneError, TuneFailedError
from hnexport.quantise.cost import Budget, Cost
from hnexport.quantise.options import Int8Options
from hnexport.quantise.plan import NORM_DECIBELS
from hnexport.runtime import load
from hnexport.runtime.int8 import INT8_NETWORK_FILE, INT8_SAMPLES_FILE, int8_entry
from hnexport.tune.int8 import quantised

MEMBERS, LAYERS = 3, 14  # ten convolutions and the output's, and three batch norms between them


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory, built: Built) -> Path:
    """48 images, and for each the class that member 0 says."""
    path = tmp_path_factory.mktemp("samples") / "images.npz"
    shape = built.manifest.signature.inputs[0].shape[1:]
    images = np.random.default_rng(5).normal(size=(48, *shape)).astype(np.float32)
    labels = load(built.path, provider="cpu").predict(images, member=0).argmax(axis=-1)
    np.savez(path, image=images, label=labels)
    return path


@pytest.fixture
def options() -> Int8Options:
    return Int8Options(samples=32)


def integers(path: Path) -> list[Any]:
    """The weights that compute in int8."""
    network = onnx.load(path / INT8_NETWORK_FILE, load_external_data=False).graph
    held = [tensor.name for tensor in network.initializer if tensor.data_type == onnx.TensorProto.INT8]
    return [name for name in held if name.endswith("/weights")]


def test_every_member_in_int8_answers_nearly_as_in_float32(built: Built, samples: Path, options: Int8Options) -> None:
    made = quantised(built.path, samples, options=options)
    assert [item.passed for item in made.parity.comparisons] == [True] * MEMBERS
    assert made.report.levels == pytest.approx(0.5, abs=1e-3)
    assert len(integers(made.path)) == made.report.layers == LAYERS
    images = np.load(samples)["image"]
    exact, found = (load(built.path, provider="cpu", precision=one) for one in ("float32", "int8"))
    for member in range(MEMBERS):
        known, given = (one.predict(images, member=member) for one in (exact, found))
        error = np.linalg.norm(given - known) / np.linalg.norm(known)
        assert 1e-3 < error < 0.1
    assert made.report.ensemble.accuracy is not None
    assert (made.report.calibrated, made.report.judged, made.report.apart) == (32, 16, True)
    assert repr(found).endswith("materialised, int8>")


def test_each_member_is_rounded_by_its_own_ranges_and_weights(
    built: Built, samples: Path, options: Int8Options
) -> None:
    quantised(built.path, samples, options=options)
    found = load(built.path, precision="int8", resident_members=1)
    images = np.load(samples)["image"][:2]
    first = found.predict(images, member=0)
    assert not np.allclose(first, found.predict(images, member=1))
    np.testing.assert_array_equal(first, found.predict(images, member=0))  # made again


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_members_in_int8_are_asked_one_after_the_other_whatever_the_batch(
    engine: str, built: Built, samples: Path, options: Int8Options
) -> None:
    quantised(built.path, samples, options=options)
    ensemble = load(built.path, precision="int8", engine=engine)
    images = np.load(samples)["image"][:12]
    first = np.sort(ensemble.predict_mean(images, members=[0]).probabilities.max(axis=-1))
    gap = int(np.diff(first).argmax())
    for until in ("exact", float(first[gap : gap + 2].mean())):
        found = ensemble.predict_mean(images, until=until)
        for row in range(len(images)):
            alone = ensemble.predict_mean(images[row : row + 1], until=until)
            assert alone.members_used[0] == found.members_used[row]
            np.testing.assert_allclose(alone.probabilities[0], found.probabilities[row], atol=1e-6)
    assert 1 in found.members_used
    assert found.members_used.max() > 1


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_an_ensemble_that_was_loaded_before_another_tuning_stays_what_it_was(
    engine: str, built: Built, samples: Path
) -> None:
    """Other layers stay in float32 then: parameters of one tuning do not fit the graph of another."""
    quantised(built.path, samples, options=Int8Options(samples=32, least_decibels=0.0))
    ensemble, images = load(built.path, precision="int8", engine=engine, resident_members=1), np.load(samples)["image"]
    known = ensemble.predict(images, member=1)
    assert quantised(built.path, samples, options=Int8Options(samples=32, least_decibels=36.0)).report.kept
    ensemble.predict(images, member=2)  # the graph is opened again
    np.testing.assert_array_equal(ensemble.predict(images, member=1), known)


def test_openvino_is_refused_where_its_sums_would_leave_their_range(
    built: Built, samples: Path, options: Int8Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen with ONEDNN_MAX_CPU_ISA=AVX2, which leaves VNNI out: outputs of a transformer are off by a third."""
    quantised(built.path, samples, options=options)
    monkeypatch.setattr("hnexport.runtime.openvino_engine.integer_products", lambda: ())
    with pytest.raises(ProviderError, match="OpenVINO's sums would leave their range: choose engine='onnxruntime'"):
        load(built.path, precision="int8", engine="openvino")


def test_a_layer_that_loses_too_much_stays_in_float32_and_is_named(built: Built, samples: Path) -> None:
    every = quantised(built.path, samples, options=Int8Options(samples=32, least_decibels=0.0))
    assert not every.report.kept
    made = quantised(built.path, samples, options=Int8Options(samples=32, least_decibels=36.0))
    kept = [item.layer for item in made.report.kept]
    assert 0 < len(kept) < LAYERS
    assert len(integers(made.path)) == LAYERS - len(kept)
    assert all(item.decibels < 36.0 + NORM_DECIBELS * ("norm" in item.layer) for item in made.report.kept)
    assert set(kept) < {slot.name for slot in built.manifest.slots}
    with pytest.raises(TuneError, match="every layer of .* loses too much in int8"):
        quantised(built.path, samples, options=Int8Options(samples=32, least_decibels=200.0))


def test_what_costs_more_than_the_budget_is_not_cached(built: Built, samples: Path) -> None:
    for budget, said in (
        (
            Budget(agreement=1.01),
            r"answers as float32 does for .*, at least 1\.01 was asked for: nothing was published",
        ),
        (Budget(accuracy_drop=-1.0), r"has an accuracy of .* less, allowed -1: nothing was published"),
    ):
        with pytest.raises(TuneFailedError, match=said):
            quantised(built.path, samples, options=Int8Options(samples=32, budget=budget))
    assert not int8_entry(built.manifest).is_whole()


def test_a_drop_of_accuracy_needs_labels_or_is_refused(built: Built, samples: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.load(samples)["image"])
    with pytest.raises(RuntimeInputError, match=r"images\.npy is no data: expected a folder with a folder for each"):
        quantised(
            built.path, tmp_path / "images.npy", options=Int8Options(samples=32, budget=Budget(accuracy_drop=0.005))
        )
    with pytest.raises(TuneError, match="needs samples with what is right of them"):
        Budget(accuracy_drop=0.005).check(Cost(relative_l2=0.0, agreement=1.0), "it")
    made = quantised(built.path, tmp_path / "images.npy", options=Int8Options(samples=48))
    assert made.report.ensemble.accuracy is None
    assert made.report.ensemble.agreement is not None
    assert not made.report.apart  # all of them calibrated


def test_graphs_of_another_format_have_another_place(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    place = int8_entry(built.manifest).folder
    monkeypatch.setattr("hnexport.runtime.int8.FORMAT_VERSION", 1)
    assert int8_entry(built.manifest).folder != place


def test_without_graphs_the_runtime_says_how_to_make_them(built: Built) -> None:
    with pytest.raises(RuntimeInputError, match=r"run `hnexport tune .* --precision int8 --calibration IMAGES` once"):
        load(built.path, precision="int8")


@pytest.mark.parametrize(
    ("given", "said"),
    first(
        2,
        [
            ({"strategy": "generated"}, "leave out strategy='generated'"),
            ({"strategy": "folded"}, "leave out strategy='folded'"),
            ({"provider": "cuda"}, "precision='int8' needs provider='cpu'"),
            ({"tune": True}, "knows no samples to calibrate int8 with"),
        ],
    ),
    ids=str,
)
def test_what_does_not_go_with_int8_is_refused(built: Built, given: dict[str, Any], said: str) -> None:
    with pytest.raises(RuntimeInputError, match=said):
        load(built.path, precision="int8", **given)


def test_a_network_that_computes_something_else_than_when_it_was_tuned_is_refused(
    built: Built, samples: Path, options: Int8Options
) -> None:
    made = quantised(built.path, samples, options=options)
    held = dict(np.load(made.path / INT8_SAMPLES_FILE))
    assert (held["limit.logits"] >= 0.02).all()
    load(built.path, precision="int8")
    record = json.loads((made.path / "int8.json").read_text())
    held["output.logits"] = held["output.logits"] * 1.5
    np.savez(made.path / INT8_SAMPLES_FILE, **held)
    with pytest.raises(RuntimeInputError, match="has no int8 graphs"):  # its checksum is another one
        load(built.path, precision="int8")
    from hnexport.bundle.checksums import record_file
    from hnexport.records import to_json

    record["files"][INT8_SAMPLES_FILE] = to_json(record_file(made.path / INT8_SAMPLES_FILE))
    (made.path / "int8.json").write_text(json.dumps(record))
    with pytest.raises(BundleError, match="does not compute what it computed when it was tuned: logits of sample 0"):
        load(built.path, precision="int8")


def test_the_command_tells_what_int8_changes_and_stays_silent_in_json(built: Built, samples: Path) -> None:
    arguments = ["tune", str(built.path), "--precision", "int8", "--calibration", str(samples), "--samples", "32"]
    done = CliRunner().invoke(cli, [*arguments, "--min-agreement", "0.5"])
    assert done.exit_code == 0, done.output
    assert f"{LAYERS} layers compute in int8, by the minmax ranges of 32 samples" in done.stdout
    assert "mean of all" in done.stdout
    told = json.loads(CliRunner().invoke(cli, [*arguments, "--json"]).stdout)
    assert told["int8"]["layers"] == LAYERS
    assert len(told["int8"]["members"]) == MEMBERS
    refused = CliRunner().invoke(cli, [*arguments, "--min-agreement", "1.01"])
    assert refused.exit_code == 1
    assert "nothing was published" in refused.output


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--precision", "int8"], "--precision int8 needs --calibration IMAGES"),
        (["--calibration", "x.npz"], "--calibration is for --precision int8"),
        (["--min-agreement", "0.9"], "--min-agreement is for --precision int8"),
        (["--precision", "float16", "--resize"], "--resize is for --precision int8"),
    ],
    ids=str,
)
def test_options_of_int8_go_with_it_alone(built: Built, given: list[str], said: str) -> None:
    done = CliRunner().invoke(cli, ["tune", str(built.path), *given])
    assert done.exit_code == 2
    assert said in " ".join(done.output.split())


@pytest.mark.thorough
@pytest.mark.parametrize("kind", first(1, ["resnet", "transformer"]))
def test_lists_of_modules_compute_in_int8_too(kind: str, tmp_path: Path) -> None:
    bundle, inputs = built_list(kind), ENSEMBLES[kind].inputs(24, 1)
    np.savez(tmp_path / "samples.npz", **{name: tensor.numpy() for name, tensor in inputs.items()})
    made = quantised(bundle.path, tmp_path / "samples.npz", options=Int8Options(samples=16))
    assert made.parity.passed
    assert made.report.layers == 10
    assert max(cost.relative_l2 for cost in made.report.members) < 0.05
    names = [node.op_type for node in onnx.load(made.path / INT8_NETWORK_FILE, load_external_data=False).graph.node]
    products = {"resnet": {"Conv", "Gemm"}, "transformer": {"MatMul"}}[kind]
    assert products <= set(names)
    found = load(bundle.path, precision="int8", resident_members=1)
    outputs = found.outputs(1, {name: tensor.numpy() for name, tensor in inputs.items()})
    known = load(bundle.path, provider="cpu").outputs(1, {name: tensor.numpy() for name, tensor in inputs.items()})
    for name, value in known.items():
        assert 0 < np.linalg.norm(np.subtract(outputs[name], value)) < 0.05 * np.linalg.norm(value)


def test_openvino_computes_the_same_members_in_int8(built: Built, samples: Path, options: Int8Options) -> None:
    quantised(built.path, samples, options=options)
    images = np.load(samples)["image"]
    exact = load(built.path, provider="cpu")
    found, other = (load(built.path, precision="int8", engine=one) for one in ("onnxruntime", "openvino"))
    assert repr(other).endswith("openvino on cpu, materialised, int8>")
    for member in (0, 2):
        known, first, second = (one.predict(images, member=member) for one in (exact, found, other))
        cost = np.linalg.norm(first - known) / np.linalg.norm(known)
        # it may choose other levels where float32 decides by chance, which costs what rounding does
        assert np.linalg.norm(second - known) / np.linalg.norm(known) < 2 * cost
        assert np.linalg.norm(second - first) / np.linalg.norm(known) < 2 * cost
