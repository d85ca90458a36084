"""A loaded ensemble."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np

from hnexport.bundle.manifest import Manifest
from hnexport.errors import RuntimeInputError
from hnexport.families import image_input
from hnexport.members import check_member, check_members
from hnexport.runtime.anytime import BUNDLE, bundle_rule, check_anytime, chosen_elsewhere, predict_until
from hnexport.runtime.inputs import NOT_GIVEN, check_inputs
from hnexport.runtime.options import Precision, Strategy
from hnexport.runtime.residents import NO_CONDITIONS, Arrays, ConditionalPredictor, Predictor, ResidentMembers
from hnexport.runtime.uncertainty import summarise_outputs
from hnexport.runtime.until import Until, as_until
from hnexport.spec import OutputKind, OutputSpec, Signature
from hnexport.spec.images import ImageInput
from hnexport.spec.usage import Usage
from hnexport.text import number_of

__all__ = ["Engine", "LoadedEnsemble", "MaterialisedMember"]

logger = logging.getLogger(__name__)

Members = Iterable[int] | Literal["all"]


class Engine(Protocol):
    """What computes: `OnnxruntimeEngine` or `OpenvinoEngine`."""

    name: str
    provider: str
    precision: Precision
    files: Mapping[Strategy, tuple[str, ...]]  # of the bundle, that each strategy reads
    sessions: int  # at most so many are open at once, and have threads of their own

    @property
    def member_bytes(self) -> int:
        """The size of one member's weights, in bytes."""
        ...

    def materialise(self, member: int, conditions: Arrays = NO_CONDITIONS) -> Predictor:
        """The plain network of one member and its conditions."""
        ...

    def fold(self, member: int) -> Predictor:
        """One member over the graphs that are tuned for this machine."""
        ...

    def generate(self) -> ConditionalPredictor:
        """All members in one graph."""
        ...


