"""A member as one ONNX file in int8: standard operators and integers, which any runtime opens."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from hnexport.bundle.manifest import Manifest
from hnexport.errors import ExportError
from hnexport.parity.results import ArtifactReport
from hnexport.progress import Progress, no_progress
from hnexport.quantise.cost import Cost, member_cost, outputs_of
from hnexport.quantise.data import judged_output, read_calibration
from hnexport.quantise.makers import Members
from hnexport.quantise.options import Int8Options
from hnexport.quantise.plan import quantise
from hnexport.quantise.proof import proof, proved
from hnexport.rows import taken
from hnexport.runtime.int8 import without_saturation
from hnexport.runtime.onnxruntime_engine import OnnxruntimeEngine
from hnexport.runtime.providers import open_session
from hnexport.runtime.session_options import session_options

__all__ = ["Int8Members"]

Array = NDArray[np.generic]


class Int8Members:
    """Writes members of a bundle in int8, and judges them.

    Attributes:
        costs: of each member that was judged, what int8 changes.
        kept: the layers that stay in float32.
        told: by which samples members are judged, in words.
    """

    def __init__(
        self,
        bundle: Path,
        manifest: Manifest,
        members: Sequence[int],
        samples: str | Path,
        options: Int8Options,
        progress: Progress = no_progress,
    ) -> None:
        """Calibrate the members.

        Raises:
            BundleError: the bundle holds no ONNX files, or damaged ones.
            RuntimeInputError: the samples cannot be read.
            TuneError: the network cannot be made in int8.
        """
        needs = options.budget.accuracy_drop is not None
        self._samples = read_calibration(samples, manifest, options.reading, options.samples, needs_targets=needs)
        made = quantise(
            bundle,
            manifest,
            self._samples,
            members,
            method=options.method,
            least_decibels=options.least_decibels,
            progress=progress,
        )
        self._rounded, self.kept, self._budget = made.rounded, made.kept, options.budget
        self._manifest, self._held = manifest, Members(bundle, manifest)
        self._plain = OnnxruntimeEngine(bundle, manifest, "cpu", None)
        self.costs: dict[int, Cost] = {}
        self.told = self._samples.told

    def write(self, member: int, path: Path, marks: Mapping[str, str]) -> None:
        """Write a member's file.

        Raises:
            ExportError: it does not pass ONNX's checker.
        """
        values = self._held.parameters(self._rounded.maker, self._rounded.parameters, member)
        model = onnx.ModelProto()
        model.CopyFrom(self._rounded.network)
        tensors = [
            numpy_helper.from_array(np.asarray(values[tensor.name], order="C"), tensor.name)
            if tensor.name in values
            else tensor
            for tensor in self._rounded.network.graph.initializer
        ]
        del model.graph.initializer[:]
        model.graph.initializer.extend(tensors)
        onnx.helper.set_model_props(model, dict(marks))
        model.ir_version = onnx.helper.find_min_ir_version_for(list(model.opset_import))
        path.write_bytes(model.SerializeToString())
        try:
            onnx.checker.check_model(str(path), full_check=True)
        except Exception as error:  # onnx has several
            raise ExportError(f"member {member} does not pass ONNX's checker: {error}") from error

    def judge(self, member: int, path: Path, name: str) -> ArtifactReport:
        """Whether a file is computed right, and what it costs.

        Args:
            name: of the file in its place, for the report.

        Raises:
            ParityError: it cannot be computed.
            TuneFailedError: it costs more than the budget.
        """
        signature, output = self._manifest.signature, judged_output(self._manifest)
        first = taken(signature, self._samples.judged, [0])
        report = proof(name, [proved(onnx.load(path), {}, first, member)]).report
        if report.passed:
            options = session_options(None)
            without_saturation(options)
            session, names = open_session(path, options, "cpu"), [item.name for item in self._manifest.outputs]
            exact = outputs_of(self._plain.materialise(member), signature, output, self._samples.judged)
            found = outputs_of(
                lambda inputs: dict(zip(names, session.run(names, dict(inputs)), strict=True)),
                signature,
                output,
                self._samples.judged,
            )
            self.costs[member] = member_cost(exact, found, output, self._samples.targets)
            self._budget.check(self.costs[member], f"member {member}")
        return report
