"""The models that a bundle gives: what each takes and gives, and which files its version holds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.golden import Golden
from hnexport.bundle.manifest import Manifest
from hnexport.deploy.triton.config import Backend, Interface, is_batched
from hnexport.deploy.triton.options import Served, TritonOptions
from hnexport.errors import DeployError
from hnexport.images import distinct, read_labels
from hnexport.names import (
    COND_ID,
    COND_IDS,
    ENSEMBLE_FILE,
    GOLDEN_FILE,
    HYPERNET_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
    NETWORK_FILE,
    WEIGHTS_FILE,
)
from hnexport.rows import taken
from hnexport.spec import BATCH, MEMBER, OutputKind, OutputSpec, TensorSpec
from hnexport.spec.summaries import summaries

__all__ = ["BUNDLE_FOLDER", "MODEL_NAME", "Planned", "planned_models"]

Array = NDArray[np.generic]

BUNDLE_FOLDER = "bundle"
"""Of the Python model, in the folder of its version."""
MODEL_NAME = "model.onnx"
"""What the onnxruntime backend opens."""
_PYTHON_NAME = "model.py"
_PYTHON_FILES = (MANIFEST_FILE, GOLDEN_FILE, MODEL_FILE, HYPERNET_FILE, NETWORK_FILE, WEIGHTS_FILE)


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A model that is to be written.

    Attributes:
        kind: "conditional", "ensemble", "python" or "member".
        member: of a plain member, which.
        files: of its version, by the path in it; a plain member's is made later.
        labels: the names of the classes; empty where none are said.
    """

    interface: Interface
    kind: str
    member: int | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    labels: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of the model, which is also its folder's."""
        return self.interface.name


def planned_models(
    bundle: Path, manifest: Manifest, golden: Golden, members: Sequence[int], options: TritonOptions
) -> list[Planned]:
    """The models that the options name, in their order.

    Raises:
        DeployError: labels are given and no output has classes.
        RuntimeInputError: the labels cannot be read, or are not as many as there are classes.
    """
    plan = _Plan(bundle, manifest, golden, options)
    return [*plan.served(), *(plan.member(member) for member in members)]


class _Plan:
    def __init__(self, bundle: Path, manifest: Manifest, golden: Golden, options: TritonOptions) -> None:
        self._bundle, self._manifest, self._options = bundle, manifest, options
        self._base, self._signature = options.base_name(manifest.name), manifest.signature
        self._samples = taken(manifest.signature, golden.inputs, [0])
        self._output, self._labels = _labels(manifest, options.labels)

    def served(self) -> Iterator[Planned]:
        make = {Served.CONDITIONAL: self._conditional, Served.ENSEMBLE: self._ensemble, Served.PYTHON: self._python}
        for kind in dict.fromkeys(self._options.models):
            yield make[kind]()

    def member(self, member: int) -> Planned:
        inputs, outputs = self._signature.inputs, self._signature.outputs
        batched = is_batched((*inputs, *outputs))
        interface = self._interface(f"member-{member}", Backend.ONNXRUNTIME, inputs, outputs, batched, self._samples)
        return self._planned(interface, "member", {}, member)

    def _conditional(self) -> Planned:
        cond_id = TensorSpec(name=COND_ID, dtype="int64", shape=())
        warmup = {COND_ID: np.zeros((), np.int64), **self._samples}
        interface = self._interface(
            "", Backend.ONNXRUNTIME, (cond_id, *self._signature.inputs), self._signature.outputs, False, warmup
        )
        return self._planned(interface, Served.CONDITIONAL, self._graph(MODEL_FILE))

    def _ensemble(self) -> Planned:
        cond_ids = TensorSpec(name=COND_IDS, dtype="int64", shape=(MEMBER,))
        warmup = {COND_IDS: np.zeros((1,), np.int64), **self._samples}
        inputs, outputs = (cond_ids, *self._signature.inputs), summaries(self._signature)
        interface = self._interface("ensemble", Backend.ONNXRUNTIME, inputs, outputs, False, warmup)
        return self._planned(interface, Served.ENSEMBLE, self._graph(ENSEMBLE_FILE))

    def _python(self) -> Planned:
        inputs, outputs = self._signature.inputs, self._signature.outputs
        batched = is_batched((*inputs, *outputs))
        cond_id = TensorSpec(name=COND_ID, dtype="int64", shape=(BATCH,) if batched else ())
        warmup = {COND_ID: np.zeros((1,) if batched else (), np.int64), **self._samples}
        interface = self._interface("python", Backend.PYTHON, (cond_id, *inputs), outputs, batched, warmup)
        files = {f"{BUNDLE_FOLDER}/{name}": self._bundle / name for name in _PYTHON_FILES if self._holds(name)}
        model = Path(str(resources.files("hnexport.deploy.triton"))) / "python_model.py"
        return self._planned(interface, Served.PYTHON, {_PYTHON_NAME: model, **files})

    def _graph(self, name: str) -> dict[str, Path]:
        """A graph by the name that Triton looks for, and the weights by the name that the graph has for them."""
        weights = {WEIGHTS_FILE: self._bundle / WEIGHTS_FILE} if self._holds(WEIGHTS_FILE) else {}
        return {MODEL_NAME: self._bundle / name, **weights}

    def _holds(self, name: str) -> bool:
        return name == MANIFEST_FILE or name in self._manifest.files

    def _interface(
        self,
        suffix: str,
        backend: str,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        batched: bool,
        warmup: Mapping[str, Array],
    ) -> Interface:
        return Interface(
            name=f"{self._base}-{suffix}" if suffix else self._base,
            backend=backend,
            inputs=inputs,
            outputs=outputs,
            batched=batched,
            labelled=(self._output.name,) if self._labels and self._output and batched else (),
            warmup=warmup,
            parameters={**self._told(), **self._set(backend)},
        )

    def _told(self) -> dict[str, str]:
        """What clients have to know; backends leave it alone."""
        normalisation = self._manifest.usage.normalisation
        numbers = {} if normalisation is None else {"mean": normalisation.mean, "std": normalisation.std}
        return {
            "hnexport.members": str(self._manifest.members),
            **{f"hnexport.{name}": ",".join(map(repr, values)) for name, values in numbers.items()},
        }

    def _set(self, backend: str) -> dict[str, str]:
        """How the backend computes."""
        threads = "" if self._options.threads is None else str(self._options.threads)
        if backend == Backend.PYTHON:
            return {"strategy": "materialised", **({"threads": threads} if threads else {})}
        return {"intra_op_thread_count": threads} if threads else {}

    def _planned(
        self, interface: Interface, kind: str, files: Mapping[str, Path], member: int | None = None
    ) -> Planned:
        labels = self._labels if interface.labelled else ()
        return Planned(interface=interface, kind=str(kind), member=member, files=files, labels=labels)


def _labels(manifest: Manifest, given: Path | None) -> tuple[OutputSpec | None, tuple[str, ...]]:
    """The output of which a sample has one vector of classes, and their names.

    Raises:
        DeployError: labels are given and there is no such output.
    """
    outputs = [one for one in manifest.outputs if one.kind is OutputKind.LOGITS and one.axis == 1 and len(one.row) == 1]
    output = outputs[0] if outputs and isinstance(outputs[0].row[0], int) else None
    if output is None:
        if given is not None:
            raise DeployError(f"{manifest.name} has no logits [batch, class], whose classes labels could name")
        return None, ()
    if given is not None:
        return output, read_labels(given, int(output.row[0]))
    return output, distinct(manifest.usage.class_names.get(output.name, ()))
