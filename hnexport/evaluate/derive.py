"""A new bundle with what was fitted on held-out data, derived from one that is published. (Needs all of hnexport.)

A published bundle never changes. Golden samples, manifest and every graph of the new one hold a temperature, so that
whatever runs it applies it; when members are enough stands in the manifest. It is verified as a build is before it
appears.
"""

import dataclasses
import io
import shutil
from os import PathLike
from pathlib import Path

import numpy as np
import onnx
import torch
from torch.export import ExportedProgram

from hnexport.build import BuildResult, seal
from hnexport.bundle.checksums import WrittenFiles, check_files
from hnexport.bundle.golden import Golden, read_golden, write_golden
from hnexport.bundle.manifest import FORMAT_FILES, Anytime, Format, Manifest, Temperature, read_identified
from hnexport.bundle.writer import bundle_rules, check_another, check_target, staged_folder
from hnexport.card import tell_of_kept
from hnexport.confine.trust import Trust, bundle_trust, remember
from hnexport.errors import BundleError, NotRunError, SpecError
from hnexport.evaluate.carded import measured
from hnexport.evaluate.results import Evaluation
from hnexport.export.capture import open_up
from hnexport.export.temper import temper_onnx, temper_program
from hnexport.export.torchscript import save_scripted
from hnexport.names import ENSEMBLE_FILE, MODEL_FILE, NETWORK_FILE, PT2_FILE, TORCHSCRIPT_FILE
from hnexport.parity import VerifyOptions
from hnexport.parity.chosen import held_ensemble
from hnexport.programs.tracing import exporters_warnings
from hnexport.progress import Progress, no_progress
from hnexport.spec import OutputKind
from hnexport.spec.precision import Precision
from hnexport.spelling import spelled

__all__ = ["check_derivable", "derive_bundle", "fitted_anytime", "fitted_temperature"]


def check_derivable(
    bundle: str | PathLike[str], *, temperature: bool = True, trust: bool = False, digest: str | None = None
) -> None:
    """Whether another bundle can be derived from one: asked before data are read, which may take long.

    Args:
        temperature: whether it is to have one.

    Raises:
        BundleError: the bundle is damaged or of an old version; or it is to have a temperature, and has one already or
            holds TorchScript alone.
        NotRunError: its programs are somebody else's.
    """
    bundle = Path(bundle)
    found = read_identified(bundle, digest)
    _check_kind(bundle, found.manifest, tempered=temperature)
    _program_bytes(bundle, found.manifest, bundle_trust(found.manifest, found.digest, asked=trust))


def derive_bundle(
    bundle: str | PathLike[str],
    target: str | PathLike[str],
    temperature: Temperature | None,
    *,
    anytime: Anytime | None = None,
    provider: str = "auto",
    trust: bool = False,
    force: bool = False,
    digest: str | None = None,
    evaluation: Evaluation | None = None,
    progress: Progress = no_progress,
) -> BuildResult:
    """Write a bundle whose logits are those of another one divided by a temperature, and which says when to stop.

    Args:
        temperature: None leaves logits as they are.
        anytime: when members are enough, of the logits of the new bundle; None says nothing, since what held before a
            temperature need not hold behind it.
        trust: its programs may be read in this process, whoever made them.
        force: replace a bundle that is at the target.
        digest: `bundle` must have this one.
        evaluation: in which these were fitted, for the new bundle's card.

    Raises:
        BundleError: the bundle is damaged or of an old version, it has a temperature and is to have another, or the
            target exists.
        SpecError: the output that is to have a temperature is a value.
        NotRunError: its programs are somebody else's.
        ParityFailedError: a graph does not compute what it should; nothing was published.
    """
    bundle, target = Path(bundle), Path(target)
    found = read_identified(bundle, digest)
    manifest = found.manifest
    check_another(bundle, target)
    _check_kind(bundle, manifest, tempered=temperature is not None)
    if temperature is not None and manifest.signature.output(temperature.output).kind is not OutputKind.LOGITS:
        raise SpecError(f"{temperature.output} is a value: only logits have a temperature")
    trusted = bundle_trust(manifest, found.digest, asked=trust)
    content = _program_bytes(bundle, manifest, trusted)
    needed = sum(record.size_bytes for record in manifest.files.values())
    check_target(target, force=force, needed_bytes=needed)
    check_files(bundle, manifest, manifest.files)
    with staged_folder(target, bundle_rules(force=force)) as folder:
        files = WrittenFiles(folder)
        golden = read_golden(bundle, manifest)
        if temperature is None:
            _copy(bundle, folder, manifest)
        else:
            _write_tempered(bundle, folder, manifest, content, temperature)
            # `as_trained` holds relative errors, which dividing by a number leaves as they are
            manifest = dataclasses.replace(manifest, temperature=temperature)
        write_golden(folder, golden if temperature is None else _divided(golden, temperature))
        held = held_ensemble(bundle, manifest, golden, trusted)
        changed = dataclasses.replace(manifest, anytime=anytime, parity={}, files={})
        judged = VerifyOptions(provider=provider, trust=True, fresh=False, own=True)
        shown = [] if evaluation is None else [measured(evaluation)]
        sealed = seal(folder, changed, files, judged, held, progress, shown)
    remember(sealed.digest)
    tell_of_kept(target)
    return dataclasses.replace(sealed, path=target)


