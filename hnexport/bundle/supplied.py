"""What `network.onnx` leaves to its loader: it looks for those tensors where the manifest's `supplied` says."""

from collections.abc import Mapping
from pathlib import Path

import onnx

from hnexport.bundle.manifest import Manifest
from hnexport.bundle.onnx_data import read_model
from hnexport.bundle.onnx_tensors import is_external
from hnexport.errors import BundleError
from hnexport.names import LEGACY_SUPPLIED, NETWORK_FILE, SUPPLIED_FILE
from hnexport.reading import shown

__all__ = ["check_supplied"]


def check_supplied(folder: Path, manifest: Manifest) -> None:
    """Check that a file with the tensors of `supplied`, one after the other, is what `network.onnx` reads.

    Readers without `add_external_initializers` write such a file by the manifest alone: in another order it would give
    other numbers.

    Raises:
        BundleError: the graph leaves out other tensors, or looks for one elsewhere, with its name.
    """
    path, slots = folder / NETWORK_FILE, {slot.name: slot for slot in manifest.slots}
    expected = () if manifest.onnx is None else manifest.onnx.supplied
    places = {tensor.name: _place(tensor) for tensor in read_model(path).graph.initializer if is_external(tensor)}
    left = {name for name, found in places.items() if found["location"] in (SUPPLIED_FILE, LEGACY_SUPPLIED)}
    different = left.symmetric_difference(expected)
    if different:
        raise BundleError(
            f"{path}: the manifest's $.onnx.supplied and the graph differ in {shown(min(different))}; build it again"
        )
    offset = 0
    for name in expected:
        found, size = places[name], slots[name].size_bytes
        if found["location"] == SUPPLIED_FILE and (found.get("offset"), found.get("length")) != (
            str(offset),
            str(size),
        ):
            raise BundleError(
                f"{path}: expected {shown(name)} at byte {offset} of {SUPPLIED_FILE} with {size} bytes, since "
                f"$.onnx.supplied has it there, found {shown(found)}; build it again"
            )
        offset += size


def _place(tensor: onnx.TensorProto) -> Mapping[str, str]:
    return {"location": "", **{entry.key: entry.value for entry in tensor.external_data}}
