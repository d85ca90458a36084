"""Parity: every artifact of a bundle against PyTorch in float64, member by member.

Where hnexport-runtime is alone, without torch and onnx, `write_golden_inputs` is all there is.
"""

from typing import TYPE_CHECKING, Any

import hnexport.runtime.available  # noqa: F401  # first: it says why onnxruntime cannot be imported
from hnexport.installed import is_complete, require_complete
from hnexport.parity.foreign import write_golden_inputs

if TYPE_CHECKING or is_complete():
    from hnexport.parity.foreign_outputs import verify_outputs
    from hnexport.parity.inputs import Probes, probe_inputs
    from hnexport.parity.members import checked_members, sample_members
    from hnexport.parity.reference import compute_golden, covered_members
    from hnexport.parity.results import ArtifactReport, Check, Comparison, ParityReport, Selection, Verdict
    from hnexport.parity.tolerances import TOLERANCES, Precision, Tolerance
    from hnexport.parity.verify import VerifyOptions, verify
    from hnexport.parity.verify_file import replay, verify_file

__all__ = [
    "TOLERANCES",
    "ArtifactReport",
    "Check",
    "Comparison",
    "ParityReport",
    "Precision",
    "Probes",
    "Selection",
    "Tolerance",
    "Verdict",
    "VerifyOptions",
    "checked_members",
    "compute_golden",
    "covered_members",
    "probe_inputs",
    "replay",
    "sample_members",
    "verify",
    "verify_file",
    "verify_outputs",
    "write_golden_inputs",
]


def __getattr__(name: str) -> Any:
    if name in __all__:  # it is not here, so it was not imported above
        require_complete(f"hnexport.parity.{name}")
    raise AttributeError(f"module 'hnexport.parity' has no attribute {name!r}")
