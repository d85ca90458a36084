"""Load a bundle and predict, in production: numpy, onnxruntime and safetensors are all it needs.

    from hnexport.runtime import load

    ensemble = load("bundle/")
    ensemble.predict(images, member=3)           # logits [batch, class]
    ensemble.predict(images, members=[2, 3, 7])  # logits [member, batch, class]
    ensemble.predict_mean(images)                # mean probabilities, and how much the members disagree
    ensemble.predict_mean(images, until=0.8)     # of no more members than each image takes

A network with several inputs takes them by name, and one with several outputs gives a dict:

    ensemble.predict(tokens=tokens, weighting=weighting, member=3)
    ensemble.predict({"tokens": tokens, "weighting": weighting}, members="all")

It imports neither torch nor onnx.
"""

import hnexport.runtime.available  # noqa: F401  # first: it says why onnxruntime cannot be imported
from hnexport.runtime.cuda import AlgorithmSearch, CudaOptions
from hnexport.runtime.ensemble import LoadedEnsemble
from hnexport.runtime.loading import load
from hnexport.runtime.options import Check, Checksums, EngineName, Precision, Strategy
from hnexport.runtime.shared_threads import share_threads
from hnexport.runtime.uncertainty import AnytimePrediction, EnsemblePrediction, EnsembleValue
from hnexport.runtime.until import Until

__all__ = [
    "AlgorithmSearch",
    "AnytimePrediction",
    "Check",
    "Checksums",
    "CudaOptions",
    "EngineName",
    "EnsemblePrediction",
    "EnsembleValue",
    "LoadedEnsemble",
    "Precision",
    "Strategy",
    "Until",
    "load",
    "share_threads",
]
