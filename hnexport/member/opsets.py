"""Another version of ONNX's operator set: for runtimes that know an older or ask for a newer one."""

import onnx
from onnx import inliner, version_converter

from hnexport.errors import ExportError

__all__ = ["LEAST_OPSET", "convert_opset"]

LEAST_OPSET = 17


def convert_opset(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """The model in another opset. Operators that came later are spelled out where ONNX says what they consist of.

    Raises:
        ExportError: an operator does not exist there, or cannot be converted; by name.
    """
    newest = onnx.defs.onnx_opset_version()
    if not LEAST_OPSET <= opset <= newest:
        raise ExportError(f"opset {opset}: expected {LEAST_OPSET} to {newest}")
    if opset == _own_opset(model):
        return model
    later = {node.op_type for node in model.graph.node if not _exists(node, opset)}
    if later:
        model = inliner.inline_selected_functions(
            model, [("", name) for name in sorted(later)], inline_schema_functions=True
        )
    missing = next((node for node in model.graph.node if not _exists(node, opset)), None)
    if missing is not None:
        raise ExportError(f"opset {opset} has no {missing.op_type} ({missing.name}): give a newer opset, or none")
    _leave_out_defaults(model)
    try:
        converted = version_converter.convert_version(model, opset)
    except Exception as error:  # the converter raises whatever it likes
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise ExportError(f"the operators cannot be converted to opset {opset}: {said[-1]}") from error
    return converted


def _leave_out_defaults(model: onnx.ModelProto) -> None:
    """Attributes at their defaults that older versions of an operator lack: the converter would keep them."""
    for node in model.graph.node:
        for attribute in [item for item in node.attribute if item.name == "noop_with_empty_axes" and not item.i]:
            node.attribute.remove(attribute)


def _own_opset(model: onnx.ModelProto) -> int:
    """Of ONNX's own operators."""
    return next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), 0)


def _exists(node: onnx.NodeProto, opset: int) -> bool:
    if node.domain not in ("", "ai.onnx"):
        return True
    try:
        onnx.defs.get_schema(node.op_type, opset, "")
    except onnx.defs.SchemaError:
        return False
    return True