class LoadedEnsemble:
    """An ensemble that predicts; made by `load`, safe to use from several threads.

    Attributes:
        manifest: the bundle's manifest.
        members: how many members there are; they are numbered from 0.
        signature: what the network takes and gives.
        classes: how many classes the logits have; 0 where not exactly one output is logits, or their number is open.
        usage: what the bundle says beside its tensors: normalisation of pictures, class names, licence.
        engine: "onnxruntime" or "openvino".
        provider: the execution provider that is running, such as "cpu" or "cuda".
        precision: the arithmetic, such as "float32" or "tf32".
        strategy: what `Strategy.AUTO` came to, or what was asked for.
        resident_limit: how many members' weights are kept at once; 0 where they are generated in every call.
    """

    def __init__(self, manifest: Manifest, engine: Engine, strategy: Strategy, resident_limit: int) -> None:
        """An ensemble on an engine."""
        self.manifest = manifest
        self.members: int = manifest.members
        self.signature: Signature = manifest.signature
        self.classes: int = _classes(self.signature)
        self.usage: Usage = manifest.usage
        self.engine: str = engine.name
        self.provider: str = engine.provider
        self.precision: Precision = engine.precision
        self.strategy = strategy
        self.resident_limit = 0 if strategy is Strategy.GENERATED else resident_limit
        self._engine = engine
        self._told = False
        self._residents: ResidentMembers | None = None
        self._compute: ConditionalPredictor
        if strategy is Strategy.GENERATED:
            self._compute = engine.generate()
        else:
            folded = strategy is Strategy.FOLDED
            make = (lambda member, _: engine.fold(member)) if folded else engine.materialise
            self._residents = ResidentMembers(make, resident_limit)
            self._compute = self._of_resident

    @property
    def resident_members(self) -> tuple[int, ...]:
        """The members whose weights are in memory now, least recently used first.

        Of a hypernetwork of a vector, a member stands there once for each condition that it is kept with.
        """
        return self._residents.members if self._residents else ()

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of the only output of logits, as the bundle says, names that occur twice with their numbers; else empty."""
        from hnexport.images import distinct

        output = _logits(self.signature)
        return () if output is None else distinct(self.usage.class_names.get(output.name, ()))

    @property
    def image_input(self) -> ImageInput | None:
        """The only input, if it takes images, with the bundle's normalisation; `hnexport.images` reads files for it."""
        return image_input(self.manifest)

    def predict(
        self, inputs: Any = NOT_GIVEN, /, *, member: Any = None, members: Members | None = None, **named: Any
    ) -> Any:
        """The outputs of one member, `[batch, …]` as the signature says, or of several, `[member, batch, …]`.

        Where the network has one output, such as logits, that is an array; where it has several, a dict of arrays by
        name. Several members give bit for bit what each gives alone.

        Args:
            inputs: the value of the only input, `[batch, …]` with the dtype and axes of the signature, or a mapping
                with the value of every input; see `hnexport.runtime.inputs.check_input` for the casts that are made. A
                sample with NaN makes only its own row of logits NaN, but for runtimes that make numbers of it: see
                `load`.
            member: one member, from 0; where there is one alone, it need not be said.
            members: several, in any order, or "all". Give either `member` or `members`.
            named: the inputs by name, instead of `inputs`.

        Raises:
            RuntimeInputError: a member does not exist, an input is missing, or has another shape or dtype.
            BundleError: the graph cannot be run, or the bundle was replaced and a member is made of it only now.
            ProviderError: the device cannot compute it.
        """
        if member is None and members is None and self.members == 1:
            member = 0
        if (member is None) == (members is None):
            raise RuntimeInputError("give either member=3 or members=[2, 3, 7] (or members='all')")
        if members is None:
            checked = check_inputs(inputs, named, self.signature)
            return self._given(self._compute(check_member(member, self.members), checked))
        chosen = check_members(members, self.members)
        return self._given(self._of_several(chosen, check_inputs(inputs, named, self.signature)))

    def materialise(self, conditions: Any = NOT_GIVEN, /, *, member: Any = None, **named: Any) -> "MaterialisedMember":
        """The plain network of one member, and of one condition of a hypernetwork of a vector; the caller keeps it.

        Whatever the strategy, its weights are made once, here or where a prediction made them before, and stay as long
        as this object does.

        Args:
            conditions: the condition where there is one, or a mapping with all of them.
            member: one member, from 0; needed where there are several.
            named: the conditions by name.

        Raises:
            RuntimeInputError: the member is not said or does not exist, or a condition is missing, or has another shape
                or dtype.
            ProviderError: the precision is float16, whose weights are generated in every call.
        """
        checked = check_inputs(conditions, named, self.signature, self.signature.of_generator)
        if member is None and self.members > 1:
            raise RuntimeInputError(f"which member? give member=0 to {self.members - 1}")
        chosen = check_member(0 if member is None else member, self.members)
        if self._residents is not None:
            predictor = self._residents.predictor(chosen, checked)
        else:
            predictor = self._engine.materialise(chosen, checked)
        return MaterialisedMember(chosen, self.signature.materialised, predictor)

    def predict_mean(
        self,
        inputs: Any = NOT_GIVEN,
        /,
        *,
        members: Members = "all",
        until: Until | Literal["exact", "votes", "bundle"] | float | None = None,
        **named: Any,
    ) -> Any:
        """The members' mean prediction and how much they disagree.

        Of logits this is an `EnsemblePrediction`, of another output an `EnsembleValue`; where the network has several
        outputs, a dict of these by name. With `until` it is an `AnytimePrediction`.

        Args:
            inputs: as `predict`, and likewise `named`.
            members: with `until` they are asked in this order.
            until: run no more members for a sample than it takes, whatever the others in its batch are: "exact" until
                the answer (the class with the largest mean probability) is that of all members, whatever the rest would
                say, "votes" the same of their votes, 0.8 until the mean probability of a class is so much, or an
                `Until`. "bundle" is the rule, and the order of members, that `hnexport evaluate … --out` chose on
                held-out data for a stated loss. For networks whose only output is logits `[batch, class]`.

        Raises:
            RuntimeInputError: as `predict`, or `until` does not fit.
        """
        if until is not None:
            rule, order = self._rule(until, members)
            checked = check_inputs(inputs, named, self.signature)
            return predict_until(self._compute, self.signature, order, checked, rule)
        chosen = check_members(members, self.members)
        outputs = self._of_several(chosen, check_inputs(inputs, named, self.signature))
        return self._given(summarise_outputs(outputs, self.signature.outputs, chosen))

    def _rule(self, until: Any, members: Any) -> tuple[Until, tuple[int, ...]]:
        """When members are enough, and in which order they are asked."""
        if isinstance(until, str) and until == BUNDLE:
            rule, order = bundle_rule(self.manifest, members)
            elsewhere = chosen_elsewhere(self.manifest, self.precision)
            if elsewhere and not self._told:
                logger.warning("%s", elsewhere)
                self._told = True
        else:
            rule, order = as_until(until), check_members(members, self.members)
        check_anytime(self.signature)
        return rule, order

    def outputs(self, member: Any, inputs: Arrays) -> Arrays:
        """Every output of one member by name, also where there is only one.

        Raises:
            RuntimeInputError: as `predict`.
        """
        return self._compute(check_member(member, self.members), check_inputs(inputs, {}, self.signature))

    def _of_resident(self, member: int, inputs: Arrays) -> Arrays:
        """By the plain network of the member and the conditions among the inputs."""
        residents, conditions = self._residents, self.signature.conditions
        if residents is None:
            raise RuntimeError("nothing is resident")
        own = {name: inputs[name] for name in conditions}
        given = {name: array for name, array in inputs.items() if name not in own} if own else inputs
        return residents.predictor(member, own)(given)

    def _of_several(self, members: Sequence[int], inputs: Arrays) -> Arrays:
        """Each output `[member, …]`, written into place member by member."""
        stacked: dict[str, Any] = {}
        for row, member in enumerate(members):
            for name, array in self._compute(member, inputs).items():
                if row == 0:
                    stacked[name] = np.empty((len(members), *array.shape), dtype=array.dtype)
                stacked[name][row] = array
        return stacked

    def _given(self, outputs: Mapping[str, Any]) -> Any:
        return _as_given(self.signature, outputs)

    def warm(self, members: Members = "all") -> None:
        """Make members' weights ahead of their first prediction; does nothing where weights are generated.

        Raises:
            RuntimeInputError: a member does not exist, they are more than can be resident, or weights are made of
                conditions too.
        """
        chosen = check_members(members, self.members)
        if self._residents is None:
            return
        if self.signature.conditions:
            given = ", ".join(f"{name}=…" for name in self.signature.conditions)
            raise RuntimeInputError(
                f"weights come of conditions too: make one ahead with materialise(member=0, {given})"
            )
        if len(set(chosen)) > self._residents.limit:
            raise RuntimeInputError(
                f"{len(set(chosen))} members cannot be warm at once: {self._residents.limit} can be resident; name "
                "fewer, or load with a larger resident_members"
            )
        for member in chosen:
            self._residents.predictor(member)

    def __repr__(self) -> str:
        return (
            f"<LoadedEnsemble {self.manifest.name}: {number_of(self.members, 'member')}, "
            f"{self.engine} on {self.provider}, "
            f"{self.strategy.value}{'' if self.precision is Precision.FLOAT32 else f', {self.precision.value}'}>"
        )


