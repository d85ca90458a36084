"""How to evaluate."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike

from hnexport.evaluate.costs import Costs
from hnexport.evaluate.stopping import StatedLoss
from hnexport.evaluate.targets import ReadOptions
from hnexport.runtime.options import Precision

__all__ = ["EvaluateOptions"]


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """How to evaluate.

    Attributes:
        ood: data that do not belong, without what is right of them.
        members: those to evaluate; None takes all.
        output: which, where the network has several.
        bins: of the expected calibration error, of equal width.
        temperature: also fit one, on the first source's answers; see `hnexport.evaluate.derive.derive_bundle`.
        until: also choose when members are enough, for this loss; see `hnexport.evaluate.stopping.choose`. With a
            temperature it is chosen on the logits that are divided by it.
        least: at least so many members, whatever is chosen.
        precisions: as `hnexport.runtime.load` takes them, each a source of its own. float32 is always there, and the
            others are compared with it, unless `artifacts` brings float64; `until` is for the first that is named.
        costs: of the members in plain float32 runs, as `hnexport.bench.costs.read_costs` reads them.
        provider, engine, strategy: as `hnexport.runtime.load` takes them.
        artifacts: also evaluate PyTorch in float64, and these artifacts as `verify` names them, or `all`; needs all of
            hnexport. None evaluates the runtime alone.
        trust: run TorchScript and `.pt2` files in this process, whoever made them.
        digest: the bundle must have this one.
        reading: how data are read.
    """

    ood: str | PathLike[str] | None = None
    members: Sequence[int] | None = None
    output: str | None = None
    bins: int = 15
    temperature: bool = False
    until: StatedLoss | None = None
    least: int = 1
    precisions: Sequence[str] = (Precision.FLOAT32.value,)
    costs: Costs | None = None
    provider: str = "auto"
    engine: str = "onnxruntime"
    strategy: str = "auto"
    artifacts: Sequence[str] | None = None
    trust: bool = False
    digest: str | None = None
    reading: ReadOptions = field(default_factory=ReadOptions)
