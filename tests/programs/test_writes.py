"""What a program may write is told without decomposing it; nothing that the decomposition finds is missed."""

import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hnexport.programs.tracing import exported
from hnexport.programs.writes import may_write


class Net(nn.Module):
    calls: Tensor
    spread: Tensor

    def __init__(self, forward: Callable[["Net", Tensor], Tensor]) -> None:
        super().__init__()
        self.compute = forward
        self.register_buffer("calls", torch.zeros(4))
        self.register_buffer("spread", torch.ones(4))
        self.weight = nn.Parameter(torch.randn(4, 4, 1, 1))
        self.norm = nn.BatchNorm2d(4)
        self.table = nn.Embedding(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.compute(self, x)


def counted(net: Net, x: Tensor) -> Tensor:
    net.calls.add_(1)
    return x + net.calls[0]


def assigned(net: Net, x: Tensor) -> Tensor:
    net.calls = net.calls + 1
    return x + net.calls[0]


def renormed(net: Net, x: Tensor) -> Tensor:
    return x + F.embedding(torch.tensor([1]), net.table.weight, max_norm=0.1).sum()


def in_pieces(_: Net, x: Tensor) -> Tensor:
    for piece in x.split(1, dim=1):
        piece.mul_(2)
    return x


def residual(net: Net, x: Tensor) -> Tensor:
    y = F.relu_(net.norm(F.conv2d(x, net.weight)))
    y += F.max_pool2d(F.conv2d(x, net.weight), 1)
    return y.flatten(1).mul_(2)


def filled(_: Net, x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y[:, 0] = x[:, 1]
    y.view(-1).add_(1)
    return y + x.clone().add_(1)


WRITE = {
    "a counter": counted,
    "an assigned counter": assigned,
    "its input": lambda _, x: x.add_(1),
    "a part of its input": lambda _, x: x[:, 0].mul_(2),
    "a view of its input": lambda _, x: x.reshape(-1).add_(1),
    "pieces of its input": in_pieces,
    "its input, which is contiguous": lambda _, x: x.contiguous().add_(1),
    "its input, which has the dtype": lambda _, x: x.to(torch.float32).add_(1),
    "a parameter": lambda net, x: x + net.weight.detach().mul_(2).sum(),
    "the rows that it looks up": renormed,
    "running statistics": lambda net, x: F.batch_norm(x, net.calls, net.spread, training=True),
}
LEFT_OPEN = {
    "after dropout in evaluation": lambda _, x: F.dropout(x, training=False).add_(1),
    "an instance norm's statistics": lambda net, x: F.instance_norm(x, net.calls, net.spread, use_input_stats=True),
    "branches": lambda _, x: torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: x - 1, (x,)),
}
WRITE_NOTHING = {
    "no operator in place": lambda net, x: net.norm(x) * 2,
    "what it made itself": residual,
    "zeros that it fills": filled,
    "a size": lambda _, x: x * (x.shape[0] + 1),
}


def program(forward: Callable[[Net, Tensor], Tensor]) -> torch.export.ExportedProgram:
    dynamic = {"x": {0: torch.export.Dim("batch", min=1)}}
    return exported(Net(forward).eval(), (), {"x": torch.randn(2, 4, 3, 3)}, dynamic)


def writes(found: torch.export.ExportedProgram) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        signature = found.run_decompositions({}).graph_signature
    return bool(signature.buffers_to_mutate or signature.parameters_to_mutate or signature.user_inputs_to_mutate)


@pytest.mark.parametrize("name", WRITE)
def test_what_might_be_written_is_seen(name: str) -> None:
    found = program(WRITE[name])
    assert writes(found), "the decomposition does not find it"
    assert may_write(found)


@pytest.mark.parametrize("name", WRITE_NOTHING)
def test_what_a_program_made_itself_it_may_write(name: str) -> None:
    found = program(WRITE_NOTHING[name])
    assert not may_write(found)
    assert not writes(found)


@pytest.mark.parametrize("name", LEFT_OPEN)
def test_what_cannot_be_told_is_left_to_the_decomposition(name: str) -> None:
    assert may_write(program(LEFT_OPEN[name]))
