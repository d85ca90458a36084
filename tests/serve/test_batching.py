"""Requests that wait, and the calls that they become."""

import asyncio
from typing import Any, Never

import numpy as np
import pytest
from numpy.typing import NDArray
from shared import built_list

from hnexport.runtime import LoadedEnsemble, load
from hnexport.serve.asked import asked
from hnexport.serve.batching import Batcher
from hnexport.serve.metrics import Metrics
from hnexport.serve.refusal import RefusedError
from hnexport.serve.work import Ran, Work, can_join


def work_of(ensemble: Any, inputs: dict[Any, Any] | dict[str, NDArray[Any]], **parameters: Any) -> Work:
    wish = asked(parameters, members=ensemble.members, signature=ensemble.signature, precisions=["float32"])
    return Work(ensemble=ensemble, asked=wish, inputs=inputs)


def gathered(
    works: list[Work] | list[Any],
    *,
    batch: int = 32,
    queue: int = 1024,
    workers: int = 1,
    timeout_s: float | None = None,
) -> list[Ran | BaseException]:
    """What each work gets, all having come at once: a `Ran`, or the error."""

    async def run() -> list[Ran | BaseException]:
        batcher = Batcher(workers=workers, batch=batch, window_s=0.05, queue=queue, metrics=Metrics())
        found = await asyncio.gather(*(batcher.run(work, timeout_s) for work in works), return_exceptions=True)
        assert (batcher.rows, batcher._waiting) == (0, {})
        await batcher.close()
        return found

    return asyncio.run(run())


def test_requests_for_one_member_are_one_call_with_the_bits_of_that_call(
    direct: LoadedEnsemble, images: NDArray[np.float32]
) -> None:
    works = [work_of(direct, {"image": images[:2]}, member=1), work_of(direct, {"image": images[2:5]}, member=1)]
    first, second = gathered(works)
    assert (first.batch, first.batch_rows, first.offset) == (second.batch, 5, 0)
    assert (second.batch_rows, second.offset) == (5, 2)
    whole = direct.predict(images[:5], member=1)
    assert first.outputs["logits"].tobytes() == whole[:2].tobytes()
    assert second.outputs["logits"].tobytes() == whole[2:].tobytes()


@pytest.mark.parametrize("parameters", [{"members": "2,0"}, {"mean": True}, {"until": 0.15}])
def test_what_members_say_together_is_shared_out_by_sample(
    direct: LoadedEnsemble, images: NDArray[np.float32], parameters: dict[str, Any]
) -> None:
    works = [work_of(direct, {"image": images[at : at + 2]}, **parameters) for at in (0, 2, 4)]
    found = gathered(works)
    (alone,) = gathered([work_of(direct, {"image": images}, **parameters)])
    assert {ran.batch_rows for ran in found} == {6}
    for name, whole in alone.outputs.items():
        axis = int(name in ("logits", "member_logits"))
        assert np.concatenate([ran.outputs[name] for ran in found], axis=axis).tobytes() == whole.tobytes()


def test_other_members_and_other_questions_are_other_calls(direct: LoadedEnsemble, images: NDArray[np.float32]) -> None:
    asked_for = [{"member": 0}, {"member": 1}, {"members": "0,1"}, {"mean": True}, {"until": 0.5}]
    found = gathered([work_of(direct, {"image": images[:1]}, **parameters) for parameters in asked_for])
    assert len({ran.batch for ran in found}) == len(asked_for)


def test_a_batch_holds_no_more_samples_than_it_may(direct: LoadedEnsemble, images: NDArray[np.float32]) -> None:
    found = gathered([work_of(direct, {"image": images[:2]}, member=0) for _ in range(5)], batch=5)
    assert sorted(ran.batch_rows for ran in found) == [2, 4, 4, 4, 4]


def test_what_does_not_fit_into_the_queue_is_refused_with_503(
    direct: LoadedEnsemble, images: NDArray[np.float32]
) -> None:
    found = gathered([work_of(direct, {"image": images}, member=0) for _ in range(5)], batch=6, queue=20)
    assert [type(one).__name__ for one in found] == [*["Ran"] * 4, "RefusedError"]
    assert (found[4].status, found[4].headers) == (503, {"Retry-After": "1"})


def test_a_request_whose_time_is_over_is_refused_and_leaves_the_queue(
    direct: LoadedEnsemble, images: NDArray[np.float32]
) -> None:
    (late,) = gathered([work_of(direct, {"image": images}, member=0)], timeout_s=1e-4)
    assert isinstance(late, RefusedError)
    assert late.status == 503


def test_a_client_that_goes_takes_its_request_along(direct: LoadedEnsemble, images: NDArray[np.float32]) -> None:
    async def run() -> Ran:
        batcher = Batcher(workers=1, batch=32, window_s=0.2, queue=100, metrics=Metrics())
        going = asyncio.ensure_future(batcher.run(work_of(direct, {"image": images[:2]}, member=0)))
        staying = asyncio.ensure_future(batcher.run(work_of(direct, {"image": images[2:3]}, member=0)))
        await asyncio.sleep(0)
        assert batcher.rows == 3
        going.cancel()
        ran = await staying
        await batcher.close()
        return ran

    assert asyncio.run(run()).batch_rows == 1


@pytest.mark.thorough
def test_one_request_that_cannot_be_computed_spoils_no_other() -> None:
    ensemble = load(built_list("transformer").path, provider="cpu", threads=1)
    assert can_join(ensemble.signature)
    spec = ensemble.signature.inputs
    good = {
        item.name: np.ones([2 if isinstance(size, str) else size for size in item.shape], item.dtype) for item in spec
    }
    tokens = next(item.name for item in spec if item.dtype == "int64")
    bad = good | {tokens: np.full_like(good[tokens], 10**6)}
    fine, refused = gathered([work_of(ensemble, good, member=0), work_of(ensemble, bad, member=0)])
    assert isinstance(refused, RefusedError)
    assert refused.status == 422
    name = ensemble.signature.outputs[0].name
    assert fine.outputs[name].tobytes() == ensemble.outputs(0, good)[name].tobytes()


def test_a_fault_of_the_runtime_is_told_to_everybody_who_waited(
    direct: LoadedEnsemble, images: NDArray[np.float32]
) -> None:
    class Broken:
        signature, members = direct.signature, direct.members

        def outputs(self, member: int, inputs: Any) -> Never:
            raise MemoryError("no memory")

    found = gathered([work_of(Broken(), {"image": images[:1]}, member=0) for _ in range(2)])
    assert [type(one) for one in found] == [MemoryError, MemoryError]


def test_samples_of_different_lengths_are_different_calls() -> None:
    ensemble = load(built_list("reader").path, provider="cpu", threads=1)
    works = []
    for length in (4, 5, 4):
        sizes = {"batch": 1}
        inputs = {
            item.name: np.ones(
                [sizes.get(size, length) if isinstance(size, str) else size for size in item.shape], item.dtype
            )
            for item in ensemble.signature.inputs
        }
        works.append(work_of(ensemble, inputs, member=0))
    assert can_join(ensemble.signature)
    first, longer, third = gathered(works)
    assert first.batch == third.batch != longer.batch
    assert (first.batch_rows, longer.batch_rows) == (2, 1)
