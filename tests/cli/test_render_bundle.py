"""What is shown of a bundle whose signature is not one image and one output of logits."""

import dataclasses

import pytest
from shared import Built

from hnexport.bundle.summary import summarise, summarise_storage
from hnexport.cli.render_bundle import print_signature, print_storage
from hnexport.spec import OutputKind, OutputSpec, Slot, TensorSpec


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")


def test_the_kind_of_outputs_is_shown_where_there_are_several(built: Built, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = built.manifest
    print_signature(manifest)
    assert "kind" not in capsys.readouterr().out
    width = OutputSpec(name="width", dtype="float32", shape=("batch",), kind=OutputKind.VALUE)
    tokens = TensorSpec(name="tokens", dtype="int64", shape=("batch", "time"))
    print_signature(
        dataclasses.replace(manifest, inputs=(*manifest.inputs, tokens), outputs=(*manifest.outputs, width))
    )
    shown = capsys.readouterr().out
    for text in ("kind", "logits, classes on axis 1", "value", "tokens", "[batch, time]"):
        assert text in shown, text


def test_a_single_value_is_said_to_be_one(built: Built, capsys: pytest.CaptureFixture[str]) -> None:
    width = OutputSpec(name="width", dtype="float32", shape=("batch",), kind=OutputKind.VALUE)
    print_signature(dataclasses.replace(built.manifest, outputs=(width,)))
    assert "value" in capsys.readouterr().out


def test_tied_tensors_are_named_and_counted_once(built: Built, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = built.manifest
    first = manifest.slots[0]
    twin = Slot(name="twin.weight", shape=first.shape, alias_of=first.name)
    tied = dataclasses.replace(manifest, slots=(*manifest.slots, twin))
    print_storage(summarise_storage(tied))
    shown = capsys.readouterr().out
    assert f"tied: twin.weight is {first.name}" in shown
    assert f"main network: {len(manifest.slots)} tensors" in shown
    generated = {slot.name for slot in manifest.slots} - {item.slot for item in manifest.stored}
    (line,) = [line for line in shown.splitlines() if line.startswith("generated: ")]
    assert set(line.removeprefix("generated: ").split(", ")) == generated
    assert summarise(tied).sizes_bytes == summarise(manifest).sizes_bytes
