"""The stored tensors that the reference was computed from, out of whichever of a bundle's files still has them."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from hnexport.bundle.fingerprints import fingerprint
from hnexport.bundle.manifest import Manifest
from hnexport.bundle.restore import restore_tensors
from hnexport.confine.trust import NOBODY, Trust
from hnexport.errors import BundleError, ParityError
from hnexport.parity.programs import program_tensors

__all__ = ["trusted_tensors"]


def trusted_tensors(
    bundle: Path, manifest: Manifest, fingerprints: Mapping[str, str], trust: Trust = NOBODY
) -> dict[str, Tensor]:
    """Every stored tensor, from the first format that holds it with the fingerprint of the golden samples.

    Args:
        trust: which of the bundle's programs may be loaded in this process; those of others give their tensors, which
            are compared by fingerprint, out of a confined one.

    Raises:
        ParityError: no file of the bundle holds one of them, so there is nothing to compare with.
    """
    trusted: dict[str, Tensor] = {}
    for file_format in manifest.formats:
        try:
            one = dataclasses.replace(manifest, formats=(file_format,))
            found = restore_tensors(bundle, one, lambda path: program_tensors(path, manifest, trust))
        except (BundleError, ParityError):
            continue
        for name, tensor in found.items():
            if name not in trusted and fingerprint(tensor.numpy()) == fingerprints.get(name):
                trusted[name] = tensor
        if len(trusted) == len(fingerprints):
            return {name: trusted[name] for name in fingerprints}
    lost = next((name for name in fingerprints if name not in trusted), "every tensor")
    raise ParityError(
        f"{bundle}: no file holds {lost} as it was when the golden samples were computed; "
        "the weights were changed after the build: build the bundle again"
    )