class MaterialisedMember:
    """A member as a plain network, with its condition where it has one; safe to use from several threads.

    Attributes:
        signature: what the network takes and gives, without conditions.
    """

    def __init__(self, member: int, signature: Signature, predictor: Predictor) -> None:
        self.member, self.signature, self._predictor = member, signature, predictor

    def predict(self, inputs: Any = NOT_GIVEN, /, **named: Any) -> Any:
        """The outputs, as `LoadedEnsemble.predict` gives those of one member.

        Raises:
            RuntimeInputError: an input is missing, or has another shape or dtype.
        """
        return _as_given(self.signature, self._predictor(check_inputs(inputs, named, self.signature)))


def _as_given(signature: Signature, outputs: Mapping[str, Any]) -> Any:
    """What the only output gives, or a dict of what all of them do, in the signature's order."""
    names = [output.name for output in signature.outputs]
    return outputs[names[0]] if len(names) == 1 else {name: outputs[name] for name in names}


def _classes(signature: Signature) -> int:
    output = _logits(signature)
    if output is None or output.axis is None:
        return 0
    size = output.shape[output.axis]
    return size if isinstance(size, int) else 0


def _logits(signature: Signature) -> OutputSpec | None:
    """The only output of logits."""
    logits = [output for output in signature.outputs if output.kind is OutputKind.LOGITS]
    return logits[0] if len(logits) == 1 else None
