"""Golden inputs for runtimes that Python cannot reach, and the verdict on what they return."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from faults import ONNX_FAULTS
from thorough import first

from hnexport.bundle import read_golden, read_manifest
from hnexport.errors import BundleError, ParityError
from hnexport.parity import Precision, Verdict, VerifyOptions, replay, verify_outputs, write_golden_inputs
from hnexport.parity.checks import UNKNOWN_IDS

Pristine = Callable[[str], Path]
Array = np.ndarray


@pytest.fixture
def bundle(pristine: Pristine) -> Path:
    return pristine("hypernet")


@pytest.fixture
def folder(bundle: Path, tmp_path: Path) -> Path:
    """Golden inputs with the right outputs of every member as `.npy`."""
    write_golden_inputs(bundle, tmp_path / "golden")
    golden = read_golden(bundle)
    for member, logits in zip(golden.members.tolist(), golden.outputs["logits"], strict=True):
        put(tmp_path / "golden", member, logits.astype(np.float32))
    return tmp_path / "golden"


def put(folder: Path, member: int, logits: Array) -> Path:
    (folder / f"member-{member}").mkdir(exist_ok=True)
    np.save(folder / f"member-{member}" / "logits.npy", logits)
    return folder / f"member-{member}" / "logits.npy"


def right(bundle: Path, member: int) -> Array:
    return read_golden(bundle).outputs["logits"][member].astype(np.float32)


@pytest.mark.parametrize("kind", ["hypernet", "pixels"])
def test_npy_raw_and_their_description_hold_the_golden_images(kind: str, pristine: Pristine, tmp_path: Path) -> None:
    write_golden_inputs(pristine(kind), tmp_path / "golden")
    index = json.loads((tmp_path / "golden" / "golden.json").read_text(encoding="utf-8"))
    images, manifest = read_golden(pristine(kind)).inputs["image"], read_manifest(pristine(kind))
    described = index["inputs"][0]
    raw = np.frombuffer((tmp_path / "golden" / described["raw"]).read_bytes(), dtype=described["dtype"])
    assert (index["byte_order"], described["name"]) == ("little", manifest.inputs[1].name)
    np.testing.assert_array_equal(raw.reshape(described["shape"]), images)
    np.testing.assert_array_equal(np.load(tmp_path / "golden" / described["npy"]), images)
    assert index["members"] == [0, 1, 2]
    assert index["outputs"][0]["shape"] == [len(images), 10]
    assert index["outputs"][0]["npy"] == "member-{id}/logits.npy"
    assert "member-ID/logits.npy" in index["what_to_do"]


def test_two_folders_of_one_bundle_are_equal(bundle: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_golden_inputs(bundle, tmp_path / name, (1,))
    files = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()]
    assert len(files) == 3
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files)


def test_what_is_there_is_not_replaced(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("mine", "link"):
        with pytest.raises(ParityError, match="exists: choose another target"):
            write_golden_inputs(bundle, tmp_path / name)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    with pytest.raises(ParityError, match="member 7 does not exist"):
        write_golden_inputs(bundle, tmp_path / "new", (7,))
    with pytest.raises(BundleError, match="is not a bundle"):
        write_golden_inputs(tmp_path, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_right_outputs_are_the_same_and_the_runtime_is_named(bundle: Path, folder: Path) -> None:
    (folder / "runtime.txt").write_text("tract 0.21\x1b[31m on a phone\nmore")
    report = verify_outputs(folder, bundle)
    assert report.verdict is Verdict.SAME
    artifact = report.artifacts[0]
    assert (artifact.artifact, artifact.runtime) == ("outputs", "tract 0.21[31m on a phone")
    assert set(artifact.not_checked) >= {UNKNOWN_IDS}
    assert report.members_checked == (0, 1, 2)


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8"])
def test_float_types_and_byte_orders_are_read(dtype: str, bundle: Path, folder: Path) -> None:
    put(folder, 1, np.asfortranarray(right(bundle, 1).astype(dtype)))
    assert verify_outputs(folder, bundle).verdict is Verdict.SAME


def test_raw_values_are_read_as_the_description_says(bundle: Path, folder: Path) -> None:
    for member in range(3):
        (folder / f"member-{member}" / "logits.npy").unlink()
        right(bundle, member).astype("<f4").tofile(folder / f"member-{member}" / "logits.raw")
    assert verify_outputs(folder, bundle).verdict is Verdict.SAME
    right(bundle, 0).astype(">f4").tofile(folder / "member-2" / "logits.raw")
    assert verify_outputs(folder, bundle).verdict is Verdict.DIFFERENT


def test_float16_is_judged_as_float16_only(bundle: Path, folder: Path) -> None:
    for member in range(3):
        put(folder, member, right(bundle, member).astype(np.float16))
    with pytest.raises(ParityError, match="precision=Precision.FLOAT16"):
        verify_outputs(folder, bundle)
    assert verify_outputs(folder, bundle, VerifyOptions(precision=Precision.FLOAT16)).verdict is Verdict.SAME


WRONG: dict[str, Callable[[Array], Array]] = {
    "another member's": lambda logits: logits[::-1].copy(),
    "one row": lambda logits: logits + np.eye(len(logits), logits.shape[1], dtype=np.float32),
    "scaled": lambda logits: logits * np.float32(1.0001),
    "NaN": lambda logits: np.full_like(logits, np.nan),
    "infinite": lambda logits: np.full_like(logits, np.inf),
}


@pytest.mark.parametrize("fault", WRONG)
def test_wrong_outputs_are_different(fault: str, bundle: Path, folder: Path) -> None:
    put(folder, 1, WRONG[fault](right(bundle, 1)))
    report = verify_outputs(folder, bundle)
    assert report.verdict is Verdict.DIFFERENT
    assert report.artifacts[0].worst.member == 1


def test_equal_members_are_different(bundle: Path, folder: Path) -> None:
    for member in range(3):
        put(folder, member, right(bundle, 0))
    assert any("the condition seems baked in" in line for line in verify_outputs(folder, bundle).artifacts[0].failures)


def test_a_missing_member_leaves_the_question_open_unless_another_differs(bundle: Path, folder: Path) -> None:
    shutil.rmtree(folder / "member-2")
    report = verify_outputs(folder, bundle)
    assert report.verdict is Verdict.UNANSWERED
    assert list(report.refused) == ["outputs, member 2"]
    assert "run member 2 too" in report.refused["outputs, member 2"]
    assert report.members_checked == (0, 1)
    assert verify_outputs(folder, bundle, VerifyOptions(members=(1, 0))).verdict is Verdict.SAME
    put(folder, 0, right(bundle, 1))
    assert verify_outputs(folder, bundle).verdict is Verdict.DIFFERENT
    for member in (0, 1):
        shutil.rmtree(folder / f"member-{member}")
    with pytest.raises(ParityError, match="run member 0 too"):
        verify_outputs(folder, bundle)


def test_the_members_that_were_asked_for_are_judged(bundle: Path, tmp_path: Path) -> None:
    write_golden_inputs(bundle, tmp_path / "golden", (1,))
    put(tmp_path / "golden", 1, right(bundle, 1))
    report = verify_outputs(tmp_path / "golden", bundle)
    assert (report.verdict, report.members_checked) == (Verdict.SAME, (1,))


def test_a_folder_without_its_description_is_judged_with_the_golden_members(bundle: Path, folder: Path) -> None:
    (folder / "golden.json").unlink()
    assert verify_outputs(folder, bundle).members_checked == (0, 1, 2)


def huge_header(path: Path) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000000, 10), }"
    header = header.ljust(117) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def empty_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGED: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-8]), "cannot be read as a .npy file"),
    "empty": (lambda path: path.write_bytes(b""), "cannot be read as a .npy file"),
    "no header": (lambda path: path.write_bytes(b"numbers"), "cannot be read as a .npy file"),
    "a header of 10^13 rows": (huge_header, "cannot be read as a .npy file"),
    "pickled": (lambda path: np.save(path, np.array([{}], dtype=object)), "cannot be read as a .npy file"),
    "fewer rows": (lambda path: np.save(path, np.load(path)[:2]), r"has the shape \[2, 10\], expected \[7, 10\]"),
    "a map": (lambda path: np.save(path, np.load(path)[..., None]), r"has the shape \[7, 10, 1\]"),
    "whole numbers": (lambda path: np.save(path, np.load(path).astype(np.int64)), "holds int64, expected float16"),
    "a FIFO": (fifo, "is a FIFO, expected a regular file"),
    "a folder": (empty_folder, "is a folder, expected a regular file"),
}


@pytest.mark.parametrize("case", first(4, DAMAGED))
def test_a_damaged_output_is_refused_by_name(case: str, bundle: Path, folder: Path) -> None:
    damage, message = DAMAGED[case]
    damage(folder / "member-1" / "logits.npy")
    report = verify_outputs(folder, bundle)
    assert report.verdict is Verdict.UNANSWERED
    with pytest.raises(ParityError, match=message):
        raise ParityError(report.refused["outputs, member 1"])


def test_raw_values_of_another_size_are_refused(bundle: Path, folder: Path) -> None:
    (folder / "member-1" / "logits.npy").unlink()
    (folder / "member-1" / "logits.raw").write_bytes(b"\0" * 276)
    report = verify_outputs(folder, bundle)
    assert r"has 276 bytes, expected 280 for float32 [7, 10]" in report.refused["outputs, member 1"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda index: {**index, "manifest_sha256": "0" * 64}, "belongs to another bundle"),
        (lambda index: {**index, "schema_version": 9}, "is no hnexport-golden of version 2"),
        (lambda index: {**index, "members": "all"}, "cannot be read: .*members"),
        (lambda index: [index] * 2, "cannot be read"),
    ],
    ids=["another bundle", "another version", "no list", "no object"],
)
def test_a_description_that_does_not_fit_is_refused(
    content: Callable[[dict], object], message: str, bundle: Path, folder: Path
) -> None:
    index = json.loads((folder / "golden.json").read_text(encoding="utf-8"))
    (folder / "golden.json").write_text(json.dumps(content(index)), encoding="utf-8")
    with pytest.raises(ParityError, match=message):
        verify_outputs(folder, bundle)


def test_a_folder_that_is_not_there_is_refused(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(ParityError, match="is not a folder"):
        verify_outputs(tmp_path / "nothing", bundle)


def test_ids_that_do_not_exist_are_checked_where_they_were_run(bundle: Path, folder: Path) -> None:
    put(folder, -1, np.full((7, 10), np.nan, dtype=np.float32))
    put(folder, 3, np.full((7, 10), np.nan, dtype=np.float32))
    report = verify_outputs(folder, bundle)
    assert report.verdict is Verdict.SAME
    assert UNKNOWN_IDS not in report.artifacts[0].not_checked
    put(folder, 3, right(bundle, 2))
    report = verify_outputs(folder, bundle)
    assert report.artifacts[0].failures == (f"{UNKNOWN_IDS}: cond_id 3 returned numbers",)


def test_a_failing_output_is_saved_as_a_case(bundle: Path, folder: Path, tmp_path: Path) -> None:
    put(folder, 1, right(bundle, 2))
    verify_outputs(folder, bundle, VerifyOptions(save_failures=tmp_path / "failures"))
    case = tmp_path / "failures" / "outputs-member-1.json"
    assert replay(case, bundle / "model.onnx", bundle).passed
    with pytest.raises(ParityError, match="give that file"):
        replay(case, bundle, bundle)


# The whole way, in programs that know nothing of hnexport.

EVALUATOR = """
import json, os, sys
import numpy as np
from onnx.reference import ReferenceEvaluator

