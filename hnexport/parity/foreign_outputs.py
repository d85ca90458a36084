"""What a foreign runtime made of the golden inputs, read from its folder and judged like an artifact."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.checksums import check_files
from hnexport.bundle.golden import GOLDEN_FILE, Golden
from hnexport.bundle.manifest import read_identified
from hnexport.errors import ParityError
from hnexport.parity.cases import Case
from hnexport.parity.checks import SAME_ROW, SPOILT_ROW, UNKNOWN_IDS, check_members_differ
from hnexport.parity.chosen import golden_rows
from hnexport.parity.compare import Reference, compare_member
from hnexport.parity.foreign import GoldenIndex, NamedFile, golden_index, read_index
from hnexport.parity.judge import Judge, VerifyOptions
from hnexport.parity.results import ArtifactReport, Check, ParityReport
from hnexport.parity.tolerances import Precision
from hnexport.reading import OpenError, regular_size
from hnexport.rows import relative_l2

__all__ = ["ARTIFACT", "OutputsFolder", "verify_outputs"]

ARTIFACT = "outputs"
Array = NDArray[np.generic]
_RUNTIME_FILE = "runtime.txt"
_LONGEST_RUNTIME = 80
_FLOATS = (np.float16, np.float32, np.float64)


def verify_outputs(folder: Path, bundle: Path, options: VerifyOptions | None = None) -> ParityReport:
    """Judge what a foreign runtime made of the inputs that `write_golden_inputs` wrote.

    Members whose logits are missing or cannot be read are refused by name; the others are compared.

    Args:
        folder: has `member-ID/logits.npy` or `.raw`; where it has `golden.json` too, that names the members.

    Raises:
        BundleError: the bundle's golden samples cannot be read.
        ParityError: no member's logits can be read, or the folder belongs to another bundle.
    """
    options = options or VerifyOptions()
    found = read_identified(bundle, options.digest)
    check_files(bundle, found.manifest, [GOLDEN_FILE])
    index = read_index(folder, bundle, found)
    if index is not None and options.members is None:
        options = dataclasses.replace(options, members=index.members)
    judge = Judge.of(bundle, found, options)
    golden = judge.golden
    report, members, refused = OutputsFolder(folder, golden_index(found, golden)).judge(judge)
    rows = [row for row, member in enumerate(golden.members.tolist()) if member in members]
    judged = dataclasses.replace(judge, golden=golden_rows(golden, rows))
    return judged.report([report], refused=refused)


class OutputsFolder:
    """A folder of a runtime's outputs: `member-ID/logits.npy`, or `.raw`."""

    def __init__(self, folder: Path, index: GoldenIndex) -> None:
        """Open the folder; files are read when they are judged.

        Raises:
            ParityError: it is no folder.
        """
        if not folder.is_dir():
            raise ParityError(f"{folder} is not a folder: expected the outputs for the inputs of `hnexport golden`")
        self._folder, self._index = folder, index
        self.runtime = self._runtime()

    def logits(self, cond_id: int) -> Array:
        """Logits `[image, class]` of one id.

        Raises:
            ParityError: they are not there, or not what was asked for.
        """
        wanted = self._index.outputs[0]
        npy, raw = (self._folder / name.replace("{id}", str(cond_id)) for name in (wanted.npy, wanted.raw))
        if npy.exists():
            return _read_npy(npy, wanted)
        if raw.exists():
            return _read_raw(raw, wanted)
        raise ParityError(f"{npy} is missing, and so is {raw.name}: run member {cond_id} too")

    def has(self, cond_id: int) -> bool:
        """Whether there is a file for this id."""
        wanted = self._index.outputs[0]
        return any((self._folder / name.replace("{id}", str(cond_id))).exists() for name in (wanted.npy, wanted.raw))

    @np.errstate(invalid="ignore", over="ignore")  # logits that are not finite are an answer
    def judge(self, judge: Judge) -> tuple[ArtifactReport, tuple[int, ...], dict[str, str]]:
        """Compare every member whose logits are there.

        Returns:
            The report, its members, and why each of the others was not judged.

        Raises:
            ParityError: no member could be judged; the reason for the first.
        """
        golden, tolerance = judge.golden, judge.options.tolerance
        found, refused = self._read(golden.members.tolist(), judge.options.precision)
        if not found:
            raise ParityError(next(iter(refused.values())))
        rows = [row for row, member in enumerate(golden.members.tolist()) if member in found]
        signature, samples = judge.manifest.signature, list(range(golden.samples))
        name = signature.outputs[0].name
        known = {int(golden.members[row]): Reference.of(golden, row, signature) for row in rows}
        comparisons = tuple(
            compare_member(known[member], [samples], [{name: logits}], tolerance) for member, logits in found.items()
        )
        if judge.on_failure is not None:
            for item in comparisons:
                if not item.passed:
                    judge.on_failure(self._case(known[item.member], golden, {name: found[item.member]}))
        checks, not_checked = self._unknown()
        first = np.stack([logits[0].astype(np.float64) for logits in found.values()])
        if len(found) > 1:
            checks.append(check_members_differ(first, golden.logits[rows, 0], tolerance))
        report = ArtifactReport(
            artifact=ARTIFACT,
            runtime=self.runtime,
            comparisons=comparisons,
            checks=tuple(checks),
            ensemble_error=float(relative_l2(first.mean(axis=0), golden.logits[rows, 0].mean(axis=0))),
            repeat_spread=np.nan,
            not_checked=not_checked,
            batch_sizes=(golden.samples,),
        )
        return report, tuple(found), refused

    def _read(self, members: Sequence[int], precision: Precision) -> tuple[dict[int, Array], dict[str, str]]:
        """The logits of each member, and why those of others cannot be judged."""
        found: dict[int, Array] = {}
        refused: dict[str, str] = {}
        for member in members:
            try:
                found[member] = _judgeable(self.logits(member), precision)
            except ParityError as error:
                refused[f"{ARTIFACT}, member {member}"] = str(error)
        return found, refused

    def _unknown(self) -> tuple[list[Check], Mapping[str, str]]:
        """The check of ids that do not exist, where the runtime was asked for any; and what could not be checked."""
        reason = "outputs show one run of each image"
        not_checked = dict.fromkeys((SAME_ROW, SPOILT_ROW), reason)
        ids = [cond_id for cond_id in self._index.unknown_ids if self.has(cond_id)]
        if not ids:
            asked = " and ".join(f"member-{cond_id}" for cond_id in self._index.unknown_ids)
            return [], {**not_checked, UNKNOWN_IDS: f"there is no output for them: {asked}"}
        for cond_id in ids:
            try:
                numbers = not np.isnan(self.logits(cond_id)).all()
            except ParityError as error:
                return [], {**not_checked, UNKNOWN_IDS: str(error)}
            if numbers:
                detail = f"{self._index.signature_inputs[0].name} {cond_id} returned numbers"
                return [Check(name=UNKNOWN_IDS, passed=False, detail=detail)], not_checked
        return [Check(name=UNKNOWN_IDS, passed=True, detail=f"checked {', '.join(map(str, ids))}")], not_checked

    def _case(self, reference: Reference, golden: Golden, found: Mapping[str, Array]) -> Case:
        return Case(
            bundle="",
            artifact=ARTIFACT,
            runtime=self.runtime,
            member=reference.member,
            inputs=golden.inputs,
            reference=reference.outputs,
            found=found,
            eager=reference.eager,
            noise=reference.noise,
        )

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


