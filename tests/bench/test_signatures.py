"""Benchmarks of networks of any signature: what is timed computes the member, over inputs that the network takes."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from shared import built_list

from hnexport.bench.contenders import CONTENDERS
from hnexport.bench.inputs import draw_inputs
from hnexport.bench.plain import write_plain
from hnexport.bench.run import BenchOptions, bench
from hnexport.bench.task import BenchTask
from hnexport.bundle import read_golden, read_manifest
from hnexport.errors import BundleError
from hnexport.runtime import load

LISTS = ("reader", "cnn", "pixels", "regressor")

SINGLE = ("plain", "materialised", "generated", "openvino-plain", "openvino-materialised", "openvino-generated")


def task(name: str, folder: Path) -> BenchTask:
    bundle = built_list(name).path
    manifest = read_manifest(bundle)
    write_plain(bundle, manifest, 1, folder)
    return BenchTask(bundle=bundle, manifest=manifest, plain=folder, member=1, provider="cpu", threads=1)


@pytest.mark.each_once
@pytest.mark.parametrize("contender", SINGLE)
@pytest.mark.parametrize("name", LISTS)
def test_contenders_compute_the_member_that_is_timed(name: str, contender: str, tmp_path: Path) -> None:
    given = task(name, tmp_path)
    golden = read_golden(given.bundle)
    found = CONTENDERS[contender].load(given).run(golden.inputs)
    outputs = [output.name for output in given.manifest.outputs]
    values = [found[output] for output in outputs] if isinstance(found, dict) else found
    for output, array in zip(outputs, values, strict=True):
        np.testing.assert_allclose(array, golden.outputs[output][1], rtol=1e-3, atol=1e-5)


def test_all_members_are_computed_where_an_ensemble_is_timed(tmp_path: Path) -> None:
    given = task("reader", tmp_path)
    inputs = read_golden(given.bundle).inputs
    found = CONTENDERS["ensemble-materialised"].load(given).run(inputs)
    expected = load(given.bundle, provider="cpu", strategy="generated").predict_mean(inputs)
    np.testing.assert_allclose(found["logits"].probabilities, expected["logits"].probabilities, rtol=1e-3, atol=1e-6)


REASONS = {
    "torch": "a bundle does not hold the modules themselves",
    "hypnettorch": "hypnettorch has no ensembles of the kind modules",
}


@pytest.mark.parametrize(("contender", "reason"), REASONS.items())
def test_what_a_list_of_modules_cannot_be_compared_with_is_left_out_with_the_reason(
    contender: str, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match=reason):
        CONTENDERS[contender].load(task("cnn", tmp_path))


@pytest.mark.thorough
def test_a_bench_of_several_inputs_times_every_batch_size() -> None:
    options = BenchOptions(
        batch_sizes=(1, 5),
        contenders=("materialised", "generated", "hypnettorch"),
        seconds=0.01,
        least_rounds=2,
        threads=1,
    )
    report = bench(built_list("reader").path, options)
    assert [contender.name for contender in report.contenders] == ["plain", "materialised", "generated"]
    assert set(report.not_run) == {"hypnettorch"}
    for contender in report.contenders:
        assert [timing.batch_size for timing in contender.timings] == [1, 5]


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("batch", [1, 7])
def test_inputs_are_drawn_from_the_range_of_the_golden_samples(name: str, batch: int) -> None:
    golden, signature = read_golden(built_list(name).path), read_manifest(built_list(name).path).signature
    drawn = draw_inputs(signature, golden, batch, np.random.default_rng(0))
    for tensor in signature.inputs:
        known, found = golden.inputs[tensor.name], drawn[tensor.name]
        assert found.dtype == known.dtype
        assert found.shape == ((batch, *known.shape[1:]) if tensor.has_batch else known.shape)
        assert known.min() <= found.min() <= found.max() <= known.max()


def test_every_whole_number_of_the_range_is_drawn_and_bools_are_bools() -> None:
    golden, signature = read_golden(built_list("reader").path), read_manifest(built_list("reader").path).signature
    tokens = draw_inputs(signature, golden, 200, np.random.default_rng(0))["tokens"]
    known = golden.inputs["tokens"]
    assert set(tokens.ravel()) == set(range(known.min(), known.max() + 1))
    masks = dataclasses.replace(golden, inputs={**golden.inputs, "tokens": np.greater(known, 5)})
    assert draw_inputs(signature, masks, 3, np.random.default_rng(0))["tokens"].dtype == bool
