"""`hnexport inspect`."""

import json

import pytest
from fixture_types import Hnexport
from shared import Built

from hnexport.networks.wide_resnet.counts import weight_summary
from hnexport.networks.wide_resnet.spec import PipelineSpec
from hnexport.records import from_json


def _spec(built: Built) -> PipelineSpec:
    return from_json(PipelineSpec, built.manifest.source.spec)


def test_it_shows_signature_counts_and_sizes(hnexport: Hnexport, built: Built) -> None:
    done = hnexport("inspect", built.path)
    assert done.returncode == 0, done.stderr
    counts = weight_summary(_spec(built))
    for text in (
        "cond_id",
        "[batch, 3, 8, 8]",
        f"{counts['main network: weights']:,}",
        f"{counts['container: weights']:,}",
        f"{counts['structured hypernetwork: weights']:,}",
        "weights.bin",
        "3 separate networks, weights alone",
    ):
        assert text in done.stdout, text


def test_json_has_the_whole_manifest(hnexport: Hnexport, built: Built) -> None:
    value = json.loads(hnexport("inspect", built.path, "--json").stdout)
    counts = value["summary"]["counts"]
    assert value["manifest"]["members"] == 3
    assert counts["container: weights"] == weight_summary(_spec(built))["container: weights"]
    assert counts["each further member: weights"] * 3 == counts["container: conditional weights"]
    sizes = value["summary"]["sizes_bytes"]
    assert sizes["pt2 (model.pt2)"] == (built.path / "model.pt2").stat().st_size
    assert sizes["3 separate networks, weights alone"] == 3 * 4 * counts["main network: weights"]


def test_it_shows_whose_every_stored_tensor_is(hnexport: Hnexport, built: Built) -> None:
    shown = hnexport("inspect", built.path).stdout
    for text in ("shared by all members", "each member's own", "hypernetwork", "embeddings", "family wide-resnet"):
        assert text in shown, text
    storage = json.loads(hnexport("inspect", built.path, "--json").stdout)["summary"]["storage"]
    assert sum(group["tensors"] for group in storage["stored"].values()) == len(built.manifest.stored)
    assert sum(group["share"] for group in storage["stored"].values()) == pytest.approx(1)
    assert list(storage["slots"]) == [slot.name for slot in built.manifest.slots]
    assert storage["slots"]["output.weight"] == "member"
    assert storage["ties"] == {}


def test_it_shows_what_the_build_found(hnexport: Hnexport, built: Built) -> None:
    shown = hnexport("inspect", built.path).stdout
    for name, parity in built.manifest.parity.items():
        assert f"parity, {name}: 3 members, relative L2 error {parity.relative_l2:.1e}" in shown