def _judgeable(logits: Array, precision: Precision) -> Array:
    """Refuse half precision where the tolerance of more was asked for."""
    if logits.dtype == np.float16 and precision is not Precision.FLOAT16:
        raise ParityError(
            f"the logits are float16, which cannot hold what {precision} asks for: judge them with --precision float16"
        )
    return logits


def _read_npy(path: Path, wanted: NamedFile) -> Array:
    """Any float type in any byte order; mapped first, so that a false header allocates nothing."""
    _size(path)
    try:
        mapped = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # numpy parses the header with whatever its text makes it raise
        raise ParityError(f"{path} cannot be read as a .npy file: {error}; write it again") from error
    if mapped.dtype.newbyteorder("=") not in _FLOATS:
        raise ParityError(f"{path} holds {mapped.dtype}, expected float16, float32 or float64: write the logits")
    if mapped.shape != wanted.shape:
        raise ParityError(f"{path} has the shape {list(mapped.shape)}, expected {list(wanted.shape)}: {_ROWS}")
    return np.array(mapped, dtype=mapped.dtype.newbyteorder("="))


def _read_raw(path: Path, wanted: NamedFile) -> Array:
    """Values of the signature's type, little-endian, without a header."""
    dtype = np.dtype(wanted.dtype).newbyteorder("<")
    size, expected = _size(path), math.prod(wanted.shape) * dtype.itemsize
    if size != expected:
        raise ParityError(
            f"{path} has {size} bytes, expected {expected} for {wanted.dtype} {list(wanted.shape)}: {_ROWS}"
        )
    try:
        values = np.fromfile(path, dtype=dtype)
        return values.astype(dtype.newbyteorder("="), copy=False).reshape(wanted.shape)
    except (OSError, ValueError) as error:
        raise ParityError(f"{path} cannot be read: {error}; write it again") from error


_ROWS = "write one row of logits for each golden image"


def _size(path: Path) -> int:
    try:
        return regular_size(path)
    except OpenError as error:
        raise ParityError(f"{error}: write the logits into one") from error
