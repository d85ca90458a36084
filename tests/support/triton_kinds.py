"""Bundles of every signature that a server has to pass on, by a short name of each."""

from collections.abc import Callable
from pathlib import Path

from bundles import small_bundle
from hypernetworks import CASES
from shared import built_kind, built_list

# Images; pixels; an axis of any size and an output of one number a sample; inputs without a batch; float64 and outputs
# of one number in all; a condition.
_BUNDLES: dict[str, Callable[[], Path]] = {
    "images": lambda: small_bundle("hypernet"),
    "uint8": lambda: small_bundle("pixels"),
    "reader": lambda: built_list("reader").path,
    "scorer": lambda: built_list("scorer").path,
    "regressor": lambda: built_list("regressor").path,
    "conditions": lambda: built_kind("hypernetwork-both", CASES["both"]).path,
}
KINDS = tuple(_BUNDLES)


def bundle_of(kind: str) -> Path:
    return _BUNDLES[kind]()
