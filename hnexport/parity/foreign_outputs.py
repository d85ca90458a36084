"""What a foreign runtime made of the golden inputs, read from its folder and judged like an artifact."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.checksums import check_files
from hnexport.bundle.golden import Golden, read_golden
from hnexport.bundle.manifest import read_identified
from hnexport.errors import ParityError
from hnexport.names import GOLDEN_FILE
from hnexport.parity.cases import Case
from hnexport.parity.checks import SAME_ROW, SPOILT_ROW, UNKNOWN_IDS
from hnexport.parity.chosen import golden_rows
from hnexport.parity.compare import Reference, compare_member
from hnexport.parity.first_sample import ensemble_error, first_rows, members_checks
from hnexport.parity.foreign import GoldenIndex, NamedFile, golden_index, read_index
from hnexport.parity.judge import Judge, VerifyOptions
from hnexport.parity.results import ArtifactReport, Check, ParityReport
from hnexport.parity.tolerances import Precision
from hnexport.reading import OpenError, regular_size
from hnexport.rows import chosen_rows
from hnexport.spelling import spelled

__all__ = ["ARTIFACT", "OutputsFolder", "verify_outputs"]

ARTIFACT = "outputs"
Array = NDArray[np.generic]
_RUNTIME_FILE = "runtime.txt"
_LONGEST_RUNTIME = 80
_KINDS = {"f": "f", "i": "iu", "u": "iu", "b": "b"}


def verify_outputs(folder: Path, bundle: Path, options: VerifyOptions | None = None) -> ParityReport:
    """Judge what a foreign runtime made of the inputs that `write_golden_inputs` wrote.

    Members whose outputs are missing or cannot be read are refused by name; the others are compared.

    Args:
        folder: has `member-ID/NAME.npy` or `.raw` of each output; `golden.json`, if it is there, names the members.

    Raises:
        BundleError: the bundle's golden samples cannot be read.
        ParityError: no member's outputs can be read, or the folder belongs to another bundle.
    """
    options = options or VerifyOptions()
    found = read_identified(bundle, options.digest)
    check_files(bundle, found.manifest, [GOLDEN_FILE])
    index = read_index(folder, bundle, found)
    if index is not None and options.members is None:
        options = dataclasses.replace(options, members=index.members)
    judge = Judge.of(bundle, found, options)
    golden = judge.golden
    report, members, refused = OutputsFolder(folder, golden_index(found, read_golden(bundle, found.manifest))).judge(
        judge
    )
    rows = [row for row, member in enumerate(golden.members.tolist()) if member in members]
    judged = dataclasses.replace(judge, golden=golden_rows(golden, rows))
    return judged.report([report], refused=refused)


class OutputsFolder:
    """A folder of a runtime's outputs: `member-ID/NAME.npy`, or `.raw`, of each output."""

    def __init__(self, folder: Path, index: GoldenIndex) -> None:
        """Open the folder; files are read when they are judged.

        Raises:
            ParityError: it is no folder.
        """
        if not folder.is_dir():
            raise ParityError(f"{folder} is not a folder: expected the outputs for the inputs of `hnexport golden`")
        self._folder, self._index = folder, index
        self.runtime = self._runtime()

    def outputs(self, cond_id: int) -> dict[str, Array]:
        """Every output of one id by name, of all golden samples.

        Raises:
            ParityError: one is not there, or not what was asked for.
        """
        return {wanted.name: self._output(cond_id, wanted) for wanted in self._index.outputs}

    def has(self, cond_id: int) -> bool:
        """Whether there is a file for this id."""
        return any(path.exists() for wanted in self._index.outputs for path in self._paths(cond_id, wanted))

    @np.errstate(invalid="ignore", over="ignore")  # outputs that are not finite are an answer
    def judge(self, judge: Judge) -> tuple[ArtifactReport, tuple[int, ...], dict[str, str]]:
        """Compare every member whose outputs are there.

        Returns:
            The report, its members, and why each of the others was not judged.

        Raises:
            ParityError: no member could be judged; the reason for the first.
        """
        golden = judge.golden
        found, refused = self._read(golden.members.tolist(), judge.options.precision)
        if not found:
            raise ParityError(next(iter(refused.values())))
        checks, not_checked = self._unknown()
        judged = [row for row, kind in enumerate(self._index.sample_kinds) if kind in golden.kinds]
        found = {
            member: {item.name: chosen_rows(item, one[item.name], judged) for item in self._index.signature_outputs}
            for member, one in found.items()
        }
        rows = [row for row, member in enumerate(golden.members.tolist()) if member in found]
        report = judged_outputs(judge, golden_rows(golden, rows), list(found.values()), self.runtime)
        return (
            dataclasses.replace(report, checks=(*checks, *report.checks), not_checked=not_checked),
            tuple(found),
            refused,
        )

    def _output(self, cond_id: int, wanted: NamedFile) -> Array:
        npy, raw = self._paths(cond_id, wanted)
        if npy.exists():
            return _read_npy(npy, wanted)
        if raw.exists():
            return _read_raw(raw, wanted)
        raise ParityError(f"{npy} is missing, and so is {raw.name}: run member {cond_id} too")

    def _paths(self, cond_id: int, wanted: NamedFile) -> tuple[Path, Path]:
        npy, raw = (self._folder / name.replace("{id}", str(cond_id)) for name in (wanted.npy, wanted.raw))
        return npy, raw

    def _read(self, members: Sequence[int], precision: Precision) -> tuple[dict[int, dict[str, Array]], dict[str, str]]:
        """The outputs of each member, and why those of others cannot be judged."""
        found: dict[int, dict[str, Array]] = {}
        refused: dict[str, str] = {}
        for member in members:
            try:
                found[member] = _judgeable(self.outputs(member), self._index, precision)
            except ParityError as error:
                refused[f"{ARTIFACT}, member {member}"] = str(error)
        return found, refused

    def _unknown(self) -> tuple[list[Check], Mapping[str, str]]:
        """The check of ids that do not exist, where the runtime was asked for any; and what could not be checked."""
        reason = "outputs show one run of each sample"
        not_checked = dict.fromkeys((SAME_ROW, SPOILT_ROW), reason)
        ids = [cond_id for cond_id in self._index.unknown_ids if self.has(cond_id)]
        if not ids:
            asked = " and ".join(f"member-{cond_id}" for cond_id in self._index.unknown_ids)
            return [], {**not_checked, UNKNOWN_IDS: f"there is no output for them: {asked}"}
        for cond_id in ids:
            try:
                found = self.outputs(cond_id)
            except ParityError as error:
                return [], {**not_checked, UNKNOWN_IDS: str(error)}
            if not all(np.isnan(found[item.name]).all() for item in self._index.signature_outputs if item.is_floating):
                detail = f"{self._index.signature_inputs[0].name} {cond_id} returned numbers"
                return [Check(name=UNKNOWN_IDS, passed=False, detail=detail)], not_checked
        return [Check(name=UNKNOWN_IDS, passed=True, detail=f"checked {', '.join(map(str, ids))}")], not_checked

    def _runtime(self) -> str:
        """The first line of `runtime.txt`, as far as it can be printed."""
        path = self._folder / _RUNTIME_FILE
        if not path.is_file():
            return "foreign"
        try:
            with path.open(encoding="utf-8", errors="replace") as file:
                line = file.readline(4 * _LONGEST_RUNTIME)
        except OSError as error:
            raise ParityError(f"{path} cannot be read: {error}") from error
        text = "".join(letter for letter in line.strip() if letter.isprintable())[:_LONGEST_RUNTIME]
        return text or "foreign"


