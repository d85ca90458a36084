"""The answers of PyTorch in float64 and of a bundle's artifacts. (Unlike its siblings, this module needs torch.)"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hnexport.bundle.golden import Golden, read_golden
from hnexport.bundle.manifest import Format, Identified, Manifest
from hnexport.confine.trust import Trust, bundle_trust
from hnexport.ensemble import Ensemble
from hnexport.errors import NotRunError, ParityError
from hnexport.evaluate.answers import FLOAT64, Source
from hnexport.evaluate.batches import Inputs
from hnexport.names import PT2_FILE
from hnexport.parity.batches import run_rows
from hnexport.parity.chosen import held_ensemble
from hnexport.parity.double import run_double
from hnexport.parity.ensemble import ENSEMBLES, in_batches
from hnexport.parity.not_run import NO_FORMAT
from hnexport.parity.programs import sharing_programs
from hnexport.parity.providers import Device, resolve_provider
from hnexport.parity.runners import RUNNERS, bundle_runner, choose_runners
from hnexport.parity.tempered import tempered
from hnexport.parity.torch_runners import load_torch
from hnexport.programs.widened import Widened
from hnexport.rows import relative_l2, row_errors, taken
from hnexport.spelling import spelled
from hnexport.text import number_of

__all__ = ["ArtifactSources", "check_artifacts"]

Array = NDArray[Any]

_SAME = 1e-9
"""Relative L2 difference from the golden samples above which they were computed by something else."""


@dataclass(kw_only=True)
class ArtifactSources:
    """PyTorch in float64 and the artifacts that are asked for, one in memory at a time.

    Attributes:
        asked: names as `verify` has them, `all`, or `float64` alone, which is always there.
        trust: run programs in this process whoever made them.
        ensemble: what the bundle was built from, where the caller has it.
        not_run: by name, why one that was asked for was not run; filled while they are run.
    """

    bundle: Path
    found: Identified
    asked: Sequence[str]
    provider: str
    trust: bool
    ensemble: Ensemble | None = None
    not_run: dict[str, str] = field(default_factory=dict)

    def reference(self) -> Source | None:
        """PyTorch in float64, on the CPU: the halves where they are known, otherwise the program of `model.pt2`.

        None where neither can be run, or what it gives is not the reference of the golden samples: `not_run` says why.

        Raises:
            BundleError: the golden samples cannot be read.
        """
        manifest, golden = self.found.manifest, read_golden(self.bundle, self.found.manifest)
        ensemble = self.ensemble
        if ensemble is None:
            ensemble = held_ensemble(self.bundle, manifest, golden, self._trust)
        elif other := _difference(ensemble, manifest):
            self.not_run[FLOAT64] = f"the ensemble is another: {other}"
            return None
        elif manifest.temperature is not None:
            ensemble = tempered(ensemble, manifest.temperature)
        runtime = f"torch {torch.__version__} float64 cpu"
        if ensemble is not None:
            double = ensemble.double()
            source = Source(
                name=FLOAT64, runtime=runtime, run=lambda member, inputs: run_double(double, member, inputs)
            )
            return self._confirmed(source, golden, "the ensemble")
        reason = self._why_no_program()
        if reason:
            self.not_run[FLOAT64] = reason
            return None
        run = _program_in_double((self.bundle / PT2_FILE).read_bytes(), self.found)
        return self._confirmed(Source(name=FLOAT64, runtime=f"{runtime}, {PT2_FILE}", run=run), golden, PT2_FILE)

    @sharing_programs()
    def artifacts(self) -> Iterator[Source]:
        """Each artifact in turn.

        Raises:
            ParityError: there is none of such a name, or one cannot be run.
            ProviderError: one that was asked for is not installed.
        """
        manifest = self.found.manifest
        formats = {name: kind for name, (kind, _) in (*RUNNERS.items(), *ENSEMBLES.items())}
        wanted = [name for name in self.asked if name != FLOAT64]
        names, reasons = choose_runners(formats, manifest, wanted)
        self.not_run.update({name: why for name, why in reasons.items() if name in wanted})
        if "all" in wanted:
            self.not_run.update({name: why for name, why in reasons.items() if why != NO_FORMAT})
        device = Device(provider=resolve_provider(self.provider))
        for name in names:
            try:
                yield self._alone(name, device) if name in RUNNERS else self._together(name, device)
            except NotRunError as error:
                self.not_run[name] = str(error)

    def _alone(self, name: str, device: Device) -> Source:
        manifest = self.found.manifest
        runner = bundle_runner(name, self.bundle, manifest, device, self._trust)
        return Source(
            name=name,
            runtime=runner.runtime,
            run=lambda member, inputs: run_rows(name, runner, member, manifest.signature, inputs),
        )

    def _together(self, name: str, device: Device) -> Source:
        """An artifact that runs several members in one call, asked for one."""
        manifest = self.found.manifest
        signature = manifest.signature
        ensemble = ENSEMBLES[name][1](self.bundle, manifest, device, self._trust)
        run = in_batches(signature, ensemble.run, ensemble.limits)

        def one(member: int, inputs: Inputs) -> Mapping[str, Array]:
            found = run(np.array([member], np.int64), inputs)
            return {output.name: np.asarray(found[f"member_{output.name}"])[0] for output in signature.outputs}

        return Source(name=name, runtime=ensemble.runtime, run=one)

    @property
    def _trust(self) -> Trust:
        return bundle_trust(self.found.manifest, self.found.digest, asked=self.trust)

    def _why_no_program(self) -> str:
        """Why no program can be run in float64; "" where one can."""
        manifest = self.found.manifest
        said = f"a bundle of the family {manifest.source.family} does not hold its network"
        if Format.PT2 not in manifest.formats:
            return f"{said}, and there is no {PT2_FILE} that could be run in float64"
        if not self._trust.covers((self.bundle / PT2_FILE).read_bytes()):
            trust = spelled("trust=True", "--trust")
            return f"{said}, and {PT2_FILE} is a program that you did not build: give {trust} if you know who did"
        return ""

    def _confirmed(self, source: Source, golden: Golden, what: str) -> Source | None:
        """The source if it computes the golden samples; otherwise the weights or the network are others."""
        signature, member = self.found.manifest.signature, int(golden.members[0])
        found = source.run(member, taken(signature, golden.inputs, slice(0, golden.samples)))
        for output in (one for one in signature.outputs if one.is_floating):
            known = golden.outputs[output.name][0]
            wrong = (
                row_errors(found[output.name], known) if output.has_batch else relative_l2(found[output.name], known)
            )
            if wrong.max(initial=0.0) > _SAME:
                self.not_run[FLOAT64] = (
                    f"{what} in float64 does not give the reference of the golden samples "
                    f"({output.name} is off by {wrong.max():.1e})"
                )
                return None
        return source


def _difference(ensemble: Ensemble, manifest: Manifest) -> str:
    """What members, inputs or outputs are, and are in the bundle; "" where they are the same. Kinds may be others."""
    if ensemble.members != manifest.members:
        return f"it has {number_of(ensemble.members, 'member')}, the bundle {manifest.members}"
    own, known = (
        [f"{tensor.name} {tensor.dtype} {list(tensor.shape)}" for tensor in (*signature.inputs, *signature.outputs)]
        for signature in (ensemble.signature, manifest.signature)
    )
    return "" if own == known else f"it has {', '.join(own)}, the bundle {', '.join(known)}"


def _program_in_double(content: bytes, found: Identified) -> Callable[[int, Inputs], dict[str, Array]]:
    """A trusted `.pt2` program in which everything that would be narrower is float64."""
    signature = found.manifest.signature
    module = load_torch(content, PT2_FILE, "cpu").double()

    def run(member: int, inputs: Inputs) -> dict[str, Array]:
        tensors = (torch.from_numpy(np.array(inputs[item.name])) for item in signature.inputs)
        given = [tensor.double() if tensor.is_floating_point() else tensor for tensor in tensors]
        with torch.no_grad(), Widened():
            raw = module(torch.tensor(member), *given)
        leaves = [raw] if isinstance(raw, torch.Tensor) else list(raw)
        return {output.name: leaf.numpy() for output, leaf in zip(signature.outputs, leaves, strict=True)}

    return run


def check_artifacts(asked: Sequence[str]) -> None:
    """Refuse names of nothing, before anything is computed.

    Raises:
        ParityError: with those there are.
    """
    able = (FLOAT64, *RUNNERS, *ENSEMBLES, "all")
    unknown = next((name for name in asked if name not in able), None)
    if unknown is not None:
        raise ParityError(f"there is no runtime {unknown!r}; choose among {', '.join(able)}")
