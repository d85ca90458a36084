"""A member as one ONNX file: `network.onnx` with that member's weights, and what is constant then folded."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from hnexport.bundle.manifest import Manifest
from hnexport.bundle.onnx_data import check_model, read_model
from hnexport.bundle.onnx_tensors import is_external, tensor_values
from hnexport.bundle.supplied import check_supplied
from hnexport.errors import BundleError, ExportError
from hnexport.export.external_data import DataFile, refer
from hnexport.member.constants import fold_constants, keep_used
from hnexport.member.fixed_batch import fix_batch
from hnexport.member.formats import DATA_SUFFIX
from hnexport.member.opsets import convert_opset
from hnexport.names import COND_ID, HYPERNET_FILE, NETWORK_FILE
from hnexport.runtime.providers import open_session
from hnexport.runtime.session_options import session_options
from hnexport.spelling import spelled

__all__ = ["MAX_INLINE_BYTES", "OnnxChoices", "OnnxMembers"]

Array = NDArray[np.generic]

MAX_INLINE_BYTES = 2**31 - 2**24
"""Of weights in the ONNX file itself: protobuf reads no more than 2 GiB in all."""
_SMALL_BYTES = 2**10
"""What checkers and converters read stays in the graph: axes, shapes."""


@dataclass(frozen=True, kw_only=True)
class OnnxChoices:
    """What an ONNX file is to be.

    Attributes:
        opset: of ONNX's own operators; None is the bundle's.
        batch: the one batch size that it runs; None for any.
        alone: it is to be one file, so that what is larger than one can be is refused.
    """

    opset: int | None = None
    batch: int | None = None
    alone: bool = False


class OnnxMembers:
    """Writes members of a bundle as ONNX files."""

    def __init__(self, bundle: Path, manifest: Manifest) -> None:
        """Check the bundle's graphs and open its hypernetwork.

        Raises:
            BundleError: the bundle holds no ONNX files, or damaged ones.
        """
        if manifest.onnx is None:
            raise BundleError(f"{bundle} holds no ONNX files: build it with the format onnx")
        for name in (HYPERNET_FILE, NETWORK_FILE):
            check_model(bundle / name, manifest.files)
        check_supplied(bundle, manifest)
        self._path, self._files = bundle / NETWORK_FILE, manifest.files
        self._supplied = list(manifest.onnx.supplied)
        self._hypernet = open_session(bundle / HYPERNET_FILE, session_options(None), "cpu") if self._supplied else None

    def write(self, member: int, path: Path, choices: OnnxChoices, marks: Mapping[str, str]) -> bool:
        """Write a member's file; whether its weights lie beside it, since one file cannot hold them.

        Args:
            marks: go into the metadata.

        Raises:
            BundleError: the bundle is damaged.
            ExportError: the operators cannot be those of the opset that was asked for, or one file cannot hold it.
        """
        model, values = self._plain(member)
        if choices.batch is not None:
            fix_batch(model, choices.batch)
            values.update(_inline(model, values))
        fold_constants(model, self._path, values)
        if choices.opset is not None:
            _declare_types(model, values)
            model = convert_opset(model, choices.opset)
            values.update(_inline(model, values))
            keep_used(model.graph, values)
        onnx.helper.set_model_props(model, dict(marks))
        model.ir_version = onnx.helper.find_min_ir_version_for(list(model.opset_import))
        size_bytes = sum(value.nbytes for value in values.values())
        beside = size_bytes > MAX_INLINE_BYTES
        if beside and choices.alone:
            raise ExportError(
                f"member {member} has {size_bytes / 1e9:.1f} GB of weights, more than one ONNX file can hold: "
                f"give a folder as {spelled('target', '--out')}, in which they lie in a file beside it"
            )
        _save(model, values, path, beside=beside)
        try:
            onnx.checker.check_model(str(path), full_check=True)
        except Exception as error:  # onnx has several
            raise ExportError(f"member {member} does not pass ONNX's checker: {error}") from error
        return beside

    def _plain(self, member: int) -> tuple[onnx.ModelProto, dict[str, Array]]:
        """The network's graph, and the values of all its initializers."""
        model, given = read_model(self._path), {}
        if self._hypernet is not None:
            found = self._hypernet.run(self._supplied, {COND_ID: np.array(member, dtype=np.int64)})
            given = dict(zip(self._supplied, found, strict=True))
        values: dict[str, Array] = {}
        for tensor in model.graph.initializer:
            held = tensor_values(tensor, self._path, self._files) if is_external(tensor) else None
            if not is_external(tensor):
                held = numpy_helper.to_array(tensor)
            values[tensor.name] = given[tensor.name] if held is None else held
        return model, values


def _inline(model: onnx.ModelProto, known: Mapping[str, Array]) -> dict[str, Array]:
    """The values of initializers that a converter added, which stand in the graph."""
    return {
        tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name not in known
    }


def _declare_types(model: onnx.ModelProto, values: Mapping[str, Array]) -> None:
    """Initializers for all values: a converter reads small ones (axes, shapes), and needs the types of the others."""
    del model.graph.initializer[:]
    for name, value in values.items():
        model.graph.initializer.append(
            _tensor(name, value) if value.nbytes <= _SMALL_BYTES else _reference(name, value)
        )


def _reference(name: str, value: Array) -> onnx.TensorProto:
    tensor = onnx.TensorProto(name=name, dims=value.shape)
    tensor.data_type = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
    refer(tensor, "elsewhere", (0, value.nbytes))
    return tensor


def _tensor(name: str, value: Array) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value, order="C"), name)


def _save(model: onnx.ModelProto, values: Mapping[str, Array], path: Path, *, beside: bool) -> None:
    """Write the graph with its values, or with those that are large in a file beside it."""
    del model.graph.initializer[:]
    if not beside:
        model.graph.initializer.extend(_tensor(name, value) for name, value in values.items())
    else:
        with DataFile(path.with_name(path.name + DATA_SUFFIX)) as file:
            model.graph.initializer.extend(_written(name, value, file) for name, value in values.items())
    path.write_bytes(model.SerializeToString())


def _written(name: str, value: Array, file: DataFile) -> onnx.TensorProto:
    if value.nbytes <= _SMALL_BYTES:
        return _tensor(name, value)
    tensor = _reference(name, value)
    refer(tensor, file.name, file.add(value))
    return tensor
