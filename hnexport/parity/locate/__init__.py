"""`locate`: the first place where an artifact departs from the reference."""

from hnexport.parity.locate.search import ARTIFACT_FILES, LocateReport, Stage, locate
from hnexport.parity.locate.steps import Kind, Step

__all__ = ["ARTIFACT_FILES", "Kind", "LocateReport", "Stage", "Step", "locate"]