def judged_outputs(judge: Judge, golden: Golden, found: Sequence[Mapping[str, Array]], runtime: str) -> ArtifactReport:
    """Compare what was found for all samples together, member by member, with the reference.

    Args:
        golden: of exactly these members, in their order.
        found: the outputs of each by name, of the golden outputs' shapes.
    """
    signature, tolerance, samples = judge.manifest.signature, judge.options.tolerance, list(range(golden.samples))
    references = [Reference.of(golden, row, signature) for row in range(len(found))]
    comparisons = tuple(
        compare_member(reference, [samples], [outputs], tolerance)
        for reference, outputs in zip(references, found, strict=True)
    )
    if judge.on_failure is not None:
        for item, reference, outputs in zip(comparisons, references, found, strict=True):
            if not item.passed:
                judge.on_failure(_case(reference, golden, outputs, runtime))
    rows = [first_rows(signature, outputs) for outputs in found]
    first = {output.name: np.stack([row[output.name] for row in rows]) for output in signature.outputs}
    return ArtifactReport(
        artifact=ARTIFACT,
        runtime=runtime,
        comparisons=comparisons,
        checks=tuple(members_checks(signature, golden, first, tolerance)),
        ensemble_error=ensemble_error(signature, golden, first),
        repeat_spread=np.nan,
        batch_sizes=(golden.samples,),
    )


