"""Both halves as one module, for the formats that are PyTorch programs themselves."""

import inspect
from typing import Any

from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.func import functional_call

from hnexport.ensemble import Ensemble
from hnexport.halves import guarded, output_leaves
from hnexport.names import COND_ID

__all__ = ["joint_module"]


def joint_module(ensemble: Ensemble, network: ExportedProgram) -> nn.Module:
    """`(cond_id, *inputs) -> output`, or a tuple where the signature has several; it holds the generator's tensors.

    Args:
        network: the captured network: what it computes does not depend any more on how it is called.
    """
    skeleton = network.module(check_guards=False)
    names = [item.name for item in ensemble.signature.inputs]

    class Joint(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.generator = ensemble.generator

        def forward(self, cond_id: Tensor, *inputs: Tensor) -> Any:
            given = dict(zip(names, inputs, strict=True))
            conditions = {name: given.pop(name) for name in ensemble.signature.conditions}
            weights, guard = ensemble.slots_of(self.generator(cond_id, **conditions))
            raw = functional_call(skeleton, weights, (), given, tie_weights=False)
            outputs = [leaf if guard is None else guarded(leaf, guard) for leaf in output_leaves(raw)]
            return outputs[0] if len(outputs) == 1 else tuple(outputs)

    joint = Joint().eval()
    _name_inputs(joint, [COND_ID, *names])
    return joint


def _name_inputs(module: nn.Module, names: list[str]) -> None:
    """Let `torch.export` call the inputs by their names."""
    forward = module.forward

    def named(*inputs: Tensor) -> Any:
        return forward(*inputs)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    named.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in names])  # type: ignore[attr-defined]
    module.forward = named