folder, model = sys.argv[1], ReferenceEvaluator(sys.argv[2])
index = json.load(open(f"{folder}/golden.json"))
assert not any(name.startswith("hnexport") for name in sys.modules)
image = index["inputs"][0]
values = np.fromfile(f"{folder}/{image['raw']}", image["dtype"]).reshape(image["shape"])
for member in index["members"] + index["unknown_ids"]:
    path = f"{folder}/" + index["outputs"][0]["raw"].replace("{id}", str(member))
    os.makedirs(os.path.dirname(path))
    with np.errstate(all="ignore"):
        model.run(None, {"cond_id": np.array(member), image["name"]: values})[0].astype("<f4").tofile(path)
"""


@pytest.mark.parametrize("fault", first(1, [None, "ReLU missing", "no guard for unknown ids"]))
def test_onnxs_own_evaluator_is_judged_by_its_files(
    fault: str | None, bundle: Path, copied: Pristine, tmp_path: Path
) -> None:
    changed = copied("hypernet")
    if fault is not None:
        next(item for item in ONNX_FAULTS if item.name == fault).plant(changed)
    write_golden_inputs(bundle, tmp_path / "golden")
    command = [sys.executable, "-c", EVALUATOR, str(tmp_path / "golden"), str(changed / "model.onnx")]
    subprocess.run(command, check=True, cwd=tmp_path, timeout=120)
    verdict = verify_outputs(tmp_path / "golden", bundle).verdict
    assert verdict is (Verdict.SAME if fault is None else Verdict.DIFFERENT)


C_PROGRAM = r"""
/* Reads IMAGES, tells the sum of its values, and writes the numbers of its standard input to OUT as raw float32. */
#include <stdio.h>

