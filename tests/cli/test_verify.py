"""`hnexport verify`: 0 the same, 1 different, 2 could not be answered."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from fixture_types import Hnexport
from shared import Built

from hnexport.bundle import read_golden, read_manifest, write_golden, write_manifest
from hnexport.bundle.checksums import record_file
from hnexport.parity.chosen import golden_rows


def test_an_intact_bundle_passes_with_a_row_for_each_member(hnexport: Hnexport, built: Built) -> None:
    done = hnexport("verify", built.path, "--batch-sizes", "1,2,5")
    assert done.returncode == 0, done.stderr
    assert "relative L2 error by member" in done.stdout
    assert done.stdout.count("same") == 6


def test_json_has_members_artifacts_and_checks(hnexport: Hnexport, built: Built) -> None:
    done = hnexport("verify", built.path, "--members", "2,0", "--json")
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert value["members_checked"] == [2, 0]
    names = {check["name"] for artifact in value["artifacts"] for check in artifact["checks"]}
    assert "ids that do not exist give NaN" in names


def test_a_bundle_that_computes_something_else_exits_with_1(hnexport: Hnexport, bundle: Path) -> None:
    golden = read_golden(bundle)
    write_golden(bundle, dataclasses.replace(golden, outputs={"logits": golden.outputs["logits"][::-1].copy()}))
    manifest = read_manifest(bundle)
    files = {**manifest.files, "golden.safetensors": record_file(bundle / "golden.safetensors")}
    write_manifest(bundle, dataclasses.replace(manifest, files=files))
    done = hnexport("verify", bundle)
    assert done.returncode == 1, done.stderr
    assert "DIFFERENT" in done.stdout
    assert "FAILED onnx: member 0: relative L2 error" in done.stdout


def test_a_damaged_bundle_exits_with_2_and_names_the_file(hnexport: Hnexport, bundle: Path) -> None:
    with (bundle / "weights.bin").open("r+b") as file:
        file.seek(5000)
        file.write(b"\x55")
    done = hnexport("verify", bundle)
    assert done.returncode == 2
    assert "weights.bin is damaged" in done.stderr


def test_a_member_that_does_not_exist_exits_with_2(hnexport: Hnexport, built: Built) -> None:
    done = hnexport("verify", built.path, "--members", "0,3")
    assert done.returncode == 2
    assert "member 3 does not exist: this ensemble has members 0 to 2" in done.stderr


@pytest.mark.thorough
def test_members_that_the_golden_samples_lack_are_computed(hnexport: Hnexport, bundle: Path) -> None:
    golden = read_golden(bundle)
    kept = golden_rows(golden, [0])
    write_golden(bundle, kept)
    manifest = read_manifest(bundle)
    files = {**manifest.files, "golden.safetensors": record_file(bundle / "golden.safetensors")}
    write_manifest(bundle, dataclasses.replace(manifest, files=files))
    for asked in ((), ("--members", "all")):
        done = hnexport("verify", bundle, *asked, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["members_checked"] == [0, 1, 2]
    shutil.rmtree(bundle)
