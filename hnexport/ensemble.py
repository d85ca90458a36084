"""The centre: an ensemble is a generator and a network with named tensors between them.

The generator is `cond_id -> {slot: tensor}`, the network `(inputs, {slot: tensor}) -> {output: tensor}`. Some of the
inputs may be the generator's: the conditions of a hypernetwork of a vector.

Everything that is exported, verified and reported is made from the two halves and from what is data about them: slots,
signature, stored tensors, members. How the halves came about (a Wide ResNet with a hypernetwork, a list of modules) is
known to the family alone, which `source` names.
"""

import dataclasses
import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from hnexport.dotted import named_tensors
from hnexport.families import image_input
from hnexport.halves import check_named, conditions_of, guarded, in_double, output_leaves
from hnexport.members import as_id, check_member
from hnexport.names import GUARD
from hnexport.programs.attention import plain_attention
from hnexport.spec import Signature, Slot, StoredTensor
from hnexport.spec.kinds import Kind
from hnexport.spec.source import EnsembleSource
from hnexport.spec.usage import Usage

if TYPE_CHECKING:
    from hnexport.training.modules import EnsembleModule

_LISTED = "hnexport.networks.modules.listed.ensemble_from_modules"  # by name: they are built on this module
_PAIR = "hnexport.networks.hypnettorch.pair.ensemble_from_hypnettorch"
_CONDITIONAL = "hnexport.networks.modules.conditional.ensemble_from_conditional"
_RECIPES = "hnexport.networks.recipes.made.ensemble_from_recipe"
_HYPERNETWORK = "hnexport.networks.hypernetwork.made.ensemble_from_hypernetwork"

