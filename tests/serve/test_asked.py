"""What a request asks for, from its parameters, its condition ids and the outputs that it names."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hnexport.runtime import LoadedEnsemble, Until
from hnexport.runtime.until import Answer
from hnexport.serve.asked import Asked, asked
from hnexport.serve.outputs import summary_specs
from hnexport.serve.refusal import RefusedError
from hnexport.serve.work import Work, run_together


@pytest.fixture
def wish(direct: LoadedEnsemble) -> Callable[..., Asked]:
    def of(cond_id: int | None = None, wanted: tuple[str, ...] = (), count: int = 3, **parameters: Any) -> Asked:
        return asked(
            parameters,
            members=count,
            signature=direct.signature,
            precisions=["float32", "int8"],
            cond_id=cond_id,
            wanted=wanted,
        )

    return of


@pytest.mark.parametrize("how", [{"member": 2}, {"cond_id": np.array([2])}, {"cond_id": np.array(2, np.uint8)}])
def test_one_member_is_named_by_a_parameter_or_by_the_condition_id(
    wish: Callable[..., Asked], how: dict[str, Any]
) -> None:
    found = wish(**how)
    assert (found.member, found.members, found.summary, found.precision) == (2, (), False, "float32")


@pytest.mark.parametrize("how", [{"members": "2,0"}, {"members": [2, 0]}, {"cond_id": np.array([2, 0])}])
def test_several_members_keep_their_order(wish: Callable[..., Asked], how: dict[str, Any]) -> None:
    assert wish(**how).members == (2, 0)
    assert wish(members="all").members == (0, 1, 2)


def test_the_only_member_need_not_be_named(wish: Callable[..., Asked]) -> None:
    assert wish(count=1).member == 0


def test_a_summary_is_of_all_members_where_none_are_named(wish: Callable[..., Asked]) -> None:
    assert wish(mean=True).members == (0, 1, 2)
    assert wish(mean=True, members="1,2").members == (1, 2)
    assert wish(wanted=["mean_probabilities"]).summary
    assert not wish(member=0, wanted=["logits"]).summary


def test_until_is_the_runtimes_rule(wish: Callable[..., Asked]) -> None:
    assert wish(until=0.8).until == Until(confidence=0.8)
    assert wish(until="votes", least=2).until == Until(answer=Answer.VOTES, least=2)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({}, "which member"),
        ({"member": 3}, "member 3 does not exist"),
        ({"member": True}, "whole number"),
        ({"member": 1, "members": "all"}, "named twice, by member and members"),
        ({"member": 1, "cond_id": np.array([1])}, "named twice, by member and cond_id"),
        ({"cond_id": np.array([0, 2**40])}, "does not exist"),
        ({"cond_id": np.array([0.5])}, "whole number"),
        ({"members": "0,x"}, '"all" or numbers'),
        ({"members": "0,1_0"}, '"all" or numbers'),
        ({"members": "\uff11"}, '"all" or numbers'),
        ({"members": [1, 1]}, "named twice among"),
        ({"members": []}, "empty"),
        ({"mean": "yes"}, "true or false"),
        ({"least": 2}, "least is for until"),
        ({"until": 2}, "confidence"),
        ({"until": [1]}, "until is"),
        ({"memeber": 1}, "there is no parameter 'memeber'"),
        ({"member": 0, "precision": "float16"}, "has the precision float32, int8"),
        ({"member": 0, "precision": []}, "has the precision"),
    ],
)
def test_what_contradicts_itself_is_refused_with_400(
    wish: Callable[..., Asked], how: dict[str, Any], said: str
) -> None:
    with pytest.raises(RefusedError, match=said) as refused:
        wish(**how)
    assert refused.value.status == 400


def test_the_outputs_of_a_summary_are_those_that_metadata_promises(
    direct: LoadedEnsemble, wish: Callable[..., Asked], images: NDArray[np.float32]
) -> None:
    promised = {spec.name: spec for spec in summary_specs(direct.signature)}
    (ran,) = run_together([Work(ensemble=direct, asked=wish(until=0.9), inputs={"image": images})], 1)
    assert set(ran.outputs) == set(promised)
    for name, array in ran.outputs.items():
        assert str(array.dtype) == promised[name].dtype
        assert array.ndim == len(promised[name].shape)
