"""One runtime's row: everything is run, and nothing that goes wrong stops the others."""

import datetime
import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from PIL import Image

from runtimes.commands import ROOT, FailedError, NotRunError, run
from runtimes.environments import python_of
from runtimes.judge import largest_error, of_nan_image, of_unknown_ids
from runtimes.runtime import Row, Runtime
from runtimes.stage import MEMBERS, UNKNOWN, Stage, golden_folder, strange_folder

PICTURE = ROOT / "examples" / "images" / "cat.png"


def expected_classes(bundle: Path) -> list[str]:
    """What onnxruntime says that each member ranks first of the picture.

    Raises:
        ValueError: members agree so far that an example which takes another than it is told would not be seen.
    """
    import numpy as np
    import onnxruntime

    from hnexport.images import read_images
    from hnexport.runtime import load

    ensemble = load(bundle, provider="cpu")
    image = read_images([PICTURE], ensemble.image_input).images
    session = onnxruntime.InferenceSession(bundle / "model.onnx", providers=["CPUExecutionProvider"])
    cond_id, given = (one.name for one in session.get_inputs())
    members = range(ensemble.members)
    logits = [session.run(None, {cond_id: np.array(member, np.int64), given: image})[0][0] for member in members]
    best = [int(row.argmax()) for row in logits]
    if len(set(best)) < len(best):
        raise ValueError(f"{bundle}: of {PICTURE.name} members name the same class: {best}")
    return [ensemble.class_names[one] if ensemble.class_names else f"class {one}" for one in best]


class Attempt:
    """A runtime with its files, in a folder of its own."""

    def __init__(self, module: str, runtime: Runtime, stage: Stage, folder: Path, python: Path) -> None:
        self.module, self.runtime, self.stage, self.folder, self.python = module, runtime, stage, folder, python
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    def run(
        self,
        template: tuple[str, ...],
        golden: Path | None = None,
        ids: tuple[int, ...] = (),
        member: Path | None = None,
        number: int = 0,
    ) -> str:
        """A command with what its words stand for."""
        values = {
            "python": self.python,
            "bundle": self.stage.bundle,
            "file": self.runtime.file,
            "plain": self.plain,
            "own": self.own,
            "golden": golden,
            "member": member,
            "id": number,
            "work": self.folder,
            "picture": PICTURE,
            "ppm": self.folder / "picture.ppm",
            "examples": ROOT / "examples",
            "packages": ROOT / "tests" / "runtimes" / "node_modules",
        }
        words: list[str] = []
        for word in template:
            words.extend(map(str, ids) if word == "{ids}" else [word.format(**values)])
        return run(words, self.runtime.variables)

    @property
    def plain(self) -> Path | str:
        """The plain network that a call is compared with."""
        return self.stage.plain / self.runtime.plain if self.runtime.plain else ""

    @property
    def own(self) -> Path | str:
        """The same network as it is exported without hnexport."""
        return self.stage.own / self.runtime.own if self.runtime.own else ""

    def drive(self, *words: object) -> str:
        """Run the module's own functions."""
        command = [str(self.python), "-m", "runtimes.drive", self.module, *map(str, words)]
        return run(command, self.runtime.variables)

    def source(self, member: int) -> Path:
        """What the runtime is given: the bundle's file, or a copy of a member's, beside which examples write theirs."""
        if not self.runtime.member:
            return self.stage.bundle / self.runtime.file
        form = Path(self.runtime.file).suffix[1:]
        copy = self.folder / f"member-{member}.{form}"
        if not copy.exists():
            shutil.copy(self.stage.fixed / form / copy.name, copy)
        return copy

    def converted(self, source: Path | str) -> Path | str:
        """The file that is loaded, of what the runtime is given."""
        if self.runtime.convert is None or source == "":
            return source
        return self.all_converted([source])[0]

    def all_converted(self, sources: Sequence[Path | str]) -> list[Path]:
        """The same of several, in one process: converters take long to import."""
        targets = [self.folder / f"{Path(source).stem}{self.runtime.suffix}" for source in sources]
        missing = [pair for pair in zip(sources, targets, strict=True) if not pair[1].exists()]
        if missing:
            self.drive("convert", *(path for pair in missing for path in pair))
        return targets

    def predict(self, golden: Path, ids: tuple[int, ...], members: range) -> None:
        """Write what the runtime makes of a folder of inputs."""
        runtime = self.runtime
        if runtime.member:
            if runtime.convert:
                self.all_converted([*(self.source(member) for member in members), *([self.own] if self.own else [])])
            for member in members:
                if runtime.predict:
                    self.run(runtime.predict, golden, member=self.source(member))
                else:
                    self.drive("predict", self.converted(self.source(member)), golden, member)
        elif runtime.predict:
            self.run(runtime.predict, golden, ids)
        else:
            self.drive("predict", self.converted(self.source(0)), golden)

    def classify(self) -> None:
        """Run the example that classifies a picture, for every member.

        Raises:
            FailedError: it names another class than onnxruntime does.
        """
        command, built = self.runtime.picture, "{work}/build/picture"
        if not command or (built in command and not Path(built.format(work=self.folder)).exists()):
            return
        with Image.open(PICTURE) as picture:
            picture.convert("RGB").save(self.folder / "picture.ppm")
        said, expected = [], expected_classes(self.stage.bundle)
        for number in range(len(expected)):
            member = self.source(number) if self.runtime.member else None
            printed = self.run(command, member=member, number=number).strip().splitlines()
            said.append(printed[-1] if printed else "nothing")
        if said != expected:
            raise FailedError(
                f"failed: its example says {', '.join(said)} of a picture, onnxruntime says {', '.join(expected)}"
            )

    def measure(self) -> dict[str, float | str | None]:
        """Version, times and memory."""
        runtime, golden = self.runtime, self.folder / "golden"
        if runtime.measure:
            return _json(self.run(runtime.measure, golden))
        if runtime.load is None:
            said = (golden / "runtime.txt").read_text(encoding="utf-8")
            return {"version": found[0] if (found := re.findall(r"\d+(?:\.\d+)+", said)) else ""}
        file = self.converted(self.source(0))
        timed = _json(self.drive("measure", file, self.converted(self.plain), self.converted(self.own), golden))
        if runtime.resident:
            kept = file if runtime.member or runtime.materialised else self.converted(self.plain)
            timed.update(_json(self.drive("resident", kept, golden)))
        return timed


