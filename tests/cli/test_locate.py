"""`hnexport locate`, `verify FILE` and `doctor`: answers and exit codes."""

import json
from pathlib import Path

from faults import ONNX_FAULTS
from fixture_types import Hnexport
from shared import Built


def test_locate_exits_with_0_on_a_correct_artifact(hnexport: Hnexport, built: Built) -> None:
    done = hnexport("locate", built.path, "--against", "onnx")
    assert done.returncode == 0, done.stderr
    assert "nothing departs" in done.stdout


def test_locate_exits_with_1_and_names_the_layer(hnexport: Hnexport, bundle: Path) -> None:
    next(fault for fault in ONNX_FAULTS if fault.name == "ReLU missing").plant(bundle)
    done = hnexport("locate", bundle, "--against", bundle / "model.onnx")
    assert done.returncode == 1, done.stderr
    assert "first departure, in inference: layer group2.block1.norm2" in done.stdout


def test_locate_as_json_has_the_stage_and_every_step(hnexport: Hnexport, bundle: Path) -> None:
    next(fault for fault in ONNX_FAULTS if fault.name == "two members swapped").plant(bundle)
    value = json.loads(hnexport("locate", bundle, "--against", "onnx", "--json").stdout)
    assert (value["stage"], value["first"]["kind"]) == ("weight generation", "embedding")
    assert "another member's" in value["first"]["detail"]


def test_locate_exits_with_2_without_a_file(hnexport: Hnexport, built: Built) -> None:
    done = hnexport("locate", built.path, "--against", "nothing.onnx")
    assert done.returncode == 2
    assert "not a file" in done.stderr


def test_verify_of_a_file_needs_a_bundle(hnexport: Hnexport, built: Built) -> None:
    assert hnexport("verify", built.path / "model.onnx", "--bundle", built.path).returncode == 0
    done = hnexport("verify", built.path / "model.onnx")
    assert done.returncode == 2
    assert "--bundle" in done.stderr


def test_verify_saves_a_failing_case_and_replays_it(
    hnexport: Hnexport, built: Built, bundle: Path, tmp_path: Path
) -> None:
    next(fault for fault in ONNX_FAULTS if fault.name == "ReLU missing").plant(bundle)
    cases = tmp_path / "cases"
    done = hnexport("verify", bundle, "--runtimes", "onnx", "--save-failure", cases)
    assert done.returncode == 1, done.stderr
    case = cases / "onnx-member-0.json"
    assert hnexport("verify", bundle, "--replay", case).returncode == 1
    assert "the same now" in hnexport("verify", built.path, "--replay", case).stdout


def test_doctor_answers_in_words_and_in_json(hnexport: Hnexport) -> None:
    assert "onnxruntime on cpu" in hnexport("doctor").stdout
    assert {"sound", "machine", "findings"} <= set(json.loads(hnexport("doctor", "--json").stdout))