def _case(reference: Reference, golden: Golden, found: Mapping[str, Array], runtime: str) -> Case:
    return Case(
        bundle="",
        artifact=ARTIFACT,
        runtime=runtime,
        member=reference.member,
        inputs=golden.inputs,
        reference=reference.outputs,
        found=found,
        eager=reference.eager,
        noise=reference.noise,
    )


def _judgeable(outputs: dict[str, Array], index: GoldenIndex, precision: Precision) -> dict[str, Array]:
    """Refuse half precision where the tolerance of more was asked for."""
    for item in index.signature_outputs:
        if outputs[item.name].dtype == np.float16 and item.dtype != "float16" and precision is not Precision.FLOAT16:
            raise ParityError(
                f"the {item.name} are float16, which cannot hold what {precision} asks for: "
                f"judge them with {spelled('precision=Precision.FLOAT16', '--precision float16')}"
            )
    return outputs


def _read_npy(path: Path, wanted: NamedFile) -> Array:
    """Any type of its kind in any byte order; mapped first, so that a false header allocates nothing."""
    _size(path)
    try:
        mapped = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # numpy parses the header with whatever its text makes it raise
        raise ParityError(f"{path} cannot be read as a .npy file: {error}; write it again") from error
    if mapped.dtype.kind not in _KINDS[np.dtype(wanted.dtype).kind]:
        expected = "float16, float32 or float64" if wanted.dtype.startswith("float") else wanted.dtype
        raise ParityError(f"{path} holds {mapped.dtype}, expected {expected}: write the {wanted.name}")
    if mapped.shape != wanted.shape:
        raise ParityError(f"{path} has the shape {list(mapped.shape)}, expected {list(wanted.shape)}: {_rows(wanted)}")
    return np.array(mapped, dtype=mapped.dtype.newbyteorder("="))


def _read_raw(path: Path, wanted: NamedFile) -> Array:
    """Values of the signature's type, little-endian, without a header."""
    dtype = np.dtype(wanted.dtype).newbyteorder("<")
    size, expected = _size(path), math.prod(wanted.shape) * dtype.itemsize
    if size != expected:
        raise ParityError(
            f"{path} has {size} bytes, expected {expected} for {wanted.dtype} {list(wanted.shape)}: {_rows(wanted)}"
        )
    try:
        values = np.fromfile(path, dtype=np.uint8 if dtype == np.bool_ else dtype)
        return values.astype(dtype.newbyteorder("="), copy=False).reshape(wanted.shape)
    except (OSError, ValueError) as error:
        raise ParityError(f"{path} cannot be read: {error}; write it again") from error


def _rows(wanted: NamedFile) -> str:
    if not wanted.batch:
        return f"write {wanted.name} of all golden samples in one batch"
    return f"write one row of {wanted.name} for each golden sample"


def _size(path: Path) -> int:
    try:
        return regular_size(path)
    except OpenError as error:
        raise ParityError(f"{error}: write the outputs into one") from error
