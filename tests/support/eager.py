"""Ensembles of small networks with several inputs and outputs, and PyTorch itself as an artifact of them."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from ensembles import slots_of, stacked
from torch import Tensor, nn

from hnexport.ensemble import Ensemble
from hnexport.families import MODULES
from hnexport.parity.limits import FULL, Limits
from hnexport.spec import BATCH, OutputKind, OutputSpec, Signature, TensorSpec
from hnexport.spec.source import EnsembleSource
from hnexport.spec.summaries import SummaryKind, summaries

Outputs = Mapping[str, np.ndarray]


class Encoder(nn.Module):
    """Tokens and their weights; classes, a value for each token, the winner, and one number of the whole batch."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(20, 16)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=True)
        self.classify, self.value = nn.Linear(16, 3), nn.Linear(16, 2)

    def forward(self, tokens: Tensor, weighting: Tensor) -> tuple[Tensor, ...]:
        hidden = self.layer(self.tokens(tokens))
        pooled = (hidden * weighting[:, :, None]).sum(1) / weighting.sum(1, keepdim=True)
        classes, values = self.classify(pooled), self.value(hidden)
        return classes, values, classes.argmax(1), values.abs().amax()


ENCODER = Signature(
    inputs=(
        TensorSpec(name="tokens", dtype="int64", shape=(BATCH, 7)),
        TensorSpec(name="weighting", dtype="float32", shape=(BATCH, 7)),
    ),
    outputs=(
        OutputSpec(name="classes", dtype="float32", shape=(BATCH, 3), kind=OutputKind.LOGITS, axis=1),
        OutputSpec(name="values", dtype="float32", shape=(BATCH, 7, 2)),
        OutputSpec(name="winner", dtype="int64", shape=(BATCH,)),
        OutputSpec(name="largest", dtype="float32", shape=()),
    ),
)


class Linear(nn.Module):
    """`x -> y`, a value."""

    def __init__(self, outputs: int = 2) -> None:
        super().__init__()
        self.layer = nn.Linear(5, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


LINEAR = Signature(
    inputs=(TensorSpec(name="x", dtype="float32", shape=(BATCH, 5)),),
    outputs=(OutputSpec(name="y", dtype="float32", shape=(BATCH, 2)),),
)


def ensemble_of(
    make: Callable[[], nn.Module], signature: Signature, examples: dict[str, Tensor], members: int = 3, seed: int = 0
) -> Ensemble:
    modules = []
    for member in range(members):
        torch.manual_seed(100 * seed + member)
        modules.append(make().eval())
    slots = slots_of(modules[0])
    stored, generator = stacked(modules, slots)
    return Ensemble(
        name="small",
        origin="a test",
        members=members,
        signature=signature,
        slots=slots,
        stored=stored,
        generator=generator,
        network=modules[0],
        examples=examples,
        dynamic={},
        source=EnsembleSource(family=MODULES),
    )


def encoder(seed: int = 0) -> Ensemble:
    draw = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, 20, (2, 7), generator=draw)
    tokens[0, 0], tokens[0, 1] = 0, 19
    examples = {"tokens": tokens, "weighting": torch.rand(2, 7, generator=draw) + 0.1}
    return ensemble_of(Encoder, ENCODER, examples, seed=seed)


def linear(seed: int = 0, members: int = 3) -> Ensemble:
    return ensemble_of(Linear, LINEAR, {"x": torch.randn(2, 5, generator=torch.Generator().manual_seed(seed))}, members)


class EagerRunner:
    """Float32 eager PyTorch as an artifact, with a fault or without one."""

    runtime = "torch eager"

    def __init__(
        self, ensemble: Ensemble, fault: Callable[[int, dict, dict], Any] | None = None, limits: Limits = FULL
    ) -> None:
        """`fault(cond_id, inputs, outputs)` changes inputs before the call (no outputs yet), or outputs after it."""
        self.ensemble, self.limits, self.fault = ensemble, limits, fault

    def run(self, cond_id: int, inputs: Outputs) -> Outputs:
        given = {name: torch.from_numpy(np.array(array)) for name, array in inputs.items()}
        outputs: dict[str, np.ndarray] = {}
        if self.fault is not None:
            self.fault(cond_id, given, outputs)
        with torch.no_grad():
            outputs |= {name: tensor.numpy() for name, tensor in self.ensemble(cond_id, given).items()}
        if self.fault is not None:
            self.fault(cond_id, given, outputs)
        return outputs


def together(ensemble: Ensemble) -> Callable[[np.ndarray, Outputs], dict[str, np.ndarray]]:
    """`run(cond_ids, inputs)`: what `hnexport.spec.summaries` names, in float32."""
    runner = EagerRunner(ensemble)

    def run(cond_ids: np.ndarray, inputs: Outputs) -> dict[str, np.ndarray]:
        each = [runner.run(int(cond_id), inputs) for cond_id in cond_ids]
        found = {}
        for item in summaries(ensemble.signature):
            members = np.stack([one[item.of] for one in each])
            axis = ensemble.signature.output(item.of).axis
            found[item.name] = said_of(item.kind, members, None if axis is None else axis + 1)
        return found

    return run


def said_of(kind: SummaryKind, members: np.ndarray, axis: int | None) -> np.ndarray:
    if kind is SummaryKind.MEMBERS:
        return members
    if kind in (SummaryKind.MEAN, SummaryKind.VARIANCE):
        return members.mean(axis=0) if kind is SummaryKind.MEAN else members.var(axis=0)
    assert axis is not None  # of probabilities
    p = torch.softmax(torch.from_numpy(members), dim=axis)
    q = p.mean(0)

    def entropy(p: torch.Tensor, dim: int) -> torch.Tensor:
        return -torch.special.xlogy(p, p).sum(dim)

    mean = {
        SummaryKind.MEAN_PROBABILITIES: lambda: q,
        SummaryKind.PREDICTIVE_ENTROPY: lambda: entropy(q, axis - 1),
        SummaryKind.MUTUAL_INFORMATION: lambda: entropy(q, axis - 1) - entropy(p, axis).mean(0),
    }
    return mean[kind]().numpy()
