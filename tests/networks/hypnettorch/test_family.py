"""What a manifest says of a live pair of hypnettorch, and the generator over stored tensors and steps."""

import copy
import dataclasses
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from live_pairs import MEMBERS, PAIRS

from hnexport.ensemble import Ensemble
from hnexport.errors import BundleError, CheckpointError
from hnexport.families import HYPNETTORCH, family
from hnexport.names import GUARD
from hnexport.networks.hypnettorch.family import check, check_described, generator, plan
from hnexport.networks.steps.generated import is_allowed
from hnexport.records import to_json
from hnexport.spec import StoredKind


@pytest.fixture(scope="module")
def ensemble() -> Ensemble:
    """With tensors of every kind: shared, the members' own, the hypernetwork's, embeddings."""
    return PAIRS["HContainer with heads, MLP"].ensemble()


def test_the_family_is_known_by_its_name(ensemble: Ensemble) -> None:
    found = family(HYPNETTORCH)
    spec = to_json(ensemble.source.spec)
    found.check(spec, 0)
    found.check_described(ensemble, ensemble.source.spec)
    assert ensemble.source.family == HYPNETTORCH
    assert found.ensemble(ensemble, spec, ensemble.tensors, "") is None
    assert not plan(spec).hypernets


def test_the_generator_comes_again_from_the_stored_tensors(ensemble: Ensemble) -> None:
    again = generator(ensemble, to_json(ensemble.source.spec), ensemble.tensors)
    for member in (0, MEMBERS - 1, MEMBERS, -1):
        expected, found = ensemble.generator(torch.tensor(member)), again(torch.tensor(member))
        assert list(found) == list(expected)
        assert all(torch.equal(found[name], expected[name]) for name in expected if name != GUARD)
        assert bool(found[GUARD].isnan().all()) == (member in (MEMBERS, -1))


def test_a_generator_takes_no_other_tensors(ensemble: Ensemble) -> None:
    spec, tensors = ensemble.source.spec, ensemble.tensors
    with pytest.raises(CheckpointError, match="missing"):
        generator(ensemble, spec, dict(list(tensors.items())[1:]))
    with pytest.raises(CheckpointError, match="expected shape"):
        generator(ensemble, spec, {name: tensor[None] for name, tensor in tensors.items()})


Edit = Callable[[dict[str, Any]], None]
WRONG_STEPS: dict[str, tuple[Edit, str]] = {
    "a field more": (lambda spec: spec.update(code="x"), "expected steps and outputs"),
    "no steps": (lambda spec: spec.update(steps=3), "expected a list"),
    "no step": (lambda spec: spec["steps"].append("x"), "expected .operator, arguments, named arguments."),
    "no operator": (lambda spec: spec["steps"].append(["os.system", [], {}]), "is no operator of PyTorch's"),
    "a later step": (lambda spec: spec["steps"][0][1].append({"step": 0}), "does not come before it"),
    "an object": (lambda spec: spec["steps"][0][1].append({"code": "x"}), "is no value"),
    "two keys": (lambda spec: spec["steps"][0][1].append({"step": 0, "tensor": "x"}), "is no value"),
    "an output that is a number": (lambda spec: spec["outputs"].update(x=1), "expected a tensor"),
}


@pytest.mark.parametrize("name", WRONG_STEPS)
def test_what_are_no_steps_is_refused(name: str, ensemble: Ensemble) -> None:
    edit, message = WRONG_STEPS[name]
    spec = copy.deepcopy(to_json(ensemble.source.spec))
    edit(spec)
    with pytest.raises(BundleError, match=rf"^\$\.source\.spec.*{message}"):
        check(spec, 0)


def first_output(spec: dict[str, Any]) -> str:
    return next(iter(spec["outputs"]))


def too_large(spec: dict[str, Any]) -> None:
    spec["steps"].append(["aten.full.default", [[2**40], 0.0], {}])


