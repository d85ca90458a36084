"""`hnexport inspect`."""

import json

from hnexport.hypernet.storage import count_weights


def test_it_shows_signature_counts_and_sizes(hnexport, built):
    done = hnexport("inspect", built.path)
    assert done.returncode == 0, done.stderr
    counts = count_weights(built.manifest.spec)
    for text in (
        "cond_id",
        "[batch, 3, 8, 8]",
        f"{counts.network:,}",
        f"{counts.total:,}",
        f"{counts.structured:,}",
        "weights.bin",
        "3 separate networks, weights alone",
    ):
        assert text in done.stdout, text


def test_json_has_the_whole_manifest(hnexport, built):
    value = json.loads(hnexport("inspect", built.path, "--json").stdout)
    counts = value["summary"]["counts"]
    assert value["manifest"]["spec"]["members"] == 3
    assert counts["container: weights"] == count_weights(built.manifest.spec).total
    assert counts["each further member: weights"] * 3 == counts["container: conditional weights"]
    sizes = value["summary"]["sizes_bytes"]
    assert sizes["pt2 (model.pt2)"] == (built.path / "model.pt2").stat().st_size
    assert sizes["3 separate networks, weights alone"] == 3 * 4 * counts["main network: weights"]