def fitted_temperature(found: Evaluation) -> Temperature | None:
    """The temperature that an evaluation fitted, as a manifest has it; None where it fitted none."""
    fitted = found.temperature
    if fitted is None:
        return None
    return Temperature(output=found.output, value=fitted.value, rows=fitted.rows, source=found.digest)


def fitted_anytime(found: Evaluation) -> Anytime | None:
    """When members are enough, as an evaluation chose it and a manifest has it; None where it chose nothing."""
    chosen = found.until
    if chosen is None:
        return None
    return Anytime(
        order=chosen.order,
        confidence=chosen.confidence,
        least=chosen.least,
        precision=Precision(chosen.precision),
        members=chosen.members,
        rows=chosen.rows,
        level=chosen.level,
        source=found.digest,
        max_accuracy_drop=chosen.accuracy_drop.stated,
        max_changed=chosen.changed.stated,
        max_ece_rise=chosen.ece_rise.stated,
    )


def _check_kind(bundle: Path, manifest: Manifest, *, tempered: bool) -> None:
    if tempered and manifest.temperature is not None:
        raise BundleError(
            f"{bundle} has a temperature already, {manifest.temperature.value:g}: derive from the bundle that it came "
            "from"
        )
    if manifest.schema_version == 1:
        raise BundleError(f"{bundle} was written by hnexport 0.1: build it again first")
    if tempered and Format.TORCHSCRIPT in manifest.formats and Format.PT2 not in manifest.formats:
        raise BundleError(
            f"{bundle} holds {TORCHSCRIPT_FILE} without {PT2_FILE}, of which a new one is made: build both"
        )


def _program_bytes(bundle: Path, manifest: Manifest, trust: Trust) -> bytes | None:
    """The bundle's `.pt2`, where it has one.

    Raises:
        NotRunError: reading it, or its TorchScript, would be running it, and it is not trusted.
    """
    content = None
    for file_format, name in ((Format.TORCHSCRIPT, TORCHSCRIPT_FILE), (Format.PT2, PT2_FILE)):
        if file_format not in manifest.formats:
            continue
        content = (bundle / name).read_bytes()
        if not trust.covers(content):
            raise NotRunError(
                f"{bundle / name} is a program that you did not build: give {spelled('trust=True', '--trust')} if you "
                "know who did"
            )
    return content if Format.PT2 in manifest.formats else None


def _copy(bundle: Path, folder: Path, manifest: Manifest) -> None:
    """Every graph and program as it is."""
    for file_format in manifest.formats:
        for name in FORMAT_FILES[file_format]:
            shutil.copyfile(bundle / name, folder / name)


def _write_tempered(
    bundle: Path, folder: Path, manifest: Manifest, content: bytes | None, temperature: Temperature
) -> None:
    """Every graph and program with the temperature in it."""
    if Format.ONNX in manifest.formats:
        _write_onnx(bundle, folder, temperature)
    if content is not None:
        _write_programs(torch.export.load(io.BytesIO(content)), folder, manifest, temperature)


def _write_onnx(bundle: Path, folder: Path, temperature: Temperature) -> None:
    for name in FORMAT_FILES[Format.ONNX]:
        if name not in (MODEL_FILE, ENSEMBLE_FILE, NETWORK_FILE):
            shutil.copyfile(bundle / name, folder / name)
            continue
        model = onnx.load(bundle / name, load_external_data=False)
        temper_onnx(model, temperature.output, temperature.value, inside=name == ENSEMBLE_FILE)
        onnx.helper.set_model_props(
            model,
            {
                **{item.key: item.value for item in model.metadata_props},
                "hnexport.temperature": repr(temperature.value),
            },
        )
        (folder / name).write_bytes(model.SerializeToString(deterministic=True))


def _write_programs(program: ExportedProgram, folder: Path, manifest: Manifest, temperature: Temperature) -> None:
    names = [output.name for output in manifest.outputs]
    temper_program(program, names.index(temperature.output), temperature.value)
    open_up(program)
    with exporters_warnings():
        torch.export.save(program, folder / PT2_FILE)
    if Format.TORCHSCRIPT in manifest.formats:
        save_scripted(program, manifest.signature, folder / TORCHSCRIPT_FILE)


def _divided(golden: Golden, temperature: Temperature) -> Golden:
    """The reference of the divided logits: relative errors stay what they are."""
    outputs = {
        name: array.astype(np.float64) / temperature.value if name == temperature.output else array
        for name, array in golden.outputs.items()
    }
    return dataclasses.replace(
        golden,
        outputs=outputs,
        resized=None if golden.resized is None else _divided(golden.resized, temperature),
        conditions=tuple(_divided(part, temperature) for part in golden.conditions),
    )
