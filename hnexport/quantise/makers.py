"""A member's parameters: its slots out of the bundle's hypernetwork, through a maker."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from hnexport.bundle.manifest import Manifest
from hnexport.errors import TuneError
from hnexport.names import COND_ID
from hnexport.runtime.onnxruntime_engine import OnnxruntimeEngine

__all__ = ["Members"]

Array = NDArray[np.generic]


class Members:
    """The members of a bundle, and what makers make of them."""

    def __init__(self, bundle: Path, manifest: Manifest) -> None:
        self._engine = OnnxruntimeEngine(bundle, manifest, "cpu", None)
        self.manifest = manifest

    def slots(self, member: int) -> dict[str, Array]:
        """A member's own tensors by name."""
        return self._engine.weights(member)

    def parameters(self, maker: onnx.ModelProto, names: Sequence[str], member: int) -> dict[str, Array]:
        """What a maker gives of one member.

        Raises:
            TuneError: onnxruntime cannot run it.
        """
        if not names:
            return {}
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        try:
            session = onnxruntime.InferenceSession(
                maker.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            own = {item.name for item in session.get_inputs()}
            given = {**self.slots(member), COND_ID: np.array(member, np.int64)}
            found = session.run(list(names), {name: value for name, value in given.items() if name in own})
        except Exception as error:  # onnxruntime's exceptions have no common root
            raise TuneError(f"onnxruntime cannot make the parameters of member {member}: {error}") from error
        return dict(zip(names, found, strict=True))
