"""What a card says follows from the manifest; what strangers write into a manifest stays text."""

import dataclasses
import re
from typing import Any

import pytest
import yaml
from hypernetworks import CASES
from markdown_it import MarkdownIt
from shared import Built, built_kind, built_list

from hnexport.bundle.manifest import BasisRounding, Identified, Temperature
from hnexport.card import Measured, Score, Table, bundle_card, card_text
from hnexport.card.markdown import code, prose
from hnexport.spec import StoredKind
from hnexport.spec.usage import Normalisation, Usage

EVIL = (
    '<script>alert(1)</script> | **x** [a](http://evil.example) ![i](http://evil.example/i.png) `b` \\| &lt; "q" '
    "https://evil.example www.evil.example a@evil.example @you #1 $x$ :smile: ~~s~~ - x\n"
    "# h\n---\nlicense: mit\n```\n\u202e\x1b"
)
MEASURED = Measured(
    data="test.npz",
    samples=450,
    output="logits",
    tables=(Table(columns=("", "accuracy"), rows=(("ensemble", "0.9800"),)),),
    remarks=("Computed by onnxruntime 1.31.1 cpu.",),
    scores=(
        Score(metric="accuracy", name="Accuracy", value=0.98),
        Score(metric="nll", name="NLL", value=1.25e-5),
        Score(metric="rmse", name="RMSE", value=1234567.5),
    ),
)


def metadata(card: str) -> Any:
    """The metadata, as PyYAML reads it; hubs read it likewise."""
    head = re.match(r"---\n(.*?)\n---\n\n# ", card, re.DOTALL)
    assert head
    return yaml.safe_load(head[1])


def rendered(card: str) -> Any:
    body = card.split("\n---\n", 1)[1]
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(body)


def changed(built: Built, **changes: Any) -> str:
    shapes = {tensor.name: (1, 3, 8, 8) for tensor in built.manifest.inputs[1:]}
    return card_text(Identified(manifest=dataclasses.replace(built.manifest, **changes), digest=built.digest), shapes)


def test_a_build_writes_the_card_that_the_manifest_gives(built: Built) -> None:
    card = (built.path / "README.md").read_text(encoding="utf-8")
    assert card == bundle_card(built.path, Identified(manifest=built.manifest, digest=built.digest))
    assert "README.md" not in built.manifest.files
    assert str(built.path) not in card
    assert built.digest in card
    assert metadata(card) == {
        "library_name": "hnexport",
        "pipeline_tag": "image-classification",
        "tags": [
            *("hnexport", "ensemble", "wide-resnet", "uncertainty", "onnx", "torchscript", "torch-export", "pytorch"),
            "hypernetwork",
        ],
    }


def test_a_card_says_origin_files_and_parity(built: Built) -> None:
    html = rendered((built.path / "README.md").read_text(encoding="utf-8"))
    assert f"<th>weights come from</th>\n<th>{built.manifest.origin}</th>" in html
    for name in (*built.manifest.files, *built.manifest.parity, "manifest.json"):
        assert f"<td><code>{name}</code></td>" in html
    for found in built.manifest.parity.values():
        assert f"<td>{found.relative_l2:.1e}</td>" in html


@pytest.mark.parametrize(
    ("kind", "pipeline", "tag"),
    [("cnn", "image-classification", False), ("scorer", None, False), ("regressor", None, False)],
)
def test_a_task_is_named_where_inputs_and_outputs_say_it(kind: str, pipeline: str | None, tag: bool) -> None:
    found = metadata((built_list(kind).path / "README.md").read_text(encoding="utf-8"))
    assert found.get("pipeline_tag") == pipeline
    assert ("hypernetwork" in found["tags"]) == tag


def test_conditions_are_named_and_make_a_hypernetwork() -> None:
    card = (built_kind("hypernetwork-both", CASES["both"]).path / "README.md").read_text(encoding="utf-8")
    assert "hypernetwork" in metadata(card)["tags"]
    assert "| input | `condition` | float32 | `[6]` | condition: the weights are made of it too |" in card
    assert "hnexport deploy web" not in card


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, {}),
        ("apache-2.0", {"license": "apache-2.0"}),
        ("MIT", {"license": "mit"}),
        ("GPL-3.0-or-later", {"license": "gpl-3.0"}),
        ("ODbL-1.0", {"license": "odbl"}),
        ("CC0-1.0", {"license": "cc0-1.0"}),
        *((name, {"license": name.lower()}) for name in ("CC-BY-3.0", "CC-BY-NC-SA-3.0", "CDLA-Sharing-1.0")),
        ("MIT-0", {"license": "other", "license_name": "mit-0"}),
        ("1.0", {"license": "other", "license_name": "1.0"}),
        ("no", {"license": "other", "license_name": "no"}),
        ("LicenseRef-Acme", {"license": "other", "license_name": "licenseref-acme"}),
    ],
)
def test_a_licence_is_called_as_hubs_call_it(built: Built, given: str | None, expected: dict[str, Any]) -> None:
    card = changed(built, usage=Usage(license=given))
    found = metadata(card)
    assert {key: value for key, value in found.items() if key.startswith("license")} == expected
    assert given is None or f"| licence | `{given}` |" in card


