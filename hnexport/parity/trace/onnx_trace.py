"""What an ONNX graph computes on the way: its intermediate values become outputs of a copy in memory."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from hnexport.names import COND_ID, SHARED_PREFIX
from hnexport.parity.trace.observed import Call, Given, Trace
from hnexport.parity.trace.onnx_graph import (
    constants,
    dependent,
    free_inputs,
    keep_ancestors,
    load_graph,
    open_values,
    reads,
)
from hnexport.parity.trace.onnx_roles import by_role
from hnexport.parity.trace.points import ROOT, Point, Reference, towards

__all__ = ["OnnxTracer", "OnnxWeights", "graph_points"]

Array = NDArray[np.generic]
Feed = Mapping[str, Array]


class OnnxWeights:
    """The part of a graph that computes what its operators are given, without what depends on its inputs.

    Args:
        conditions: the graph's own names of the inputs that weights are generated from.
    """

    def __init__(
        self, path: Path, slots: Collection[str], cond_id: str = COND_ID, conditions: Collection[str] = ()
    ) -> None:
        model = load_graph(path)
        self._graph = _Graph(model, path, slots, cond_id, conditions)
        self._wanted = sorted(self._graph.computed)
        keep_ancestors(model, self._wanted)
        self._session = open_values(model, path, self._wanted) if self._wanted else None

    def run(self, feed: Feed) -> Given:
        """The tensors that one member gives the operators; `feed` by the names of the file's inputs."""
        computed: dict[str, Array] = {}
        if self._session is not None:
            given = {item.name: feed[item.name] for item in self._session.get_inputs()}
            computed = dict(zip(self._wanted, self._session.run(self._wanted, given), strict=True))
        return self._graph.given(computed, feed)


class OnnxTracer:
    """A copy of a graph in which every value is an output, or (without `weights`) all that depends on its inputs.

    What a node with a subgraph (a Loop, say) computes inside is not seen.
    """

    def __init__(
        self,
        path: Path,
        slots: Collection[str] = (),
        *,
        cond_id: str = COND_ID,
        conditions: Collection[str] = (),
        weights: bool = True,
    ) -> None:
        model = load_graph(path)
        self._graph = _Graph(model, path, slots, cond_id, conditions)
        self._outputs = [item.name for item in model.graph.output]
        nodes = model.graph.node if weights else self._graph.nodes
        computed = [name for node in nodes for name in node.output if name and name not in self._graph.constants]
        passed = [name for name in self._outputs if name not in computed]
        self._names = [*computed, *passed]
        self._session = open_values(model, path, self._names, optimise=False)

    def run(self, feed: Feed) -> Trace:
        """Record one run; `feed` by the names of the file's inputs."""
        found = dict(zip(self._names, self._session.run(self._names, dict(feed)), strict=True))
        values = {name: value for name, value in found.items() if isinstance(value, np.ndarray)}
        return Trace(
            given=self._graph.given(values, feed),
            values={name: value for name, value in values.items() if np.issubdtype(value.dtype, np.floating)},
            outputs={name: values[name] for name in self._outputs if name in values},
        )


class _Graph:
    """Where a graph's inputs meet what does not depend on them.

    Attributes:
        nodes: those that depend on any input but the condition id and the conditions.
        computed: what they are given, and the slots' values, as far as they are computed.
    """

    def __init__(
        self, model: onnx.ModelProto, path: Path, slots: Collection[str], cond_id: str, conditions: Collection[str]
    ) -> None:
        self.constants = constants(model, path)
        self._conditions = set(conditions)
        inputs = [name for name in free_inputs(model) if name != cond_id and name not in conditions]
        self.nodes, self._reached = dependent(model, inputs)
        known = {name for node in model.graph.node for name in node.output} | set(self.constants)
        self._named = {
            slot: name for slot in slots for name in (f"{SHARED_PREFIX}{slot}", slot) if name in known
        }  # where both are there, a guard was added to the stored tensor
        _, self._from_slots = dependent(model, self._named.values())
        wanted = {name for node in self.nodes for name in reads(node) if name not in self._reached}
        wanted.update(name for name in self._named.values() if name not in self._reached)
        self.computed = wanted - set(self.constants) - set(free_inputs(model))

    def given(self, computed: Mapping[str, Array], feed: Feed) -> Given:
        """The tensors by slot and by operator; a condition may itself be a slot's tensor."""
        held = {name: feed[name] for name in self._conditions if name in feed}
        values = {**self.constants, **held, **computed}
        return Given(
            named={slot: values[name] for slot, name in self._named.items() if _holds(values, name)},
            calls=tuple(call for node in self.nodes if (call := self._call(node, values)).tensors),
        )

    def _call(self, node: onnx.NodeProto, values: Mapping[str, Array]) -> Call:
        operands = {
            position: values[name]
            for position, name in enumerate(node.input)
            if name not in self._reached and _holds(values, name)
        }
        # Where slots have names, what comes from none of them is no layer's: an exporter's own scale of 1, say.
        own = self._from_slots | self._conditions
        foreign = {i for i in operands if self._named and node.input[i] not in own}
        return Call(name=node.name, tensors=by_role(node, operands, foreign))


def _holds(values: Mapping[str, Array], name: str) -> bool:
    return name in values and values[name].size > 0


def graph_points(path: Path, weights: Mapping[str, Array], inputs: Feed, outputs: Sequence[str]) -> Reference:
    """Run a graph `inputs -> outputs` of ours, node by node and without optimisation, as a reference.

    Its nodes are named after the modules that they come from, `PATH/OPERATOR`.

    Args:
        weights: initializers that no file holds.
        outputs: the names of the graph's outputs.

    Raises:
        ParityError: it cannot be run.
    """
    model = load_graph(path)
    nodes, reached = dependent(model, free_inputs(model))
    names = [name for node in nodes for name in node.output if name]
    names += [name for name in outputs if name not in names]
    held = {tensor.name for tensor in model.graph.initializer}
    supplied = {name: array for name, array in weights.items() if name in held}
    session = open_values(model, path, names, optimise=False, supplied=supplied)
    values = dict(zip(names, session.run(names, dict(inputs)), strict=True))
    points: list[Point] = []
    sources: dict[str, tuple[int, ...]] = {}
    for node in nodes:
        known = {number for name in reads(node) if name in reached for number in sources.get(name, ())}
        for name in filter(None, node.output):
            value, sources[name] = values[name], tuple(sorted(known))
            if isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.floating) and value.size:
                place = node.name.partition("/")[0] if "/" in node.name else ROOT
                points.append(Point(place=place, operation=node.op_type, value=value, inputs=sources[name]))
                sources[name] = (len(points) - 1,)
    ends = [number for name in outputs for number in sources.get(name, ())]
    return Reference(points=towards(ends, points), outputs={name: values[name] for name in outputs})
