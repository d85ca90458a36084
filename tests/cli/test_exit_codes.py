"""A command that publishes nothing, since what it made was measured and is wrong, ends with 1, whichever it is."""

import dataclasses
import importlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from digits import TrainedDigits, splits
from shared import built_kind

from hnexport.build import ParityFailedError
from hnexport.bundle.golden import Golden
from hnexport.cli.main import cli
from hnexport.errors import DifferentError, ParityError
from hnexport.evaluate import derive
from hnexport.member import MembersFailedError
from hnexport.parity.results import Check, ParityReport
from hnexport.parity.rounding import RoundedTooMuchError
from hnexport.parity.trained import NotAsTrainedError

build_module = importlib.import_module("hnexport.build")


def test_a_derived_bundle_that_computes_something_else_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, held = built_kind("digits", TrainedDigits()).path, splits()[1]
    np.savez(tmp_path / "held.npz", input=held.images, label=held.labels)
    sound = derive.temper_onnx  # type: ignore[attr-defined]

    def wrong(model: onnx.ModelProto, output: str, value: float, *, inside: bool) -> None:
        sound(model, output, value * 1.01, inside=inside)

    monkeypatch.setattr(derive, "temper_onnx", wrong)
    command = ["evaluate", str(bundle), str(tmp_path / "held.npz"), "--provider", "cpu", "--out", str(tmp_path / "new")]
    done = CliRunner().invoke(cli, [*command, "--json"])
    assert done.exit_code == 1, done.output
    assert json.loads(done.stdout)["verdict"] == "different"
    assert "nothing was published" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["held.npz"]


def test_a_built_bundle_that_computes_something_else_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = build_module.compute_golden  # type: ignore[attr-defined]

    def wrong(*arguments: Any, **options: Any) -> Golden:
        golden: Golden = sound(*arguments, **options)
        outputs = {name: np.multiply(array, 1.01) for name, array in golden.outputs.items()}
        return dataclasses.replace(golden, outputs=outputs)

    monkeypatch.setattr(build_module, "compute_golden", wrong)
    command = ["build", "--network", "wrn-10-1", "--members", "2", "--formats", "onnx", "--out", str(tmp_path / "new")]
    done = CliRunner().invoke(cli, [*command, "--provider", "cpu"])
    assert done.exit_code == 1, done.output
    assert "nothing was published" in done.stderr
    assert not list(tmp_path.iterdir())


def parity(**fields: Any) -> ParityReport:
    nothing: dict[str, Any] = {one.name: () for one in dataclasses.fields(ParityReport)}
    return ParityReport(**{**nothing, "not_run": {}, "refused": {}, "unjudged": {}, **fields})


@pytest.mark.parametrize(
    ("report", "kind", "said"),
    [
        (
            parity(claims=(Check(name="as built", passed=False, detail="other errors"),)),
            ParityFailedError,
            "as built: oth",
        ),
        (parity(unjudged={"logits": 0.5}), ParityError, "logits cannot be judged: nothing was published"),
    ],
    ids=["a claim alone", "no answer"],
)
def test_sealing_says_whether_something_differs_or_could_not_be_judged(
    report: ParityReport, kind: type[Exception], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_module, "verify", lambda *_: report)
    monkeypatch.setattr(build_module, "write_manifest", lambda *_: None)
    manifest = dataclasses.make_dataclass("M", ["files"])({})
    files = SimpleNamespace(records=dict)
    with pytest.raises(kind, match=said) as caught:
        build_module.seal(tmp_path, manifest, files, None, None, lambda *_: None)  # type: ignore[attr-defined]
    assert type(caught.value) is kind


@pytest.mark.parametrize("kind", [ParityFailedError, MembersFailedError, RoundedTooMuchError, NotAsTrainedError])
def test_what_was_measured_and_is_wrong_is_of_one_kind(kind: type[Exception]) -> None:
    assert issubclass(kind, DifferentError)
