"""A cache made on this machine: the conditional graph with its bases folded into onnxruntime's own layout.

onnxruntime's CPU provider runs convolutions in a blocked layout only where their kernels are constants. A linear
hypernetwork commutes with any permutation of its output, so the permutation can be applied to the bases once: the
generated kernels then come out in that layout. The layout is internal to onnxruntime and its block size depends on the
processor, so the folded graph is never part of a bundle. `load_tuned` (which needs neither torch nor onnx) gives the
cached graph only to the versions, processor and bundle that it was made for; `tune` makes it and checks it.
"""

from hnexport.tune.cache import TunedRecord, cache_folder, load_tuned, tuned_folder

__all__ = ["TunedRecord", "cache_folder", "load_tuned", "tuned_folder"]
