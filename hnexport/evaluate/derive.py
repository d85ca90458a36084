"""A new bundle with a temperature in its graphs, derived from one that is published. (Needs all of hnexport.)

A published bundle never changes. Golden samples, manifest and every graph of the new one hold the temperature, so that
whatever runs it applies it; it is verified as a build is before it appears.
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
from hnexport.bundle.manifest import FORMAT_FILES, Format, Manifest, Temperature, read_identified
from hnexport.bundle.writer import bundle_rules, check_another, check_target, staged_folder
from hnexport.card import tell_of_kept
from hnexport.errors import BundleError, NotRunError, SpecError
from hnexport.evaluate.carded import measured
from hnexport.evaluate.results import Evaluation
from hnexport.export.capture import open_up
from hnexport.export.temper import temper_onnx, temper_program
from hnexport.export.torchscript import save_scripted
from hnexport.names import ENSEMBLE_FILE, MODEL_FILE, NETWORK_FILE, PT2_FILE, TORCHSCRIPT_FILE
from hnexport.parity import VerifyOptions
from hnexport.parity.chosen import held_ensemble
from hnexport.progress import Progress, no_progress
from hnexport.spec import OutputKind
from hnexport.spelling import spelled
from hnexport.tracing import exporters_warnings
from hnexport.trust import Trust, bundle_trust, remember

__all__ = ["check_derivable", "temper_bundle"]


def check_derivable(bundle: str | PathLike[str], *, trust: bool = False, digest: str | None = None) -> None:
    """Whether a bundle can be given a temperature: asked before its data are read, which may take long.

    Raises:
        BundleError: the bundle is damaged, has a temperature already, is of an old version, or holds TorchScript alone.
        NotRunError: its programs are somebody else's.
    """
    bundle = Path(bundle)
    found = read_identified(bundle, digest)
    _check_kind(bundle, found.manifest)
    _program_bytes(bundle, found.manifest, bundle_trust(found.manifest, found.digest, asked=trust))


def temper_bundle(
    bundle: str | PathLike[str],
    target: str | PathLike[str],
    temperature: Temperature,
    *,
    provider: str = "auto",
    trust: bool = False,
    force: bool = False,
    digest: str | None = None,
    evaluation: Evaluation | None = None,
    progress: Progress = no_progress,
) -> BuildResult:
    """Write a bundle whose logits are those of another one, divided by a temperature.

    Args:
        trust: its programs may be read in this process, whoever made them.
        force: replace a bundle that is at the target.
        digest: `bundle` must have this one.
        evaluation: in which the temperature was fitted, for the new bundle's card.

    Raises:
        BundleError: the bundle is damaged, has a temperature already or is of an old version, or the target exists.
        NotRunError: its programs are somebody else's.
        ParityFailedError: a graph does not compute what it should; nothing was published.
    """
    bundle, target = Path(bundle), Path(target)
    found = read_identified(bundle, digest)
    manifest = found.manifest
    check_another(bundle, target)
    _check_kind(bundle, manifest)
    if manifest.signature.output(temperature.output).kind is not OutputKind.LOGITS:
        raise SpecError(f"{temperature.output} is a value: only logits have a temperature")
    trusted = bundle_trust(manifest, found.digest, asked=trust)
    content = _program_bytes(bundle, manifest, trusted)
    needed = sum(record.size_bytes for record in manifest.files.values())
    check_target(target, force=force, needed_bytes=needed)
    check_files(bundle, manifest, manifest.files)
    with staged_folder(target, bundle_rules(force=force)) as folder:
        files = WrittenFiles(folder)
        if Format.ONNX in manifest.formats:
            _write_onnx(bundle, folder, temperature)
        if content is not None:
            program = torch.export.load(io.BytesIO(content))
            _write_programs(program, folder, manifest, temperature)
        golden = read_golden(bundle, manifest)
        write_golden(folder, _divided(golden, temperature))
        tempered = dataclasses.replace(manifest, temperature=temperature)  # as_trained: relative errors stay
        held = held_ensemble(bundle, tempered, golden, trusted)
        changed = dataclasses.replace(tempered, parity={}, files={})
        judged = VerifyOptions(provider=provider, trust=True, fresh=False, own=True)
        shown = [] if evaluation is None else [measured(evaluation)]
        sealed = seal(folder, changed, files, judged, held, progress, shown)
    remember(sealed.digest)
    tell_of_kept(target)
    return dataclasses.replace(sealed, path=target)


def _check_kind(bundle: Path, manifest: Manifest) -> None:
    if manifest.temperature is not None:
        raise BundleError(
            f"{bundle} has a temperature already, {manifest.temperature.value:g}: derive from the bundle that it came "
            "from"
        )
    if manifest.schema_version == 1:
        raise BundleError(f"{bundle} was written by hnexport 0.1: build it again first")
    if Format.TORCHSCRIPT in manifest.formats and Format.PT2 not in manifest.formats:
        raise BundleError(
            f"{bundle} holds {TORCHSCRIPT_FILE} without {PT2_FILE}, of which a new one is made: build both"
        )


def _program_bytes(bundle: Path, manifest: Manifest, trust: Trust) -> bytes | None:
    """The bundle's `.pt2`, where it has one.

    Raises:
        NotRunError: reading it would be running it, and it is not trusted.
    """
    if Format.PT2 not in manifest.formats:
        return None
    content = (bundle / PT2_FILE).read_bytes()
    if not trust.covers(content):
        raise NotRunError(
            f"{bundle / PT2_FILE} is a program that you did not build: give {spelled('trust=True', '--trust')} if you "
            "know who did"
        )
    return content


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
