"""What is typed reaches the function that does the work, under the name that it has there."""

import contextlib
import importlib
import json
from collections.abc import Iterable, Iterator, Mapping
from operator import attrgetter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from fixture_types import Hnexport
from shared import Built
from thorough import only

from hnexport import Normalisation
from hnexport.bundle.golden import read_golden
from hnexport.cli.main import cli
from hnexport.errors import HnexportError

recalibrate_module = importlib.import_module("hnexport.cli.recalibrate")
PICTURES = ("--resize", "--background", "#102030", "--frame", "0", "--mean", "0.5", "--std", "0.25")
READING = {
    "resize": True,
    "background": "#102030",
    "frame": 0,
    "normalisation": Normalisation(mean=(0.5,), std=(0.25,)),
}
READ = {"reading.pictures": READING}
DIGEST = "sha256:" + "0" * 64
COSTS = ("--calibrate", "percentile", "--max-accuracy-drop", "0.1", "--target", "right")
COST = {"method": "percentile", "budget.accuracy_drop": 0.1, "reading.target": "right"}
IN_INT8 = {f"int8.{name}": value for name, value in COST.items()}
CASES: dict[str, tuple[str, tuple[str, ...], Mapping[str, object]]] = {
    "serve": (
        "hnexport.serve.serve",
        (
            *("serve", "BUNDLE", "--host", "0.0.0.0", "--port", "0", "--name", "net", "--provider", "cpu"),
            *("--engine", "openvino", "--precision", "int8", "--resident", "2", "--threads", "3", "--workers", "4"),
            *("--batch", "5", "--window", "6", "--queue", "7", "--body", "8", "--held", "9", "--drain", "10"),
            *("--stop", "11", "--watch", "12", "--digest", DIGEST),
        ),
        {
            "host": "0.0.0.0",
            "port": 0,
            "name": "net",
            "load.provider": "cpu",
            "load.engine": "openvino",
            "load.precisions": ("int8",),
            "load.resident": 2,
            "load.threads": 3,
            "load.digest": DIGEST,
            "workers": 4,
            "batch": 5,
            "window_ms": 6,
            "queue": 7,
            "body_bytes": 8 * 2**20,
            "held_bytes": 9 * 2**20,
            "drain_s": 10,
            "stop_s": 11,
            "watch_s": 12,
        },
    ),
    "bench": (
        "hnexport.bench.run.bench",
        (
            *("bench", "BUNDLE", "--provider", "cuda", "--algorithm-search", "heuristic", "--cuda-graph"),
            *("--prefer-nhwc", "--precision", "tf32", "--data", "x.npz", "--until", "0.9", "--member", "1"),
            *("--against", "eager,runtime-until", "--threads", "2", "--seconds", "3", "--batch-sizes", "4"),
        ),
        {
            "provider": "cuda",
            "cuda.algorithm_search": "heuristic",
            "cuda.graph": True,
            "cuda.prefer_nhwc": True,
            "precision": "tf32",
            "samples": Path("x.npz"),
            "until.confidence": 0.9,
            "member": 1,
            "threads": 2,
            "seconds": 3.0,
            "batch_sizes": (4,),
        },
    ),
    "deploy triton": (
        "hnexport.deploy.deploy_triton",
        (
            *("deploy", "triton", "BUNDLE", "--out", "x", "--device", "gpu", "--instances", "2", "--threads", "3"),
            *("--latest", "4", "--max-batch", "5", "--queue-delay", "6", "--labels", "names.txt", "--digest", DIGEST),
            *("--version", "7", "--name", "net", "--members", "1"),
        ),
        {
            "device": "gpu",
            "instances": 2,
            "threads": 3,
            "latest": 4,
            "max_batch": 5,
            "queue_delay_us": 6,
            "labels": Path("names.txt"),
            "digest": DIGEST,
            "version": 7,
            "name": "net",
            "members": (1,),
        },
    ),
    "tune": (
        "hnexport.tune.int8.quantised",
        ("tune", "BUNDLE", "--precision", "int8", "--calibration", "x", "--samples", "9", *COSTS, *PICTURES),
        {"samples": 9, **COST, **READ},
    ),
    "tune, made again": ("hnexport.tune.make.tune", ("tune", "BUNDLE", "--force"), {"force": True}),
    "member": (
        "hnexport.member.write_members",
        (
            *("member", "BUNDLE", "0", "--out", "x", "--format", "onnx", "--precision", "int8"),
            *("--calibration", "x", *COSTS, "--trust", "--digest", DIGEST, *PICTURES),
        ),
        {
            "format": "onnx",
            "trust": True,
            "digest": DIGEST,
            "int8.reading.pictures": READING,
            **{f"int8.{name}": value for name, value in COST.items()},
        },
    ),
    "evaluate": (
        "hnexport.evaluate.evaluate",
        (
            *("evaluate", "BUNDLE", "x", "--engine", "openvino", "--strategy", "materialised", "--target", "right"),
            *("--digest", DIGEST, "--costs", "COSTS", "--precision", "int8,float32", "--precision", "bfloat16"),
            *PICTURES,
        ),
        {
            "engine": "openvino",
            "strategy": "materialised",
            "reading.target": "right",
            "digest": DIGEST,
            "precisions": ["int8", "float32", "bfloat16"],
            "costs": ("costs", Path("COSTS")),
            **READ,
        },
    ),
    "evaluate, with a stated loss": (
        "hnexport.evaluate.evaluate",
        ("evaluate", "BUNDLE", "x", "--out", "new", "--max-ece-rise", "0.1", "--output", "logits", "--least", "2"),
        {"until.max_ece_rise": 0.1, "output": "logits", "least": 2},
    ),
    "predict": (
        "hnexport.runtime.load",
        ("predict", "BUNDLE", "x.npy", "--engine", "openvino", "--strategy", "materialised", "--digest", DIGEST),
        {"engine": "openvino", "strategy": "materialised", "digest": DIGEST},
    ),
    "predict, a data set": (
        "hnexport.score.score",
        (
            *("predict", "BUNDLE", "x", "--out", "x.parquet", "--workers", "ray", "--actors", "3"),
            *("--address", "auto", "--engine", "openvino", "--strategy", "materialised", "--part-rows", "5"),
        ),
        {"actors": 3, "address": "auto", "engine": "openvino", "strategy": "materialised", "part_rows": 5},
    ),
    "build": (
        "hnexport.build.build",
        (
            *("build", "--network", "wrn-10-1", "--members", "2", "--image", "3,8,8", "--out", "/no/such", "--json"),
            *("--bases", "int8", "--judge-on", "x", "--target", "right"),
        ),
        {"bases": "int8", "judge.place": Path("x"), "judge.reading.target": "right"},
    ),
    "verify": (
        "hnexport.parity.verify",
        ("verify", "BUNDLE", "--seed", "7", "--batch-sizes", "5"),
        {"seed": 7, "batch_sizes": (5,)},
    ),
    "locate": (
        "hnexport.parity.locate.locate",
        ("locate", "BUNDLE", "--against", "pt2", "--member", "1", "--precision", "tf32", "--trust"),
        {"member": 1, "precision": "tf32", "trust": True},
    ),
}


