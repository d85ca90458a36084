"""A digest names one bundle; any other is refused before it is read."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from shared import Built

from hnexport.bundle.manifest import read_identified
from hnexport.errors import BundleError, RuntimeInputError
from hnexport.parity import VerifyOptions, verify
from hnexport.runtime import load

OTHER = "sha256:" + "0" * 64


def test_the_digest_is_the_sha256_of_the_manifest(built: Built) -> None:
    expected = hashlib.sha256((built.path / "manifest.json").read_bytes()).hexdigest()
    assert read_identified(built.path).digest == f"sha256:{expected}"


def test_the_right_digest_loads(built: Built) -> None:
    image = np.zeros((1, 3, 8, 8), np.float32)
    assert load(built.path, provider="cpu", digest=built.digest).predict(image, member=0).shape == (1, 5)


def test_another_digest_is_refused_and_both_are_named(built: Built) -> None:
    for refused in (
        lambda: load(built.path, digest=OTHER),
        lambda: verify(built.path, VerifyOptions(digest=OTHER)),
    ):
        with pytest.raises(BundleError, match=f"expected the digest {OTHER}, found {built.digest}"):
            refused()


def test_nothing_of_another_bundle_is_parsed(bundle: Path) -> None:
    (bundle / "manifest.json").write_bytes(b"[" * 100_000)
    with pytest.raises(BundleError, match="is not the bundle that was asked for"):
        read_identified(bundle, OTHER)


@pytest.mark.parametrize(
    "digest", ["", "0" * 64, "sha256:abc", "sha256:" + "A" * 64, "md5:" + "0" * 32, OTHER + "\n", 5]
)
def test_what_is_no_digest_is_said_to_be_none(built: Built, digest: int | str) -> None:
    with pytest.raises(BundleError, match="is not a digest: expected sha256: and 64 hexadecimal digits"):
        load(built.path, digest=digest)


def test_a_digest_without_checksums_is_refused(built: Built) -> None:
    with pytest.raises(RuntimeInputError, match="digest needs the checksums"):
        load(built.path, digest=built.digest, checksums="never")


def test_a_changed_file_is_found_under_the_right_digest(bundle: Path, built: Built) -> None:
    data = bytearray((bundle / "weights.bin").read_bytes())
    data[100] ^= 1
    (bundle / "weights.bin").write_bytes(data)
    with pytest.raises(BundleError, match="damaged"):
        load(bundle, provider="cpu", digest=built.digest)
