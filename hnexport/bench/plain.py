"""The yardstick: the main network of one member, its weights constants, from the bundle's own `network.onnx`."""

from pathlib import Path

import numpy as np

from hnexport.bench.task import PLAIN_FILE, PLAIN_WEIGHTS_FILE
from hnexport.bundle.manifest import Manifest
from hnexport.bundle.onnx_data import read_model
from hnexport.bundle.onnx_tensors import is_external, tensor_values
from hnexport.errors import BundleError
from hnexport.export.external_data import DataFile, refer
from hnexport.names import COND_ID, HYPERNET_FILE, NETWORK_FILE
from hnexport.quantise.half import write_half
from hnexport.runtime.providers import open_session
from hnexport.runtime.session_options import session_options

__all__ = ["write_plain"]


def write_plain(bundle: Path, manifest: Manifest, member: int, folder: Path, *, half: bool = False) -> None:
    """Write `plain.onnx` and `plain.bin`, inputs to outputs, into `folder`; with `half` as a float16 graph.

    Raises:
        BundleError: the bundle holds no ONNX files, or damaged ones.
        TuneError: `half`, and no float16 graph can be made of it.
    """
    if manifest.onnx is None:
        raise BundleError(f"{manifest.name} holds no ONNX files to compare")
    weights, names = {}, list(manifest.onnx.supplied)
    if names:  # onnxruntime would take an empty list for all outputs
        session = open_session(bundle / HYPERNET_FILE, session_options(None), "cpu")
        weights = dict(zip(names, session.run(names, {COND_ID: np.array(member, dtype=np.int64)}), strict=True))
    path = bundle / NETWORK_FILE
    model = read_model(path)
    with DataFile(folder / PLAIN_WEIGHTS_FILE) as file:
        for tensor in model.graph.initializer:
            if not is_external(tensor):
                continue
            held = tensor_values(tensor, path, manifest.files)
            values = weights[tensor.name] if held is None else held
            refer(tensor, file.name, file.add(values))
    (folder / PLAIN_FILE).write_bytes(model.SerializeToString())
    if half:
        write_half(folder / PLAIN_FILE, folder / PLAIN_FILE)
        (folder / PLAIN_WEIGHTS_FILE).write_bytes(b"")  # its weights are in the graph now
