"""How CUDA computes: the options of `load` for that provider, and what they are called in onnxruntime."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from hnexport.runtime.validation import choice, require_count, require_flag

__all__ = ["AlgorithmSearch", "CudaOptions"]


class AlgorithmSearch(StrEnum):
    """How cuDNN's algorithm of each convolution is found.

    `exhaustive`, onnxruntime's own default, times them all when a layer first sees a shape, so that the first call with
    each batch size is slow and two loads may choose differently. `heuristic` asks cuDNN which is probably best.
    `default` takes one that always works.
    """

    EXHAUSTIVE = "exhaustive"
    HEURISTIC = "heuristic"
    DEFAULT = "default"


@dataclass(frozen=True, kw_only=True)
class CudaOptions:
    """Options of the provider "cuda"; TF32 is not among them, it is `precision="tf32"`.

    Attributes:
        device: the GPU's number, from 0.
        prefer_nhwc: convolutions with channels last, as tensor cores take them; pays with TF32 and float16 if at all.
        algorithm_search: how cuDNN's algorithms are found, an `AlgorithmSearch` or its name.
        graph: capture the whole call as a CUDA graph for each batch size and replay it. All such calls of the process
            take turns in one thread.
        graph_batch_sizes: so many batch sizes get a graph, in the order in which they first come (onnxruntime does not
            promise to free a captured graph before its session); calls with any other size run without one.

    Raises:
        RuntimeInputError: an option has a value that it cannot have.
    """

    device: int = 0
    prefer_nhwc: bool = False
    algorithm_search: AlgorithmSearch = AlgorithmSearch.EXHAUSTIVE
    graph: bool = False
    graph_batch_sizes: int = 8

    if TYPE_CHECKING:  # the search may be given by its name, which type checkers of other projects shall not refuse

        def __init__(
            self,
            *,
            device: int = 0,
            prefer_nhwc: bool = False,
            algorithm_search: AlgorithmSearch | str = AlgorithmSearch.EXHAUSTIVE,
            graph: bool = False,
            graph_batch_sizes: int = 8,
        ) -> None: ...

    def __post_init__(self) -> None:
        found = choice("algorithm_search", AlgorithmSearch, self.algorithm_search)
        object.__setattr__(self, "algorithm_search", found)
        require_count("device", self.device, least=0)
        require_count("graph_batch_sizes", self.graph_batch_sizes)
        for name in ("prefer_nhwc", "graph"):
            require_flag(name, getattr(self, name))

    def provider_options(self, *, tf32: bool) -> dict[str, str]:
        """The options of onnxruntime's CUDA provider; TF32, which it would turn on by itself, is always named."""
        return {
            "device_id": str(self.device),
            "use_tf32": str(int(tf32)),
            "prefer_nhwc": str(int(self.prefer_nhwc)),
            "cudnn_conv_algo_search": self.algorithm_search.value.upper(),
            "enable_cuda_graph": str(int(self.graph)),
        }
