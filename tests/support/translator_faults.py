"""Faults planted in the ONNX files of a transformer's bundle, see `translator`.

`place` is what `locate` should name; None where no module is wrong.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import translator
from bundles import rewrite_checksums
from faults import INFERENCE, WEIGHTS, OnnxEditor
from onnx import TensorProto, helper

Edit = Callable[[OnnxEditor], None]
Number = np.float32


@dataclass(frozen=True, kw_only=True)
class TranslatorFault:
    name: str
    edit: Edit
    artifact: str = "onnx"
    stage: str | None = None
    place: str | None = None

    def __str__(self) -> str:
        return f"{self.artifact}: {self.name}"

    def plant(self, bundle: Path) -> None:
        editor = OnnxEditor(bundle / ("model.onnx" if self.artifact == "onnx" else "ensemble.onnx"))
        self.edit(editor)
        editor.save()
        rewrite_checksums(bundle)


def _inner(e: OnnxEditor) -> onnx.GraphProto:
    """What an ensemble does for each member."""
    loop = next(node for node in e.graph.node if node.op_type in ("Loop", "Scan"))
    return next(item.g for item in loop.attribute if item.name == "body")


def _chain(e: OnnxEditor, output: str, *nodes: tuple[str, list[str], list[str]], **attributes: object) -> None:
    """Nodes that make an output of what it was before, `OUTPUT/before`."""
    e.node(output).output[list(e.node(output).output).index(output)] = f"{output}/before"
    for number, (op_type, inputs, outputs) in enumerate(nodes):
        more: dict[str, Any] = attributes if number == 0 else {}
        e.graph.node.append(helper.make_node(op_type, inputs, outputs, name=f"planted/{output}/{number}", **more))


def _constants(e: OnnxEditor, **values: float) -> None:
    for name, value in values.items():
        e.graph.initializer.append(helper.make_tensor(name, TensorProto.FLOAT, [], [value]))


def _swap(e: OnnxEditor) -> None:
    for name in [item.name for item in e.graph.initializer if item.name.startswith("member.")]:
        e.set_value(name, e.value(name)[[1, 0, 2]])


def _untie(e: OnnxEditor) -> None:
    e.set_value("factor", np.array(1.01, dtype=Number))
    e.insert(helper.make_node("Mul", ["tokens.weight", "factor"], ["untied"], name="untied"))
    e.layer("decode/Transpose").input[0] = "untied"


def _ignore(e: OnnxEditor) -> None:
    e.after("weighting", "Div", "weighting")


def _shift_positions(e: OnnxEditor) -> None:
    e.set_value("order", np.roll(np.arange(translator.LENGTH), 1))
    e.after("positions", "Gather", "order", axis=0)


def _exchange(e: OnnxEditor) -> None:
    first, second = e.node("classes"), e.node("scores")
    first.output[0], second.output[0] = "scores", "classes"


def _epsilon(e: OnnxEditor) -> None:
    e.attribute(e.layer("norm2/LayerNormalization"), "epsilon", 1e-3)


def _softmax_scale(e: OnnxEditor) -> None:
    e.set_value("scale", np.array(8**-0.5, dtype=Number))
    e.layer("attention/Mul").input[1] = "scale"


def _softmax_axis(e: OnnxEditor) -> None:
    e.attribute(e.layer("attention/Softmax"), "axis", 2)


def _no_mask(e: OnnxEditor) -> None:
    e.layer("attention/Softmax").input[0] = "attention/Mul"


def _other_mask(e: OnnxEditor) -> None:
    e.set_value("word", np.array(1))
    e.layer("network/Equal").input[1] = "word"


def _zero_head(e: OnnxEditor) -> None:
    e.set_value("heads", np.array([1, 0], dtype=Number).reshape(1, 2, 1, 1))
    e.after("attention/MatMul_2", "Mul", "heads")


def _dropout(e: OnnxEditor) -> None:
    """As runtimes without a Dropout get it (onnxruntime leaves a Dropout out, whatever its `training_mode`)."""
    _constants(e, share=0.1, zero=0.0)
    e.insert(helper.make_node("RandomUniformLike", ["inner/Add"], ["planted/random"], name="planted/random", seed=1.0))
    e.insert(helper.make_node("Less", ["planted/random", "share"], ["planted/drop"], name="planted/drop"))
    e.node("network/Relu").output[0] = "planted/relu"
    e.insert(
        helper.make_node("Where", ["planted/drop", "zero", "planted/relu"], ["network/Relu"], name="planted/dropout")
    )
    _sorted(e)


def _rename(e: OnnxEditor) -> None:
    _chain(e, "scores", ("Identity", ["scores/before"], ["score"]))
    next(item for item in e.graph.output if item.name == "scores").name = "score"


def _wrap_ids(e: OnnxEditor) -> None:
    e.set_value("members", np.array(3))
    e.after("cond_id", "Mod", "members")


def _last_member(e: OnnxEditor) -> None:
    e.set_value("minus one", np.array(-1))
    e.set_value("last", np.array(2))
    e.insert(helper.make_node("Equal", ["cond_id", "minus one"], ["is last"], name="is last"))
    reader = e.layer("cond_id/Reshape")
    e.insert(helper.make_node("Where", ["is last", "last", "cond_id"], ["which"], name="which"))
    reader.input[0] = "which"
    _sorted(e)


def _cut_ids(e: OnnxEditor) -> None:
    e.after("cond_id", "Cast", to=TensorProto.INT32)
    e.after("cond_id/planted", "Cast", to=TensorProto.INT64)


def _sorted(e: OnnxEditor) -> None:
    """Nodes after those they read."""
    known = {item.name for item in (*e.graph.input, *e.graph.initializer)} | {""}
    left, ordered = list(e.graph.node), []
    while left:
        ready = [node for node in left if set(node.input) <= known]
        ordered += ready
        known |= {name for node in ready for name in node.output}
        left = [node for node in left if not any(node is one for one in ready)]
    del e.graph.node[:]
    e.graph.node.extend(ordered)


def _rows_from(limit: int, output: str, rank: int) -> Edit:
    """Rows from a limit on are a little wrong."""

    def edit(e: OnnxEditor) -> None:
        _constants(e, good=1.0, bad=1.01)
        for name, value in (("planted/0", 0), ("planted/1", 1), ("planted/limit", limit)):
            e.set_value(name, np.array(value))
        e.set_value("planted/axes", np.arange(1, rank))
        e.set_value("planted/first", np.array(0))
        _chain(
            e,
            output,
            ("Shape", [f"{output}/before"], ["planted/shape"]),
            ("Gather", ["planted/shape", "planted/first"], ["planted/rows"]),
            ("Range", ["planted/0", "planted/rows", "planted/1"], ["planted/numbers"]),
            ("GreaterOrEqual", ["planted/numbers", "planted/limit"], ["planted/late"]),
            ("Unsqueeze", ["planted/late", "planted/axes"], ["planted/wide"]),
            ("Where", ["planted/wide", "bad", "good"], ["planted/factor"]),
            ("Mul", [f"{output}/before", "planted/factor"], [output]),
        )

    return edit


def _six_rows(e: OnnxEditor) -> None:
    for name, value in (("planted/start", [0]), ("planted/end", [6])):
        e.set_value(name, np.array(value))
    _chain(e, "scores", ("Slice", ["scores/before", "planted/start", "planted/end"], ["scores"]))


def _clip(e: OnnxEditor) -> None:
    _constants(e, low=-1000.0, high=1000.0)
    e.after("weighting", "Clip", "low", "high")


def _rare_choice(e: OnnxEditor) -> None:
    """A choice is off by one where the last token is one of a few words."""
    for name, value in (("planted/last", -1), ("planted/word", 3)):
        e.graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [], [value]))
    _chain(
        e,
        "choice",
        ("Gather", ["tokens", "planted/last"], ["planted/words"]),
        ("Less", ["planted/words", "planted/word"], ["planted/rare"]),
        ("Cast", ["planted/rare"], ["planted/off"]),
        ("Add", ["choice/before", "planted/off"], ["choice"]),
        axis=1,
    )
    e.attribute(e.layer("planted/choice/2"), "to", TensorProto.INT64)


def _nan_to_zero(e: OnnxEditor) -> None:
    _constants(e, zero=0.0)
    e.insert(helper.make_node("IsNaN", ["weighting"], ["is nan"], name="is nan"))
    e.after("weighting", "Where", "weighting")
    where = next(node for node in e.graph.node if node.name == "weighting/planted/Where")
    where.input[:] = ["is nan", "zero", "weighting"]
    e.node("is nan").input[0] = "weighting"
    _sorted(e)


def _nan_id_to_zero(output: str) -> Edit:
    """Of an id that does not exist one output is a number."""

    def edit(e: OnnxEditor) -> None:
        guard = e.node(output)
        guard.op_type = "Identity"
        del guard.input[1]

    return edit


def _round_weight(e: OnnxEditor) -> None:
    e.after("outer.weight", "Cast", to=TensorProto.FLOAT16)
    e.after("outer.weight/planted", "Cast", to=TensorProto.FLOAT)


def _freeze_time(e: OnnxEditor) -> None:
    """The declared axes stay open."""
    e.set_value("planted/shape", np.array([-1, translator.LENGTH, 2, 4]))
    for name in ("attention/Reshape", "attention/Reshape_2", "attention/Reshape_3"):
        e.layer(name).input[1] = "planted/shape"


def _freeze_positions(e: OnnxEditor) -> None:
    """Any length runs, and the last positions are taken instead of the first."""
    e.set_value("planted/length", np.array(translator.LENGTH))
    e.insert(helper.make_node("Sub", ["planted/length", "network/Squeeze"], ["planted/start"], name="planted/start"))
    e.layer("network/Range").input[0] = "planted/start"
    e.layer("network/Range").input[1] = "planted/length"
    _sorted(e)


def _constant_members(e: OnnxEditor) -> None:
    """The mean is a sum over ten."""
    e.set_value("planted/share", np.array(0.1, dtype=Number))
    node = e.node("mean_scores")
    node.op_type = "ReduceSum"
    e.after("mean_scores", "Mul", "planted/share")


def _divided_by(members: int) -> Edit:
    """Right for all members together alone."""

    def edit(e: OnnxEditor) -> None:
        e.set_value("planted/share", np.array(1 / members, dtype=Number))
        e.node("mean_scores").op_type = "ReduceSum"
        node = e.node("mean_scores")
        node.output[0] = "planted/sum"
        e.insert(helper.make_node("Mul", ["planted/sum", "planted/share"], ["mean_scores"], name="planted/mean"))
        _sorted(e)

    return edit


def _unbiased(e: OnnxEditor) -> None:
    """Divided by one less."""
    e.set_value("planted/factor", np.array(1.5, dtype=Number))
    e.node("variance_scores").output[0] = "planted/biased"
    e.graph.node.append(
        helper.make_node("Mul", ["planted/biased", "planted/factor"], ["variance_scores"], name="planted/variance")
    )


def _log_ten(e: OnnxEditor) -> None:
    e.set_value("planted/factor", np.array(1 / np.log(10), dtype=Number))
    e.node("predictive_entropy_classes").output[0] = "planted/nats"
    e.graph.node.append(
        helper.make_node("Mul", ["planted/nats", "planted/factor"], ["predictive_entropy_classes"], name="planted/log")
    )


def _sorted_members(e: OnnxEditor) -> None:
    """The members come in another order than they were asked for."""
    e.set_value("planted/k", np.array([1]))
    e.set_value("planted/0", np.array([0]))
    size, ids = "planted/size", "cond_ids"
    for node in e.graph.node:
        node.input[:] = ["planted/ids" if name == ids else name for name in node.input]
    body = _inner(e)
    for node in body.node:
        node.input[:] = ["planted/ids" if name == ids else name for name in node.input]
    e.graph.node.insert(0, helper.make_node("Shape", [ids], [size], name=size))
    top = helper.make_node("TopK", [ids, size], ["planted/ids", "planted/places"], name="planted/top", largest=0)
    e.graph.node.insert(1, top)


def _of_ids(op_type: str, *values: int, **attributes: Any) -> Edit:
    """The ids of an ensemble go through an operator."""

    def edit(e: OnnxEditor) -> None:
        names = [f"planted/{number}" for number in range(len(values))]
        for name, value in zip(names, values, strict=True):
            e.set_value(name, np.array(value))
        for node in (*e.graph.node, *_inner(e).node):
            node.input[:] = ["planted/ids" if name == "cond_ids" else name for name in node.input]
        e.graph.node.insert(
            0, helper.make_node(op_type, ["cond_ids", *names], ["planted/ids"], name="planted/ids", **attributes)
        )

    return edit


def _fault(name: str, edit: Edit, place: str | None = None, stage: str = INFERENCE) -> TranslatorFault:
    return TranslatorFault(name=name, edit=edit, place=place, stage=stage if place else None)


def _of_ensemble(name: str, edit: Edit) -> TranslatorFault:
    return TranslatorFault(name=name, edit=edit, artifact="onnx-ensemble")


TRANSLATOR_FAULTS = (
    _fault("two members swapped", _swap, "positions", WEIGHTS),
    _fault("tied weights untied", _untie, "decode.weight", WEIGHTS),
    _fault("an input ignored", _ignore, "network"),
    _fault("LayerNorm's epsilon", _epsilon, "norm2"),
    _fault("positions shifted", _shift_positions, "network"),
    _fault("two outputs exchanged", _exchange, "classes"),
    _fault("softmax scaled by the width", _softmax_scale, "attention"),
    _fault("softmax along another axis", _softmax_axis, "attention"),
    _fault("no mask", _no_mask, "attention"),
    _fault("the mask of another word", _other_mask, "attention"),
    _fault("one head zeroed", _zero_head, "attention"),
    _fault("dropout left on", _dropout, "outer"),
    _fault("an output renamed", _rename),
    _fault("ids wrapped", _wrap_ids),
    _fault("-1 is the last member", _last_member),
    _fault("ids cut to 32 bits", _cut_ids),
    _fault("rows from the seventh on", _rows_from(6, "classes", 2)),
    _fault("rows from 32 on", _rows_from(32, "scores", 2)),
    _fault("rows from 256 on", _rows_from(256, "decoded", 3)),
    _fault("rows after the sixth dropped", _six_rows),
    _fault("clipped at 1000", _clip),
    _fault("a choice that is rarely off by one", _rare_choice),
    _fault("NaN in the second input turned into 0", _nan_to_zero),
    _fault("no guard on one output", _nan_id_to_zero("scores")),
    _fault("float16 rounding of one weight", _round_weight, "outer.weight", WEIGHTS),
    _fault("an open axis frozen inside", _freeze_time),
    _fault("positions that count from the end", _freeze_positions),
    _of_ensemble("the mean's members are a constant", _constant_members),
    _of_ensemble("the mean of all members alone is right", _divided_by(translator.MEMBERS)),
    _of_ensemble("an unbiased variance", _unbiased),
    _of_ensemble("entropy in other units", _log_ten),
    _of_ensemble("members sorted", _sorted_members),
    _of_ensemble("ids wrapped", _of_ids("Mod", 3)),
    _of_ensemble("ids clipped", _of_ids("Clip", 0, 2)),
    _of_ensemble("rows from 32 on", _rows_from(32, "mean_scores", 2)),
)
