"""Side-by-side timing: a bundle's ways to run against the plain network and against PyTorch."""

from hnexport.bench.contenders import CONTENDERS
from hnexport.bench.results import BenchReport, ContenderResult, Timing
from hnexport.bench.run import BenchOptions, bench

__all__ = ["CONTENDERS", "BenchOptions", "BenchReport", "ContenderResult", "Timing", "bench"]
