"""A loaded ensemble."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.manifest import Manifest
from hnexport.errors import RuntimeInputError
from hnexport.runtime.inputs import check_images, check_member, check_members
from hnexport.runtime.options import Precision, Strategy
from hnexport.runtime.residents import ConditionalPredictor, Predictor, ResidentMembers
from hnexport.runtime.uncertainty import EnsemblePrediction, summarise
from hnexport.spec import TensorSpec

__all__ = ["Engine", "Ensemble"]

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

    def materialise(self, member: int) -> Predictor:
        """The plain network of one member."""
        ...

    def fold(self, member: int) -> Predictor:
        """One member over the graphs that are tuned for this machine."""
        ...

    def generate(self) -> ConditionalPredictor:
        """All members in one graph."""
        ...


class Ensemble:
    """An ensemble that predicts; made by `load`, safe to use from several threads.

    Attributes:
        manifest: the bundle's manifest.
        members: how many members there are; they are numbered from 0.
        classes: how many classes the logits have.
        engine: "onnxruntime" or "openvino".
        provider: the execution provider that is running, such as "cpu" or "cuda".
        precision: the arithmetic, such as "float32" or "tf32".
        strategy: what `Strategy.AUTO` came to, or what was asked for.
        resident_limit: how many members' weights are kept at once; 0 where they are generated in every call.
    """

    def __init__(self, manifest: Manifest, engine: Engine, strategy: Strategy, resident_limit: int) -> None:
        self.manifest = manifest
        self.members: int = manifest.spec.members
        self.classes: int = manifest.spec.network.classes
        self.engine: str = engine.name
        self.provider: str = engine.provider
        self.precision: Precision = engine.precision
        self.strategy = strategy
        self.resident_limit = 0 if strategy is Strategy.GENERATED else resident_limit
        self._signature: TensorSpec = manifest.inputs[1]
        self._residents: ResidentMembers | None = None
        self._logits: ConditionalPredictor
        if strategy is Strategy.GENERATED:
            self._logits = engine.generate()
        else:
            make = engine.fold if strategy is Strategy.FOLDED else engine.materialise
            residents = self._residents = ResidentMembers(make, resident_limit)
            self._logits = lambda member, images: residents.predictor(member)(images)

    @property
    def resident_members(self) -> tuple[int, ...]:
        """The members whose weights are in memory now, least recently used first."""
        return self._residents.members if self._residents else ()

    @overload
    def predict(self, images: Any, *, member: int) -> NDArray[np.float32]: ...

    @overload
    def predict(self, images: Any, *, members: Members) -> NDArray[np.float32]: ...

    def predict(self, images: Any, *, member: int | None = None, members: Members | None = None) -> NDArray[np.float32]:
        """Logits of one member, float32 `[batch, class]`, or of several, float32 `[member, batch, class]`.

        Several members give bit for bit what each gives alone.

        Args:
            images: `[batch, …]` in the dtype and layout of the graph's image input, by default float32
                `[batch, channel, height, width]`; see `inputs.check_images` for the casts that are made. An image with
                NaN makes only its own row of logits NaN.
            member: one member, from 0.
            members: several, in any order, or "all". Give either `member` or `members`.

        Raises:
            RuntimeInputError: a member does not exist, or the images have another shape or dtype.
        """
        if (member is None) == (members is None):
            raise RuntimeInputError("give either member=3 or members=[2, 3, 7] (or members='all')")
        if members is None:
            return self._logits(check_member(member, self.members), check_images(images, self._signature))
        chosen = check_members(members, self.members)
        checked = check_images(images, self._signature)
        logits = np.empty((len(chosen), len(checked), self.classes), dtype=np.float32)
        for row, one in enumerate(chosen):
            logits[row] = self._logits(one, checked)
        return logits

    def predict_mean(self, images: Any, *, members: Members = "all") -> EnsemblePrediction:
        """The members' mean prediction and how much they disagree.

        Raises:
            RuntimeInputError: as `predict`.
        """
        chosen = check_members(members, self.members)
        return summarise(self.predict(images, members=chosen), chosen)

    def warm(self, members: Members = "all") -> None:
        """Make members' weights ahead of their first prediction; does nothing where weights are generated.

        Raises:
            RuntimeInputError: a member does not exist, or they are more than can be resident.
        """
        chosen = check_members(members, self.members)
        if self._residents is None:
            return
        if len(set(chosen)) > self._residents.limit:
            raise RuntimeInputError(
                f"{len(set(chosen))} members cannot be warm at once: {self._residents.limit} can be resident; name "
                "fewer, or load with a larger resident_members"
            )
        for member in chosen:
            self._residents.predictor(member)

    def __repr__(self) -> str:
        return (
            f"<Ensemble {self.manifest.name}: {self.members} members, {self.engine} on {self.provider}, "
            f"{self.strategy.value}{'' if self.precision is Precision.FLOAT32 else f', {self.precision.value}'}>"
        )