HARMFUL: dict[str, tuple[Edit, str]] = {
    "reads a file": (lambda spec: spec["steps"].append(["aten.from_file.default", ["/etc/passwd"], {}]), "may use"),
    "writes": (lambda spec: spec["steps"].append(["aten.add_.Tensor", [{"step": 0}, 1], {}]), "may use"),
    "memory that was not written": (
        lambda spec: spec["steps"].append(["aten.empty.memory_format", [[3]], {}]),
        "may use",
    ),
    "views of other memory": (
        lambda spec: spec["steps"].append(["aten.as_strided.default", [{"step": 0}, [9], [1]], {}]),
        "may use",
    ),
    "noise": (lambda spec: spec["steps"].append(["aten.rand_like.default", [{"step": 0}], {}]), "may use"),
    "no such operator": (lambda spec: spec["steps"].append(["aten.nothing.default", [], {}]), "may use"),
    "more memory than there is": (too_large, "compute far more than the weights"),
    "arguments that do not fit": (lambda spec: spec["steps"][0][1].append(7), "the steps fail"),
    "a tensor that is not stored": (
        lambda spec: spec["outputs"].update({first_output(spec): {"tensor": "hypernet.x"}}),
        "no tensor of the hypernetwork",
    ),
    "a slot that nothing fills": (lambda spec: spec["outputs"].pop(first_output(spec)), "is not filled exactly once"),
    "another shape": (lambda spec: spec["outputs"].update({first_output(spec): {"step": 0}}), "gets .*expected"),
}


@pytest.mark.parametrize("name", HARMFUL)
def test_steps_that_harm_or_contradict_the_tables_do_not_run(name: str, ensemble: Ensemble) -> None:
    edit, message = HARMFUL[name]
    spec = copy.deepcopy(to_json(ensemble.source.spec))
    edit(spec)
    check(spec, 0)
    with pytest.raises(BundleError, match=message):
        generator(ensemble, spec, ensemble.tensors)


def test_operators_that_may_run_are_pytorchs_without_effects() -> None:
    aten = torch.ops.aten
    assert all(map(is_allowed, (aten.linear.default, aten.relu.default, aten.slice.Tensor, aten.softplus.default)))
    assert not any(map(is_allowed, (aten.relu_.default, aten.bernoulli.default, aten.set_.source_Tensor, len)))


def edited(table: str, position: int, **changes: Any) -> Callable[[Ensemble], Ensemble]:
    def edit(ensemble: Ensemble) -> Ensemble:
        items = list(getattr(ensemble, table))
        items[position] = dataclasses.replace(items[position], **changes)
        return dataclasses.replace(ensemble, **{table: tuple(items)})

    return edit


def own(ensemble: Ensemble) -> int:
    return next(n for n, item in enumerate(ensemble.stored) if item.kind is StoredKind.MEMBER)


CONTRADICTIONS: dict[str, Callable[[Ensemble], Ensemble]] = {
    "no hypernetwork": lambda e: edited("stored", 0, hypernet=None)(e),
    "a slot of a hypernetwork's": lambda e: edited("stored", 0, slot=e.slots[0].name)(e),
    "another name": lambda e: edited("stored", own(e), name="member.other")(e),
    "another shape": lambda e: edited("stored", own(e), shape=(3, 1))(e),
    "a slot that is none": lambda e: edited("stored", own(e), slot="x")(e),
    "tied": lambda e: edited("slots", 0, alias_of=e.slots[1].name)(e),
}


@pytest.mark.parametrize("edit", CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_tables_that_contradict_each_other_are_refused(
    ensemble: Ensemble, edit: Callable[[Ensemble], Ensemble]
) -> None:
    check_described(ensemble, ensemble.source.spec)
    with pytest.raises(BundleError, match=r"^\$\.(slots|stored): "):
        check_described(edit(ensemble), ensemble.source.spec)


def test_the_family_is_read_without_torch() -> None:
    code = "import sys, hnexport.networks.hypnettorch.family; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


def test_nothing_in_the_library_imports_hypnettorch(ensemble: Ensemble) -> None:
    code = (
        "import sys, importlib; [importlib.import_module(f'hnexport.networks.{n}') "
        "for n in ('hypnettorch.pair', 'hypnettorch.captured', 'hypnettorch.live', 'hypnettorch.network', "
        "'hypnettorch.names', 'steps.reading', 'steps.generated')]; "
        "print('hypnettorch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
