"""Traces on their way out of a confined process: JSON values and a list of named arrays."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnexport.parity.trace.observed import Call, Given, Trace

__all__ = ["pack_given", "pack_trace", "unpack_given", "unpack_trace"]

Array = NDArray[np.generic]
Packed = tuple[dict[str, Any], list[tuple[str, Array]]]


def pack_given(given: Given) -> Packed:
    """The calls' names and roles as JSON values, all tensors as arrays."""
    arrays = [*given.named.items()]
    arrays += [(role, tensor) for call in given.calls for role, tensor in call.tensors.items()]
    arrays += [("", tensor) for tensor in given.loose]
    calls = [{"name": call.name, "tensors": len(call.tensors)} for call in given.calls]
    return {"named": len(given.named), "calls": calls, "loose": len(given.loose)}, arrays


def unpack_given(meta: Mapping[str, Any], arrays: Iterable[tuple[str, Array]]) -> Given:
    """What `pack_given` made.

    Raises:
        KeyError, TypeError, ValueError: a stranger's answer is malformed.
    """
    given, rest = _given(meta, list(arrays))
    if rest:
        raise ValueError("there are more arrays than it says")
    return given


def pack_trace(trace: Trace) -> Packed:
    """A trace as JSON values and arrays."""
    meta, arrays = pack_given(trace.given)
    counts = {"values": len(trace.values), "outputs": len(trace.outputs)}
    return {**meta, **counts}, [*arrays, *trace.values.items(), *trace.outputs.items()]


def unpack_trace(meta: Mapping[str, Any], arrays: Iterable[tuple[str, Array]]) -> Trace:
    """What `pack_trace` made.

    Raises:
        KeyError, TypeError, ValueError: a stranger's answer is malformed.
    """
    given, rest = _given(meta, list(arrays))
    values, rest = _take(rest, meta["values"])
    outputs, rest = _take(rest, meta["outputs"])
    if rest:
        raise ValueError("there are more arrays than it says")
    return Trace(given=given, values=dict(values), outputs=dict(outputs))


def _given(meta: Mapping[str, Any], arrays: list[tuple[str, Array]]) -> tuple[Given, list[tuple[str, Array]]]:
    named, rest = _take(arrays, meta["named"])
    calls = []
    for call in meta["calls"]:
        tensors, rest = _take(rest, call["tensors"])
        calls.append(Call(name=str(call["name"]), tensors=dict(tensors)))
    loose, rest = _take(rest, meta["loose"])
    return Given(named=dict(named), calls=tuple(calls), loose=tuple(array for _, array in loose)), rest


def _take(arrays: list[tuple[str, Array]], count: Any) -> tuple[list[tuple[str, Array]], list[tuple[str, Array]]]:
    if type(count) is not int or not 0 <= count <= len(arrays):
        raise ValueError("there are fewer arrays than it says")
    return arrays[:count], arrays[count:]