def measured_row(module: str, runtime: Runtime, stage: Stage, folder: Path, environments: Path) -> Row:
    """Run everything of one runtime."""
    row = Row(
        name=runtime.name,
        file="a member" if runtime.member else runtime.file,
        remark=runtime.remark,
        member_is_called=runtime.member or runtime.materialised,
        exporter=runtime.exporter,
    )
    if runtime.not_run:
        return replace(row, why=runtime.not_run)
    try:
        attempt = Attempt(module, runtime, stage, folder, python_of(runtime, environments))
        for command in runtime.prepare:
            attempt.run(command)
        if runtime.conversion:
            found = version(runtime.version_of) if runtime.version_of else ""
            return replace(row, why=runtime.conversion, version=found, measured=_now())
        golden = golden_folder(stage, folder / "golden")
        attempt.predict(golden, (*range(MEMBERS), -1, MEMBERS), range(MEMBERS))
        row = replace(row, error=largest_error(stage, golden))
        attempt.classify()
        strange = strange_folder(stage, folder / "strange")
        attempt.predict(strange, (0, *UNKNOWN), range(1))
        ids = "it takes none" if runtime.member else of_unknown_ids(stage, strange)
        row = replace(row, ids=ids, nan=of_nan_image(strange))
        return replace(row, **attempt.measure(), measured=_now())  # type: ignore[arg-type]
    except Exception as error:  # whatever it is, the other rows are written
        if isinstance(error, NotRunError) and not isinstance(error, FailedError):
            return replace(row, why=str(error))
        why = str(error) if isinstance(error, FailedError) else f"failed: {type(error).__name__}: {error}"
        return replace(row, why=why.replace("\n", " ").replace("|", "/")[:200], failed=True, measured=_now())


def _now() -> str:
    return f"{datetime.datetime.now(datetime.UTC).date().isoformat()}, {os.getloadavg()[0]:.1f}"


def _json(printed: str) -> dict[str, float | str | None]:
    found: dict[str, float | str | None] = json.loads(printed.strip().splitlines()[-1])
    return found
