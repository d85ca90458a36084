"""A cache made on this machine: the ensemble with its bases folded into onnxruntime's own order of kernels.

onnxruntime's CPU provider runs convolutions in a blocked format only where it knows that their kernels are in it. A
linear hypernetwork commutes with any permutation of its output, so the permutation can be applied to the bases once:
the generated kernels then come out in that format. It is internal to onnxruntime and its block size depends on
the processor, so the folded graphs are never part of a bundle. `tune` makes and checks them; `hnexport.runtime` uses
them where it finds them. Two more are cached likewise: `halve` makes a copy in float16 for CUDA, `quantised` the
network in int8.
"""

import hnexport.runtime.available  # noqa: F401  # first: it says why onnxruntime cannot be imported
from hnexport.tune.half import halve
from hnexport.tune.make import tune
from hnexport.tune.publish import TunedBundle

__all__ = ["TunedBundle", "halve", "tune"]