class ArrivedError(HnexportError):
    """The work begins."""


def reached(records: Iterable[object], path: str) -> Iterator[object]:
    """What the records that have such a field hold there."""
    for record in records:
        with contextlib.suppress(AttributeError):
            yield attrgetter(path)(record)


@pytest.mark.parametrize(("work", "words", "expected"), CASES.values(), ids=CASES.keys())
def test_what_is_typed_arrives(
    work: str, words: tuple[str, ...], expected: Mapping[str, object], built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    def stop(*arguments: Any, **options: Any) -> None:
        given.update({"arguments": arguments, "options": options})
        raise ArrivedError("arrived")

    monkeypatch.setattr("hnexport.bench.costs.read_costs", lambda path: ("costs", path))
    module, name = work.rsplit(".", 1)
    monkeypatch.setattr(importlib.import_module(module), name, stop)
    done = CliRunner().invoke(cli, [str(built.path) if word == "BUNDLE" else word for word in words])
    assert "arrived" in done.output, done.output
    records = [one for one in (*given["arguments"], *given["options"].values()) if hasattr(one, "__dataclass_fields__")]
    for path, value in expected.items():
        found = [given["options"][path]] if path in given["options"] else [*reached(records, path)]
        assert found == [value], path


def test_how_pictures_are_read_arrives_where_statistics_are_estimated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given: dict[str, Any] = {}

    def stop(images: object, image: object, **options: Any) -> None:
        given.update(options)
        raise ArrivedError("arrived")

    known = SimpleNamespace(check_target=lambda *_, **__: None, loaded=lambda _: SimpleNamespace(ensemble=lambda: None))
    monkeypatch.setattr(recalibrate_module, "OPTIONS", known)
    monkeypatch.setattr(recalibrate_module, "image_input", lambda _: None)
    monkeypatch.setattr("hnexport.images.read_images", stop)
    (tmp_path / "ckpt").touch()
    (tmp_path / "0.png").touch()
    command = ["recalibrate", tmp_path / "ckpt", tmp_path / "0.png", "--out", tmp_path / "x", *PICTURES]
    done = CliRunner().invoke(cli, [*map(str, command)])
    assert "arrived" in done.output, done.output
    assert given == READING


@pytest.mark.parametrize("command", ["verify", "predict"])
def test_another_bundle_than_the_digest_says_is_refused(command: str, built: Built) -> None:
    words = {"verify": ["verify", "--digest", DIGEST], "predict": ["predict", "x.npy", "--digest", DIGEST]}[command]
    done = CliRunner().invoke(cli, [words[0], str(built.path), *words[1:]])
    assert done.exit_code == 2
    assert "is not the bundle that was asked for" in " ".join(done.output.split())


@pytest.mark.thorough
def test_locate_shows_all_comparisons_of_the_member_that_is_named(hnexport: Hnexport, built: Built) -> None:
    few = hnexport("locate", built.path, "--against", "onnx", "--member", 1, "--wide")
    every = hnexport("locate", built.path, "--against", "onnx", "--member", 1, "--all", "--wide")
    assert (few.returncode, every.returncode) == (0, 0), every.stderr
    assert len(every.stdout.splitlines()) > len(few.stdout.splitlines()) + 10
    found = json.loads(hnexport("locate", built.path, "--against", "onnx", "--member", 2, "--json").stdout)
    assert found["member"] == 2


WIDE = {
    "verify": ("verify", "BUNDLE", "--runtimes", "onnx", "--members", "0", "--provider", "cpu"),
    "predict": ("predict", "BUNDLE", "x.npy", "--provider", "cpu"),
    "evaluate": ("evaluate", "BUNDLE", "x.npz", "--provider", "cpu"),
    "member": ("member", "BUNDLE", "0", "--out", "0.onnx", "--force"),
    "build": (
        *("build", "--network", "wrn-10-1", "--members", "2", "--image", "3,8,8", "--formats", "onnx"),
        *("--provider", "cpu", "--out", "new", "--force"),
    ),
    "bench": ("bench", "BUNDLE", "--batch-sizes", "1", "--seconds", "0.1"),
}


@pytest.mark.parametrize("words", only(WIDE, "predict", "evaluate"))
def test_a_wide_table_has_columns_that_a_narrow_one_leaves_out(
    words: str, built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    images = read_golden(built.path).inputs["image"][:3]
    np.save("x.npy", images)
    np.savez("x.npz", image=images, label=np.arange(len(images)))
    command = [str(built.path) if word == "BUNDLE" else word for word in WIDE[words]]
    narrow, wide = (
        CliRunner().invoke(cli, [*command, *more], env={"COLUMNS": "44"}).stdout for more in ((), ("--wide",))
    )
    assert columns(wide) > columns(narrow)


def columns(shown: str) -> int:
    """Of the tables together."""
    return sum(line.count("┃") - 1 for line in shown.splitlines() if line.startswith("┃"))


SHAPES = {
    "with": (
        ("--conv-bias", "--output-bias", "--hypernet-bias", "--activation", "tanh"),
        {"network.conv_bias": True, "network.output_bias": True, "hypernet.bias": True, "hypernet.activation": "tanh"},
    ),
    "without": (
        ("--no-conv-bias", "--no-output-bias", "--no-hypernet-bias", "--feature-maps", "4,4,8,8"),
        {
            "network.conv_bias": False,
            "network.output_bias": False,
            "hypernet.bias": False,
            "network.feature_maps": (4, 4, 8, 8),
        },
    ),
}


@pytest.mark.parametrize(("words", "expected"), SHAPES.values(), ids=SHAPES.keys())
def test_a_network_with_random_weights_has_the_shape_that_is_typed(
    words: tuple[str, ...], expected: Mapping[str, object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[Any] = []

    def stop(buildable: object, *_: object, **__: object) -> None:
        made.append(buildable)
        raise ArrivedError("arrived")

    monkeypatch.setattr(importlib.import_module("hnexport.build"), "build", stop)
    small = ("--network", "wrn-10-1", "--members", "2", "--image", "3,8,8", "--hidden-layers", "5")
    done = CliRunner().invoke(cli, ["build", *small, *words, "--out", str(tmp_path / "x"), "--json"])
    assert "arrived" in done.output, done.output
    for path, value in expected.items():
        assert attrgetter(path)(made[0].spec) == value, path


KNOWN = {
    "conv_bias": True,
    "output_bias": True,
    "hypernet_bias": True,
    "members": 2,
    "network": "wrn-10-1",
    "classes": 5,
    "feature_maps": (4, 4, 8, 8),
    "shortcut_input": "preactivated",
    "recipe": "hypernet",
    "chunking": "gcd",
    "embedding_sizes": (7, 7, 7),
    "hidden_layers": (5,),
    "activation": "elu",
    "image_layout": "nhwc",
    "statistics": (0, 1),
    "target": "right",
}


def test_what_is_known_of_a_checkpoint_arrives_where_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Mapping[str, object]] = []

    def stop(*arguments: Any) -> None:  # the options are the last
        found.append(dict(arguments[-1]))
        raise ArrivedError("arrived")

    known = SimpleNamespace(check_target=lambda *_, **__: None, imported=stop, checkpoint=stop)
    for name in ("build", "convert"):
        monkeypatch.setattr(importlib.import_module(f"hnexport.cli.{name}"), "OPTIONS", known)
    command = (
        *("convert", "a.pt", "x.safetensors", "--members", "2", "--network", "wrn-10-1", "--classes", "5"),
        *(
            "--feature-maps",
            "4,4,8,8",
            "--shortcut-input",
            "preactivated",
            "--recipe",
            "hypernet",
            "--generate",
            "norm",
        ),
        *("--chunking", "gcd", "--embedding-sizes", "7,7,7", "--hidden-layers", "5", "--activation", "elu"),
        *("--image-layout", "nhwc", "--statistics", "0,1", "--target", "right", "--generate", "norm"),
    )
    for words, value in (
        (("--conv-bias", "--output-bias", "--hypernet-bias"), True),
        (("--no-conv-bias", "--no-output-bias", "--no-hypernet-bias"), False),
    ):
        assert "arrived" in CliRunner().invoke(cli, [*command, *words]).output
        biases = dict.fromkeys(("conv_bias", "output_bias", "hypernet_bias"), value)
        assert {name: found[-1][name] for name in KNOWN} == KNOWN | biases
    built = CliRunner().invoke(cli, ["build", "--hypnettorch", "a.pt", "--statistics", "0,1"])
    assert "arrived" in built.output
    assert found[-1]["statistics"] == (0, 1)
