"""The report of a bundle's artifact that is not called as its manifest says."""

from collections.abc import Sequence

import numpy as np

from hnexport.bundle.golden import Golden
from hnexport.parity.artifact import failed_member
from hnexport.parity.results import ArtifactReport, Check

__all__ = ["OWN_SIGNATURE", "signature_report"]

OWN_SIGNATURE = "its signature is the bundle's"
_NOT_RUN = "not run, since it is called otherwise than the manifest says"


def signature_report(name: str, runtime: str, faults: Sequence[str], golden: Golden) -> ArtifactReport:
    """Whoever calls it as the manifest says gets an error or something else: it is different, whatever it computes."""
    return ArtifactReport(
        artifact=name,
        runtime=runtime,
        comparisons=tuple(failed_member(member, _NOT_RUN) for member in golden.members.tolist()),
        checks=(Check(name=OWN_SIGNATURE, passed=False, detail="; ".join(faults)),),
        ensemble_error=np.inf,
        repeat_spread=np.nan,
    )