int main(int argc, char **argv) {
    if (argc != 3) return 1;
    FILE *images = fopen(argv[1], "rb"), *out = fopen(argv[2], "wb");
    float value;
    double sum = 0;
    long count = 0;
    if (!images || !out) return 1;
    for (; fread(&value, sizeof value, 1, images) == 1; count++) sum += value;
    printf("%ld %.9g\n", count, sum);
    while (scanf("%f", &value) == 1) fwrite(&value, sizeof value, 1, out);
    return fclose(out) ? 1 : 0;
}
"""


def test_a_program_in_c_reads_the_inputs_and_writes_outputs(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "foreign.c").write_text(C_PROGRAM)
    subprocess.run(["gcc", "-o", tmp_path / "foreign", tmp_path / "foreign.c"], check=True, timeout=120)
    folder, images = tmp_path / "golden", read_golden(bundle).inputs["image"]
    write_golden_inputs(bundle, folder)
    for member in range(3):
        (folder / f"member-{member}").mkdir()
        numbers = " ".join(f"{value:.9g}" for value in right(bundle, member).ravel())
        command = [tmp_path / "foreign", folder / "inputs/image.raw", folder / f"member-{member}/logits.raw"]
        done = subprocess.run(command, input=numbers, text=True, capture_output=True, check=True, timeout=120)
        count, total = done.stdout.split()
        assert int(count) == images.size
        assert float(total) == pytest.approx(images.astype(np.float64).sum(), rel=1e-8)
    assert verify_outputs(folder, bundle).verdict is Verdict.SAME


def test_a_folder_of_hnexport_0_1_is_judged_too(bundle: Path, folder: Path) -> None:
    index = json.loads((folder / "golden.json").read_text(encoding="utf-8"))
    old = {name: value for name, value in index.items() if name != "sample_kinds"}
    old |= {"schema_version": 1, "image_kinds": index["sample_kinds"]}
    for item in (*old["inputs"], *old["outputs"]):
        del item["batch"]
    (folder / "golden.json").write_text(json.dumps(old), encoding="utf-8")
    assert verify_outputs(folder, bundle).verdict is Verdict.SAME
