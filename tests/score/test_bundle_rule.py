"""A data set is scored by the bundle's own rule, and what each member says stands under its own number."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from digits import TrainedDigits, splits
from shared import built_kind

from hnexport.runtime import load
from hnexport.score import ScoreOptions, score

RULE = {"order": [2, 0, 1], "confidence": 0.9, "least": 2, "precision": "float32", "members": 2.1, "rows": 400}
RULE |= {"level": 0.95, "source": "sha256:" + "0" * 64, "max_changed": 0.02}


@pytest.fixture(scope="module")
def ruled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits, whose manifest has a rule."""
    bundle = shutil.copytree(built_kind("digits", TrainedDigits()).path, tmp_path_factory.mktemp("ruled") / "bundle")
    value = json.loads((bundle / "manifest.json").read_text()) | {"anytime": RULE}
    (bundle / "manifest.json").write_text(json.dumps(value))
    return bundle


def test_members_in_the_bundle_s_order_are_told_apart(ruled: Path, tmp_path: Path) -> None:
    images = splits()[2].images[:60]
    np.save(tmp_path / "images.npy", images)
    options = ScoreOptions(until="bundle", member_outputs=True, provider="cpu")
    score(ruled, tmp_path / "images.npy", tmp_path / "out.parquet", options=options)
    table = pq.read_table(tmp_path / "out.parquet")
    known = load(ruled, provider="cpu").predict_mean(images, until="bundle")
    assert known.members == (2, 0, 1)
    assert table["members_used"].to_pylist() == known.members_used.tolist()
    assert json.loads(table.schema.metadata[b"hnexport"])["members"] == [2, 0, 1]
    for said, row in zip(table["member_logits"].to_pylist(), np.moveaxis(known.logits, 1, 0), strict=True):
        np.testing.assert_allclose(np.array(said[0]), row[0], rtol=1e-5, atol=1e-6)
