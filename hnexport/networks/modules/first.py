"""A module as the network of an ensemble: slots and outputs as its captured graph has them, after it was tried."""

from torch import Tensor, nn
from torch.export import ExportedProgram

from hnexport.dotted import named_tensors
from hnexport.errors import SpecError
from hnexport.networks.modules.compare import first_difference, tensor_difference, tying_difference
from hnexport.networks.modules.inputs import Inputs
from hnexport.networks.modules.members import check_finite, owners
from hnexport.networks.modules.outputs import Outputs, read_outputs
from hnexport.networks.modules.refusals import check_program
from hnexport.networks.modules.tensors import dtype_name
from hnexport.networks.modules.traced import trace
from hnexport.networks.modules.trials import check_samples, check_sizes
from hnexport.spec import Signature, Slot

__all__ = ["FirstMember"]


class FirstMember:
    """The first member, or the only module: its graph is what all others have to compute, with tensors of their own.

    Attributes:
        module: in evaluation mode, on the CPU.
        outputs: as the graph has them, with the kinds that a user gave.
        slots: what the graph uses of its parameters and buffers, in their order, and what is tied to that.
    """

    def __init__(self, module: nn.Module, inputs: Inputs, outputs: Outputs, where: str = "member 0") -> None:
        """Capture the module and try it.

        Args:
            where: what it is called in messages.

        Raises:
            SpecError: it is random, writes buffers, mixes samples, or outputs do not fit.
            CaptureError: `torch.export` refuses it.
        """
        self.module, self.inputs, self._where = module, inputs, where
        program, self._traced = trace(where, module, inputs)
        self._owners = owners(module)
        self.outputs = read_outputs(program, inputs, outputs)
        Signature(inputs=inputs.specs, outputs=self.outputs)  # its checks, before anything runs
        check_program(program)
        self.slots = self._slots()
        self._check_numbers(program)

    def tensors_of(self, where: str, module: nn.Module) -> dict[str, Tensor]:
        """The tensors of the slots that are no alias, of a member that is like the first but for them.

        Raises:
            SpecError: it differs in more, or holds NaN.
        """
        own = named_tensors(module)
        names = [slot.name for slot in self.slots if slot.alias_of is None]
        if module is not self.module:
            mine = named_tensors(self.module)
            difference = tensor_difference({slot.name: mine[slot.name] for slot in self.slots}, own)
            difference = difference or tying_difference(self._owners, owners(module))
            difference = difference or first_difference(self._traced, trace(where, module, self.inputs)[1])
            if difference is not None:
                raise SpecError(f"{where} differs from member 0 in more than its tensors: {difference}")
        check_finite(where, ((name, own[name]) for name in names))
        return {name: own[name].detach() for name in names}

    def _slots(self) -> tuple[Slot, ...]:
        used = {self._owners[name] for name in self._traced.used}
        tensors = named_tensors(self.module)
        return tuple(
            Slot(
                name=name,
                dtype=dtype_name(f"{self._where}: {name}", tensors[name]),
                shape=tuple(tensors[name].shape),
                trained=isinstance(tensors[name], nn.Parameter) and tensors[name].is_floating_point(),
                alias_of=None if owner == name else owner,
            )
            for name, owner in self._owners.items()
            if owner in used
        )

    def _check_numbers(self, program: ExportedProgram) -> None:
        check_sizes(self.module, program, self.inputs, self.outputs)
        check_samples(self.module, self.inputs, self.outputs)
