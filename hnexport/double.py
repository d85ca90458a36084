"""An ensemble in float64."""

from collections.abc import Mapping

import torch
from torch import Tensor

from hnexport.ensemble import Ensemble
from hnexport.programs.widened import Widened

__all__ = ["InDouble"]


class InDouble(Ensemble):
    """What `Ensemble.double` gives: its generator is in float64 already."""

    def generated(self, cond_id: Tensor, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """As `Ensemble.generated`, in float64."""
        wide = {name: inputs[name].double() for name in self.signature.conditions if name in inputs}
        try:
            return super().generated(cond_id, wide)
        except RuntimeError:  # float32 met float64
            with Widened():
                return super().generated(cond_id, wide)

    def run(self, weights: Mapping[str, Tensor], inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As `Ensemble.run`, in float64."""
        try:  # first as it is: `torch.cond` is compiled even here, and does not survive a mode
            outputs = super().run(weights, inputs)
        except RuntimeError:  # float32 met float64
            outputs = {}
        specs = {output.name: output.dtype for output in self.signature.outputs}
        if outputs and not any(outputs[name].dtype is torch.float32 for name, of in specs.items() if of == "float32"):
            return outputs
        with Widened():
            return super().run(weights, inputs)