@pytest.mark.parametrize(
    ("usage", "said"),
    [
        (Usage(), "normalised as those of the training were, **which nobody said**"),
        (Usage(normalisation=Normalisation()), "3 channels, nchw; pixel / 255 |"),
        (
            Usage(normalisation=Normalisation(mean=(0.5, 0.4, 0.3), std=(0.25,))),
            "(pixel / 255 - mean) / std with mean 0.5, 0.4, 0.3 and std 0.25",
        ),
        (Usage(class_names={"logits": ("cat", "dog", "a|b", "d", "e")}), "0 `cat`, 1 `dog`, 2 <code>a&#124;b</code>"),
        (
            Usage(assumed=("image-size", "some-word")),
            "| assumed, since nobody said it | images of 8x8, "
            "since no tensor shows their height and width; some-word |",
        ),
    ],
)
def test_what_a_user_has_to_know_is_said(built: Built, usage: Usage, said: str) -> None:
    assert said in changed(built, usage=usage)


def test_only_a_hundred_classes_are_listed(built: Built) -> None:
    names = tuple(f"class {number}" for number in range(1000))
    card = changed(built, usage=Usage(class_names={"logits": names}))
    assert "99 `class 99`, and 900 more in `manifest.json`." in card


def test_a_temperature_is_said_with_where_it_comes_from(built: Built) -> None:
    found = Temperature(output="logits", value=1.5, rows=400, source="sha256:" + "0" * 64)
    card = changed(built, temperature=found)
    assert f"| temperature | 1.5 of logits, fitted on 400 rows, of sha256\\:{'0' * 64} |" in card
    assert "logits, classes on axis 1, divided by the temperature in the graph" in card


def test_bases_of_half_the_size_are_said(built: Built) -> None:
    half = [
        dataclasses.replace(one, dtype="float16") if one.kind is StoredKind.BASIS else one
        for one in built.manifest.stored
    ]
    rounding = BasisRounding(bases=1e-4, logits=2e-4, members=(0, 1, 2))
    card = changed(built, stored=tuple(half), basis_rounding=rounding)
    assert "stored in float16, weights generated in float32; rounding changed outputs by 2.0e-04, relative L2" in card


def test_an_evaluation_stands_in_the_text_and_in_the_metadata(built: Built) -> None:
    found = Identified(manifest=built.manifest, digest=built.digest)
    card = card_text(found, {"image": (1, 3, 8, 8)}, [MEASURED])
    assert (
        "On `test.npz`, 450 samples, output `logits`:\n\n|  | accuracy |\n| --- | --- |\n| ensemble | 0.9800 |" in card
    )
    data = metadata(card)
    assert data["metrics"] == ["accuracy", "nll", "rmse"]
    (entry,) = data["model-index"]
    (result,) = entry["results"]
    assert entry["name"] == built.manifest.name
    assert result["task"] == {"type": "image-classification"}
    assert result["dataset"] == {"type": "test.npz", "name": "test.npz"}
    assert [(one["type"], one["value"]) for one in result["metrics"]] == [
        ("accuracy", 0.98),
        ("nll", 1.25e-5),
        ("rmse", 1234567.5),
    ]


def test_what_a_stranger_wrote_into_a_manifest_stays_text(built: Built) -> None:
    manifest = built.manifest
    names = {"logits": (EVIL.replace("\n", " ").replace("\u202e", "").replace("\x1b", "")[:190].strip(), "b")}
    evil = dataclasses.replace(
        manifest,
        name=EVIL,
        origin=EVIL,
        versions={EVIL: EVIL},
        parity={EVIL: next(iter(manifest.parity.values()))},
        inputs=(manifest.inputs[0], dataclasses.replace(manifest.inputs[1], name=EVIL)),
        outputs=(dataclasses.replace(manifest.outputs[0], name=f"{EVIL}2", shape=("batch", EVIL)),),
        temperature=Temperature(output=f"{EVIL}2", value=1.0, rows=1, source=EVIL),
        usage=Usage(class_names=names),
    )
    measured = dataclasses.replace(MEASURED, data=EVIL, output=f"{EVIL}2", remarks=(EVIL,))
    card = card_text(Identified(manifest=evil, digest=built.digest), {EVIL: (1, 3, 8, 8)}, [measured])
    assert set(metadata(card)) == {"library_name", "tags", "metrics", "model-index", "pipeline_tag"}
    html = rendered(card)
    for tag in ("<script", "<img", "<a ", "<em>", "<s>", "<h4", "<hr"):
        assert tag not in html
    assert html.count("<h1>") == 1
    assert re.findall("<h2>(.*?)</h2>", html) == re.findall(
        "<h2>(.*?)</h2>", rendered((built.path / "README.md").read_text())
    )
    assert "\u202e" not in card
    assert "\x1b" not in card
    for row in re.findall(r"<table>(.*?)</table>", html, re.DOTALL):
        heads, cells = row.count("<th>"), [part.count("<td") for part in row.split("<tr>")[2:]]
        assert set(cells) <= {heads}
    python = re.findall(r"^```python\n(.*?)^```$", card, re.DOTALL | re.MULTILINE)
    assert len(python) == 5
    for block in python:
        compile(block, "block", "exec")


@pytest.mark.parametrize("text", ["a", "a|b", "`", "``", "a`b|c\\", " a ", "", "<b>", "\\|", "x\\\\|y", "é |", "&amp;"])
def test_a_name_in_codes_letters_is_shown_as_it_is(text: str) -> None:
    parse = MarkdownIt("commonmark", {"html": True}).enable("table")
    html = parse.render(f"| x | y |\n| --- | --- |\n| {code(text)} | {prose(text)} |\n")
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    first, second = re.findall(r"<td>(.*?)</td>", html)
    assert first == f"<code>{plain}</code>"
    assert second == plain.strip()
