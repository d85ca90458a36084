"""What a factory returns says what it is, and what the command line may say of it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from live_pairs import PAIRS
from module_recipes import RECIPES
from torch import Tensor, nn

from hnexport import Ensemble
from hnexport.errors import FactoryError, SpecError
from hnexport.factories.made import Asked, is_returned, source_of
from hnexport.families import HYPERNETWORK, MODULES, RECIPE, Checkpoint

EXAMPLES = {"input": torch.zeros(2, 5)}


def net(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2)).eval()


class Conditional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.eye(3, 5))

    def forward(self, task: Tensor, row: Tensor) -> Tensor:
        return row * self.table[task]


def made(value: Any, **asked: Any) -> Ensemble | Checkpoint:
    return source_of("train.py:make", value, Asked(**asked))


@pytest.mark.parametrize("kind", [list, tuple, iter, nn.ModuleList], ids=lambda kind: kind.__name__)
def test_a_list_of_modules_however_it_is_kept(kind: Callable[..., Any]) -> None:
    ensemble = made(kind([net(0), net(1)]), example_inputs=EXAMPLES, outputs={"logits": "logits"})
    assert (ensemble.members, ensemble.source.family, ensemble.signature.outputs[0].name) == (2, MODULES, "logits")


def test_a_module_with_a_recipe_and_its_members_or_without() -> None:
    case = RECIPES["convolution"]
    asked = {"example_inputs": case.inputs(2, 1), "seed": 3}
    counted, said = (
        made((case.module(), case.recipe, 3), **asked),
        made((case.module(), case.recipe), members=3, **asked),
    )
    assert counted.source == said.source
    assert counted.source.family == RECIPE
    assert counted.origin.endswith("random weights, seed 3")


def test_a_recipe_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('[[rules]]\npattern = "*"\nsource = "member"\n')
    assert made((net(), tmp_path / "r.toml", 2), example_inputs=EXAMPLES).members == 2


def test_a_conditional_module_and_its_members_or_without() -> None:
    for value, asked in (((Conditional().eval(), 3), {}), (Conditional().eval(), {"members": 3})):
        ensemble = made(value, example_inputs={"row": torch.zeros(2, 5)}, **asked)
        assert ensemble.members == 3
        assert "captured as it is" in ensemble.origin


def test_a_live_hypernetwork_and_main_network_of_hypnettorch() -> None:
    from hypnettorch.hnets import HMLP
    from hypnettorch.mnets import MLP

    with torch.random.fork_rng():
        torch.manual_seed(0)
        mnet = MLP(n_in=5, n_out=2, hidden_layers=[4], no_weights=True, verbose=False).eval()
        hnet = HMLP(mnet.param_shapes, layers=[6], cond_in_size=3, num_cond_embs=3, verbose=False).eval()
    row = torch.randn(4, 5)
    ensemble = made((hnet, mnet), example_inputs={"x": row[:2]}, outputs={"logits": "logits"})
    assert isinstance(ensemble, Ensemble)
    assert ensemble.members == 3
    for member in range(3):
        expected = mnet.forward(row, weights=hnet.forward(cond_id=member))
        torch.testing.assert_close(ensemble(member, {"x": row})["logits"], expected)
    assert made((hnet, mnet), example_inputs={"x": row[:2]}, members=2).members == 2


def test_a_factory_says_more_of_hypnettorchs_networks_in_a_dictionary() -> None:
    hnet, mnet = PAIRS["HMLP, MLP with batch norm"].modules()
    said = {"members": 2, "condition": [0, 0], "name": "mine", "example_inputs": {"row": torch.zeros(2, 16)}}
    found = made((hnet, mnet, said), outputs={"logits": "logits"})
    assert (found.name, found.members, found.signature.inputs[0].name) == ("mine", 2, "row")
    samples = {"row": torch.ones(4, 16)}
    assert list(made((hnet, mnet, said), example_inputs=samples).examples["row"].shape) == [2, 16]


def test_an_ensemble_is_itself() -> None:
    ensemble = Ensemble.from_modules([net(0), net(1)], example_inputs=EXAMPLES)
    assert made(ensemble) is ensemble
    assert is_returned(ensemble)
    assert not is_returned(net)


REFUSED = {
    "nothing": (lambda: None, {}, "returned nothing; expected one of\n  an hnexport.Ensemble"),
    "numbers": (lambda: [1, 2], {}, r"returned \[int, int\]; expected one of"),
    "an empty list": (list, {}, r"returned \[\]; expected one of"),
    "no inputs": (lambda: [net()], {}, "returned a list of modules: say what forward takes with --input"),
    "members of a list": (
        lambda: [net()],
        {"members": 2, "example_inputs": EXAMPLES},
        "returned a list of modules: leave out --members",
    ),
    "a seed of a list": (lambda: [net()], {"seed": 2, "example_inputs": EXAMPLES}, "leave out --seed"),
    "inputs of an ensemble": (
        lambda: Ensemble.from_modules([net(0)], example_inputs=EXAMPLES),
        {"example_inputs": EXAMPLES},
        "returned an hnexport.Ensemble: leave out --input",
    ),
    "of hypnettorch's networks what they have not": (
        lambda: (*PAIRS["HMLP, MLP"].modules(), {"conditions": 3}),
        {"example_inputs": EXAMPLES},
        "the factory says 'conditions' of hnet and mnet, expected members, condition, uncond_input",
    ),
    "members of hypnettorch's networks twice": (
        lambda: (*PAIRS["HMLP, MLP"].modules(), {"members": 2}),
        {"members": 2, "example_inputs": EXAMPLES},
        "the factory says members: leave out --members",
    ),
    "no inputs of hypnettorch's networks": (
        lambda: (*PAIRS["HMLP, MLP"].modules(), {"members": 2}),
        {},
        r"returned \(hnet, mnet\) of hypnettorch, or .*: say what forward takes",
    ),
    "no members": (net, {"example_inputs": EXAMPLES}, "one module alone is one forward.*: how many members"),
    "a network alone": (
        net,
        {"example_inputs": EXAMPLES, "members": 2},
        "forward takes input alone, which would be its condition id, .* are members of a list",
    ),
    "a dict": (lambda: {"hnet": net(), "mnet": net()}, {}, "returned a dict of 'hnet', 'mnet'; expected one of"),
    "a class": (lambda: nn.Linear, {}, "returned the class Linear itself; expected one of"),
    "members twice": (
        lambda: (Conditional().eval(), 3),
        {"members": 2, "example_inputs": EXAMPLES},
        "the factory says 3 members: leave out --members",
    ),
}


@pytest.mark.parametrize(("make", "asked", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_does_not_go_together_is_refused(make: Callable[..., Any], asked: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        made(make(), **asked)


def test_an_iterator_that_fails_is_the_users() -> None:
    def modules() -> Iterator[nn.Sequential]:
        yield net()
        raise RuntimeError("no second")

    with pytest.raises(FactoryError, match="making the next module of the list: RuntimeError: no second"):
        made(modules(), example_inputs=EXAMPLES)


def test_a_hypernetwork_and_its_network_with_members_or_without() -> None:
    from hypernetworks import CASES

    vector, both = CASES["vector"], CASES["both"]
    ensemble = made(vector.modules(), example_inputs=vector.given())
    assert (ensemble.members, ensemble.signature.conditions) == (1, ("condition",))
    for value, asked in (((*both.modules(), 3), {}), (both.modules(), {"members": 3})):
        ensemble = made(value, example_inputs=both.given(), **asked)
        assert (ensemble.members, ensemble.source.family) == (3, HYPERNETWORK)