__all__ = ["Ensemble"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Ensemble:
    """N members of one network.

    Attributes:
        name: short, for reports and default folders.
        origin: where the weights come from, in words.
        generator: `cond_id -> {slot: tensor}` for an int64 scalar, with the signature's conditions by name beside it;
            stores exactly `stored`, under those names. An id that does not exist gives NaN in every floating slot that
            depends on the member, or in the further output `names.GUARD`, float32 `[1]`, which is added to every
            floating output of the network. So does a condition that holds a NaN.
        network: called with the other inputs by name; its parameters and buffers are the slots (also those with an
            alias), and come from the generator at each call. It may be on the meta device. In evaluation mode.
        examples: one value of each input by name, the batch at least 2: what exporters are shown.
        dynamic: for each input the axes of any size: `{axis: name}`; without an entry, all are fixed.
        usage: what whoever uses it has to know beside it: class names, normalisation, licence; see `with_usage`.
    """

    name: str
    origin: str
    members: int
    signature: Signature
    slots: tuple[Slot, ...]
    stored: tuple[StoredTensor, ...]
    generator: nn.Module
    network: nn.Module
    examples: Mapping[str, Tensor]
    dynamic: Mapping[str, Mapping[int, str]]
    source: EnsembleSource
    usage: Usage = field(default_factory=Usage)

    @classmethod
    def from_modules(
        cls,
        modules: Iterable[nn.Module],
        *,
        example_inputs: Tensor | Sequence[Tensor] | Mapping[str, Tensor],
        dynamic_axes: Mapping[str, Mapping[int, Any]] | None = None,
        outputs: Sequence[str] | Mapping[str, Kind] | None = None,
        name: str | None = None,
        origin: str | None = None,
    ) -> "Ensemble":
        """An ensemble of modules of one architecture, each trained by itself; docs/howto/modules.md has the whole way.

        Tensors that are equal bit for bit in all members are stored once, the others stacked: both as copies. The first
        module stays as the ensemble's network; the others are let go (an iterator need not hold more than one at once).

        Args:
            modules: in evaluation mode. They may differ in the values of their parameters and buffers, in nothing else.
            example_inputs: what forward takes: a tensor, a tuple in forward's order, or a dict by names of its
                parameters. A batch of 1 is shown to the exporter as 2.
            dynamic_axes: by input, the axes that may have any size: `{"tokens": {0: "batch", 1: "time"}}`. Axes of one
                name have one size; `batch` is that of the samples, and comes first. An input that is not named has its
                batch at axis 0; `{}` fixes all axes of one.
            outputs: names in order, or kinds by name: `{"logits": Logits(axis=1)}`. An output of which nothing is said
                is a `value`: of an ensemble it has mean and variance. Names are by default the keys of the dict that
                forward returns, else `output`, or `output0`, `output1`, ….
            name: for reports and default folders; by default of the class and the number of members, `cnn-4`.
            origin: where the weights come from, in words.

        Raises:
            SpecError: members differ in more than tensors; one is in training mode, writes buffers or is random;
                samples of a batch depend on each other; inputs, outputs or names do not fit. It says where, and what
                to do.
            CaptureError: `torch.export` refuses a module, for the reason that is passed on.
        """
        return _made(_LISTED)(
            modules,
            example_inputs=example_inputs,
            dynamic_axes=dynamic_axes,
            outputs=outputs,
            name=name,
            origin=origin,
        )

    @classmethod
    def from_recipe(
        cls,
        module: nn.Module,
        recipe: Any,
        *,
        members: int,
        example_inputs: Tensor | Sequence[Tensor] | Mapping[str, Tensor],
        weights: Mapping[str, Tensor] | str | PathLike[str] | None = None,
        seed: int = 0,
        dynamic_axes: Mapping[str, Mapping[int, Any]] | None = None,
        outputs: Sequence[str] | Mapping[str, Kind] | None = None,
        name: str | None = None,
        origin: str | None = None,
    ) -> "Ensemble":
        """An ensemble of one module, whose tensors are shared, each member's own or generated: docs/howto/recipes.md.

        Args:
            module: in evaluation mode; it stays as the ensemble's network.
            recipe: a `hnexport.ModuleRecipe`, or the path of one in TOML.
            members: how many.
            weights: the stored tensors by name, as `tensors` gives them, or a safetensors file of them. None draws them
                with `seed`: what is shared is the module's own, the rest has its scale.
            example_inputs, dynamic_axes, outputs, name, origin: as in `from_modules`.

        Raises:
            SpecError: the recipe does not fit the module, or the module is refused as in `from_modules`.
            CheckpointError: `weights` are not those of this module, recipe and number of members.
            CaptureError: `torch.export` refuses the module, for the reason that is passed on.
        """
        return _made(_RECIPES)(
            module,
            recipe,
            members=members,
            example_inputs=example_inputs,
            weights=weights,
            seed=seed,
            dynamic_axes=dynamic_axes,
            outputs=outputs,
            name=name,
            origin=origin,
        )

    @classmethod
    def from_conditional(
        cls,
        module: nn.Module,
        *,
        members: int,
        example_inputs: Tensor | Sequence[Tensor] | Mapping[str, Tensor],
        dynamic_axes: Mapping[str, Mapping[int, Any]] | None = None,
        outputs: Sequence[str] | Mapping[str, Kind] | None = None,
        name: str | None = None,
        origin: str | None = None,
    ) -> "Ensemble":
        """An ensemble of one module `forward(cond_id, *inputs)`, captured as it is; see docs/howto/from.md.

        Whatever the module does with its condition id stays inside the network: every artifact generates weights in
        each call, and no member can be materialised as a plain network.

        Args:
            module: in evaluation mode. It gets its condition id as an int64 scalar tensor, whatever it calls it.
            members: how many condition ids there are, from 0.
            example_inputs: what forward takes after its condition id, as in `from_modules`.
            dynamic_axes, outputs, name, origin: as in `from_modules`.

        Raises:
            SpecError: forward does not use its condition id, or the module is refused as in `from_modules`.
            CaptureError: `torch.export` refuses the module, for the reason that is passed on: a condition id that
                Python looks into (`if cond_id == 0`, `self.layers[cond_id]`) cannot be captured; stack what belongs to
                members and select with `index_select(0, cond_id.reshape(1))`.
        """
        return _made(_CONDITIONAL)(
            module,
            members=members,
            example_inputs=example_inputs,
            dynamic_axes=dynamic_axes,
            outputs=outputs,
            name=name,
            origin=origin,
        )

    @classmethod
    def from_hypernetwork(
        cls,
        hypernet: nn.Module,
        network: nn.Module,
        *,
        example_inputs: Tensor | Sequence[Tensor] | Mapping[str, Tensor],
        members: int | None = None,
        dynamic_axes: Mapping[str, Mapping[int, Any]] | None = None,
        outputs: Sequence[str] | Mapping[str, Kind] | None = None,
        name: str | None = None,
        origin: str | None = None,
    ) -> "Ensemble":
        """A hypernetwork of your own and the network whose tensors it makes; see docs/howto/from.md.

        It computes `functional_call(network, hypernet(cond_id, **conditions), inputs)`: hypernet returns tensors by the
        network's names of them; those that it does not return stay the network's own.

        Args:
            hypernet: in evaluation mode. With `members`, its forward takes an int64 scalar first, the condition id.
                Beside it, or alone, it takes conditions: floating-point tensors without a batch axis, of fixed sizes.
            network: in evaluation mode; it stays as the ensemble's network.
            members: how many condition ids there are, from 0; None where hypernet takes none: there is one member then.
            example_inputs: the inputs of both by name; those that hypernet's forward names are conditions.
            dynamic_axes, outputs, name, origin: as in `from_modules`, of the network.

        Raises:
            SpecError: hypernet returns other tensors than the network has, or one of them is refused as in
                `from_modules`. It says where, and what to do.
            CaptureError: `torch.export` refuses one of them, for the reason that is passed on.
        """
        return _made(_HYPERNETWORK)(
            hypernet,
            network,
            example_inputs=example_inputs,
            members=members,
            dynamic_axes=dynamic_axes,
            outputs=outputs,
            name=name,
            origin=origin,
        )

    @classmethod
    def from_hypnettorch(
        cls,
        hnet: nn.Module,
        mnet: nn.Module,
        *,
        example_inputs: Tensor | Mapping[str, Tensor],
        members: int | None = None,
        condition: Callable[[int], Any] | Sequence[Any] | None = None,
        uncond_input: Tensor | None = None,
        weights: Callable[[Any, list[Tensor]], Any] | None = None,
        time_first: bool | None = None,
        dynamic_axes: Mapping[str, Mapping[int, Any]] | None = None,
        outputs: Sequence[str] | Mapping[str, Kind] | None = None,
        name: str | None = None,
        origin: str | None = None,
    ) -> "Ensemble":
        """An ensemble of a hypernetwork and a main network of hypnettorch; see docs/howto/hypnettorch.md.

        Member `k` computes `mnet.forward(x, weights=hnet.forward(cond_id=k), condition=condition(k))`. That is also the
        reference, in float64, with which everything is compared that is made of the ensemble. Both are copied, so that
        they can be trained on.

        Args:
            hnet: any hypernetwork that knows conditions, in evaluation mode.
            mnet: any main network, in evaluation mode.
            example_inputs: what `mnet.forward` takes, the batch first (also where the network itself takes the time
                first); `{name: tensor}` names it otherwise than `x`. Beside it an example of hnet's `uncond_input` or
                `cond_input` makes that an input of the graph.
            members: how many, the first conditions of hnet; by default all that it knows.
            condition: what mnet gets as `condition` for each member, or a function of the member: `lambda k: k` where
                each has batch-norm statistics of its own.
            uncond_input: what hnet gets beside `cond_id`, float32 `[1, size]`, the same in every call.
            weights: what mnet gets as `weights`, made of mnet and of the list that hnet gives, where mnet keeps some.
            time_first: whether mnet takes and gives `[time, batch, …]`, as recurrent ones do; the graph never does.
            dynamic_axes, outputs, origin: as in `from_modules`.
            name: as in `from_modules`; by default of mnet's class and the number of members, `resnet-3`.

        Raises:
            SpecError: these are no such networks, one is in training mode, is random or normalises over the batch,
                members differ in more than tensors, or forward fails. It says where, and what to do.
            CaptureError: `torch.export` refuses one of them, for the reason that is passed on.
        """
        return _made(_PAIR)(
            hnet,
            mnet,
            example_inputs=example_inputs,
            members=members,
            condition=condition,
            uncond_input=uncond_input,
            weights=weights,
            time_first=time_first,
            dynamic_axes=dynamic_axes,
            outputs=outputs,
            name=name,
            origin=origin,
        )

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The stored tensors by their names, not copied, in the order of `stored`."""
        held = named_tensors(self.generator)
        return {item.name: held[item.name].detach() for item in self.stored}

    def weights(self, member: int, inputs: Mapping[str, Tensor] = MappingProxyType({})) -> dict[str, Tensor]:
        """Every tensor of the network of one member, by slot name; an alias has the tensor of its slot.

        Raises:
            RuntimeInputError: there is no such member, or no condition among the inputs where the signature has one.
        """
        return self.slots_of(self.generated(torch.tensor(check_member(member, self.members)), inputs))[0]

    def generated(self, cond_id: Tensor, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """What the generator gives for an id and the conditions among the inputs; raises as `weights` does."""
        return self.generator(cond_id, **conditions_of(self.name, self.signature, inputs))  # type: ignore[no-any-return]

    def run(self, weights: Mapping[str, Tensor], inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The network's outputs by name, of one tensor for each slot and of inputs by name, as the signature says."""
        own = {item.name: inputs[item.name] for item in self.signature.of_network}
        with plain_attention():
            raw = functional_call(self.network, dict(weights), (), own, tie_weights=False)
        return self._named(raw)

    def __call__(self, cond_id: Any, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The outputs by name; of an id that does not exist, all floating ones are NaN.

        Args:
            cond_id: a whole number; a tensor of no axis is used where it lies.

        Raises:
            RuntimeInputError: `cond_id` is something else, or the inputs are not tensors by the signature's names.
        """
        self._check_names(inputs)
        is_scalar = isinstance(cond_id, Tensor) and cond_id.dtype is torch.int64 and not cond_id.dim()
        scalar = cond_id if is_scalar else torch.tensor(as_id(cond_id))  # to read it would wait for its device
        weights, guard = self.slots_of(self.generated(scalar, inputs))
        outputs = self.run(weights, inputs)
        return outputs if guard is None else {name: guarded(tensor, guard) for name, tensor in outputs.items()}

    def trainable(self) -> "EnsembleModule":
        """The ensemble as a module to train, over the same tensors, with gradients; see docs/howto/training.md.

        Its `train()` and `eval()` reach the network. A call in training mode normalises over the batch and keeps the
        running statistics of the member that was called. What it trains is what the ensemble gives, and what is built.

        Raises:
            SpecError: it was captured from live networks, which are trained themselves.
        """
        from hnexport.training.modules import trainable

        return trainable(self)

    def with_usage(self, usage: Usage) -> "Ensemble":
        """The same ensemble, of which more is said: it goes into the bundle and its manifest, for those who use it.

        What is said wins over what was said before; the rest stays.

        Raises:
            SpecError: class names are not those of an output of logits with that many classes, or a normalisation is
                not that of an image input in float32.
        """
        usage.check(self.signature, image_input(self))
        return dataclasses.replace(self, usage=self.usage.updated(usage))

    def double(self) -> "Ensemble":
        """The same ensemble in float64, over exactly the numbers that are stored; call it with float64 inputs.

        So is what the network itself makes or casts in float32, where it cannot run or return float64 otherwise.
        """
        from hnexport.double import InDouble

        return InDouble(**{**vars(self), "generator": in_double(self.generator)})

    def slots_of(self, given: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor | None]:
        """What the generator gave as a tensor for each slot, aliases too, and the guard where there is one."""
        weights = dict(given)
        guard = weights.pop(GUARD, None)
        for slot in self.slots:
            if slot.alias_of is not None:
                weights[slot.name] = weights[slot.alias_of]
        return weights, guard

    def _check_names(self, inputs: object) -> None:
        check_named(self.name, [tensor.name for tensor in self.signature.inputs], inputs)

    def _named(self, raw: Any) -> dict[str, Tensor]:
        names = [output.name for output in self.signature.outputs]
        return dict(zip(names, output_leaves(raw), strict=True))


def _made(path: str) -> Callable[..., Ensemble]:
    module, _, function = path.rpartition(".")
    return getattr(importlib.import_module(module), function)  # type: ignore[no-any-return]
