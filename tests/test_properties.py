"""What holds for every specification, and for everything that may stand in a file."""

import contextlib
import dataclasses
import json
import math
import shutil
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DataObject
from strategies import json_values, pipelines

from hnexport.bundle import read_manifest, write_manifest
from hnexport.bundle.manifest import SCHEMA_VERSION
from hnexport.errors import BundleError, CheckpointError, RuntimeInputError, SpecError
from hnexport.images import Normalisation, read_images
from hnexport.networks.wide_resnet.checkpoints import load_checkpoint
from hnexport.networks.wide_resnet.chunking import chunk_parts, plan_chunks
from hnexport.networks.wide_resnet.counts import weight_summary
from hnexport.networks.wide_resnet.family import image_input
from hnexport.networks.wide_resnet.slots import network_slots, slot_source
from hnexport.networks.wide_resnet.spec import PipelineSpec, WideResNetSpec
from hnexport.networks.wide_resnet.storage import stored_tensors
from hnexport.records import RecordError, from_json, to_json
from hnexport.spec import Source
from hnexport.spec.bases import unquantised

STORED = Path(__file__).parent / "data" / "bundle-v1"
SMALL = PipelineSpec(network=WideResNetSpec.from_name("wrn-10-1"), members=2)
RASTERS = (
    b"",
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff\xe0",
    b"GIF89a",
    b"BM",
    b"II*\x00",
    b"RIFF\x00\x00\x00\x00WEBP",
    b"%!PS",
)


@given(pipelines())
def test_a_specification_survives_json(spec: PipelineSpec) -> None:
    text = json.dumps(to_json(spec), allow_nan=False)
    assert from_json(PipelineSpec, json.loads(text)) == spec


@given(pipelines())
def test_every_generated_slot_is_assembled_whole_and_every_chunk_is_used(spec: PipelineSpec) -> None:
    plan = plan_chunks(spec)
    generated = {slot.name: slot for slot in network_slots(spec.network) if slot_source(spec, slot) is Source.GENERATED}
    assert set(plan.assembly) == set(generated)
    for name, assembly in plan.assembly.items():
        assert sum(piece.size for piece in assembly.pieces) == math.prod(generated[name].shape)
    used = {(piece.hypernet, piece.chunk) for assembly in plan.assembly.values() for piece in assembly.pieces}
    assert used == {(hypernet.name, chunk) for hypernet in plan.hypernets for chunk in range(hypernet.chunks)}


@given(pipelines())
def test_parts_of_a_chunk_neither_overlap_nor_leave_gaps(spec: PipelineSpec) -> None:
    parts = chunk_parts(spec)
    for hypernet in plan_chunks(spec).hypernets:
        end = 0
        for part in sorted(parts[hypernet.name], key=lambda part: part.offset):
            assert part.offset == end
            end += part.size
        assert end == hypernet.chunk_size


@given(pipelines())
def test_stored_tensors_have_names_of_their_own_and_are_what_is_counted(spec: PipelineSpec) -> None:
    stored = stored_tensors(spec)
    assert not [name for name, count in Counter(tensor.name for tensor in stored).items() if count > 1]
    trained = [tensor for tensor in unquantised(stored) if tensor.trained]
    assert sum(tensor.size for tensor in trained) == weight_summary(spec)["container: weights"]


@given(json_values)
def test_any_json_is_a_specification_or_is_refused(value: Any) -> None:
    try:
        spec = from_json(PipelineSpec, value)
    except (RecordError, SpecError):
        return
    assert from_json(PipelineSpec, to_json(spec)) == spec


@given(pipelines(), st.data())
def test_a_specification_with_one_other_value_is_one_or_is_refused(spec: PipelineSpec, data: DataObject) -> None:
    value = json.loads(json.dumps(to_json(spec)))
    parent = value
    while isinstance(parent, dict):
        key = data.draw(st.sampled_from(sorted(parent)))
        if not isinstance(parent[key], dict) or not parent[key] or data.draw(st.booleans()):
            parent[key] = data.draw(json_values)
            break
        parent = parent[key]
    try:
        changed = from_json(PipelineSpec, value)
    except (RecordError, SpecError):
        return
    assert from_json(PipelineSpec, to_json(changed)) == changed


@given(st.data())
def test_a_manifest_with_one_other_value_is_one_or_is_refused(tmp_path: Path, data: DataObject) -> None:
    folder = Path(shutil.copytree(STORED, tmp_path / "bundle", dirs_exist_ok=True))
    value = json.loads((STORED / "manifest.json").read_text(encoding="utf-8"))
    parent = value
    while isinstance(parent, dict) and parent:
        key = data.draw(st.sampled_from(sorted(parent)))
        if not isinstance(parent[key], dict) or data.draw(st.booleans()):
            parent[key] = data.draw(json_values)
            break
        parent = parent[key]
    (folder / "manifest.json").write_text(json.dumps(value), encoding="utf-8")
    try:
        manifest = read_manifest(folder)
    except BundleError:
        return
    today = dataclasses.replace(manifest, schema_version=SCHEMA_VERSION)  # one of version 1 is written as one of today
    write_manifest(folder, today)
    assert read_manifest(folder) == today


@given(st.binary(max_size=200))
def test_a_manifest_of_any_bytes_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        read_manifest(tmp_path)


@given(st.binary(max_size=200), st.booleans())
def test_a_checkpoint_of_any_bytes_is_refused(tmp_path: Path, content: bytes, sized: bool) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(content).to_bytes(8, "little") + content if sized else content)
    with pytest.raises(CheckpointError, match=r"a\.safetensors"):
        load_checkpoint(path)


@given(st.sampled_from(RASTERS), st.binary(max_size=200), st.sampled_from([".png", ".jpg", ".npy", ".gif", ""]))
def test_an_image_of_any_bytes_is_read_or_refused(tmp_path: Path, magic: bytes, content: bytes, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(magic + content)
    with (
        warnings.catch_warnings(action="ignore"),
        contextlib.suppress(RuntimeInputError),
    ):  # Pillow warns of odd headers
        assert read_images([path], image_input(SMALL), resize=True, normalisation=Normalisation()).names
