"""`deploy_triton`: a model repository, or a further version in one that is there."""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from hnexport import __version__
from hnexport.bundle.checksums import check_files, record_file
from hnexport.bundle.digest import digest_of
from hnexport.bundle.golden import read_golden
from hnexport.bundle.manifest import Identified, read_identified
from hnexport.deploy.triton.config import LABELS_FILE, WARMUP_FOLDER, config_text, warmup_files
from hnexport.deploy.triton.models import MODEL_NAME, Planned, planned_models
from hnexport.deploy.triton.options import TritonOptions
from hnexport.errors import DeployError
from hnexport.installed import require_complete
from hnexport.members import check_members
from hnexport.names import GOLDEN_FILE, MANIFEST_FILE
from hnexport.progress import Progress, no_progress
from hnexport.publishing import Rules, check_place, staged_folder
from hnexport.reading import ReadError, read_bytes
from hnexport.spelling import spelled

__all__ = ["CONFIG_FILE", "RECORD_FILE", "TritonRepository", "deploy_triton"]

CONFIG_FILE = "config.pbtxt"
RECORD_FILE = "hnexport.json"
"""In the folder of a version, which Triton leaves alone: which bundle it is of."""
_SCHEMA = "hnexport-triton"
_MOST_BYTES = 2**24  # of a config.pbtxt, or of labels


@dataclass(frozen=True, kw_only=True)
class TritonRepository:
    """What was written.

    Attributes:
        models: the names of the models, by which clients ask for them.
        version: of each of them.
        size_bytes: of the files that were written.
    """

    path: Path
    models: tuple[str, ...]
    version: int
    size_bytes: int


def deploy_triton(
    bundle: str | PathLike[str],
    target: str | PathLike[str],
    options: TritonOptions | None = None,
    *,
    progress: Progress = no_progress,
) -> TritonRepository:
    """Write a model repository for Triton, or add a version to the models of one that is there.

    Every file is a copy: the repository does not need the bundle afterwards. What is there is never changed; a new
    repository appears as a whole, a new version too.

    Args:
        target: the repository.
        progress: called after each plain member.

    Raises:
        BundleError: the bundle is missing or damaged.
        DeployError: it holds no ONNX files, Triton cannot serve its tensors, or something is in the way.
        RuntimeInputError: a member does not exist, or labels do not fit.
        MembersFailedError: a plain member does not compute what PyTorch computes; nothing was written.
        IncompleteError: plain members are asked for, and only hnexport-runtime is installed.
    """
    bundle, target, options = Path(bundle), Path(target), options or TritonOptions()
    found = read_identified(bundle, options.digest)
    manifest = found.manifest
    if manifest.onnx is None:
        raise DeployError(f"{bundle} holds no ONNX files, only {', '.join(manifest.formats)}: build it with onnx")
    members = () if options.members == () else check_members(options.members or "all", manifest.members)
    check_files(bundle, manifest, [GOLDEN_FILE])
    planned = planned_models(bundle, manifest, read_golden(bundle, manifest), members, options)
    configs = {model.name: config_text(model.interface, options) for model in planned}
    version = _version(target, planned, options)
    used = {path.name for model in planned for path in model.files.values() if path.parent == bundle}
    check_files(bundle, manifest, sorted(used - {MANIFEST_FILE}))
    _check_places(target, planned, configs, version, found)
    with ExitStack() as stack:
        made = stack.enter_context(_plain_members(bundle, found, members, progress))
        roots = _staged(stack, target, planned, version)  # left first, when everything in them is written
        for model in planned:
            folder, is_new = roots[model.name]
            if is_new:
                _write_model(folder, model, configs[model.name])
            own = folder / str(version) if is_new else folder
            _write_version(own, model, made.get(model.member, {}) if model.member is not None else {}, found)
            _check_copies(own, model, bundle, found)
        size_bytes = sum(_size(folder) for folder, _ in roots.values())
    return TritonRepository(
        path=target, models=tuple(model.name for model in planned), version=version, size_bytes=size_bytes
    )


def _version(target: Path, planned: Sequence[Planned], options: TritonOptions) -> int:
    if options.version is not None:
        return options.version
    there = [int(path.name) for model in planned for path in _versions(target / model.name)]
    return max(there, default=0) + 1


def _versions(model: Path) -> list[Path]:
    """The versions that Triton would see."""
    if not model.is_dir():
        return []
    return [path for path in model.iterdir() if path.name.isdecimal() and not path.name.startswith("0")]


def _rules() -> Rules:
    return Rules(error=DeployError, what="model repository", forced_by="")


def _check_places(
    target: Path, planned: Sequence[Planned], configs: Mapping[str, str], version: int, found: Identified
) -> None:
    """Refuse what would be in the way, and another interface under a name that is taken.

    Raises:
        DeployError: a version is there, or a model of that name is another one.
    """
    size = sum(slot.size_bytes for slot in found.manifest.slots if slot.alias_of is None)
    copied = [path for model in planned for path in model.files.values()]
    needed = sum(path.stat().st_size for path in copied) + size * sum(model.member is not None for model in planned)
    if not target.is_dir():
        check_place(target, _rules(), needed_bytes=needed)
        return
    for model in planned:
        folder = target / model.name
        if not folder.exists():
            check_place(folder, _rules(), needed_bytes=needed)
            continue
        if (folder / str(version)).exists():
            raise DeployError(
                f"{folder / str(version)} exists, and a version is never replaced: give another "
                f"{spelled('version', '--version')}, or leave it out for the next one"
            )
        check_place(folder / str(version), _rules(), needed_bytes=needed)
        _check_same(folder, CONFIG_FILE, configs[model.name])
        if model.labels:
            _check_same(folder, LABELS_FILE, _label_text(model))


def _check_same(folder: Path, name: str, text: str) -> None:
    """A model's versions have one configuration, and one file of labels.

    Raises:
        DeployError: another is there.
    """
    try:
        there = read_bytes(folder / name, _MOST_BYTES)
    except ReadError:
        there = b""
    if there != text.encode():
        raise DeployError(
            f"{folder / name} is not what this bundle and these options give, and all versions of a model share it: "
            f"give another {spelled('name', '--name')}, or the options with which it was written"
        )


def _staged(stack: ExitStack, target: Path, planned: Sequence[Planned], version: int) -> dict[str, tuple[Path, bool]]:
    """Of each model the folder to write into, and whether it is the whole model's rather than that of its version."""
    if not target.is_dir():
        root = stack.enter_context(staged_folder(target, _rules()))
        return {model.name: (root / model.name, True) for model in planned}
    roots = {}
    for model in planned:
        folder = target / model.name
        is_new = not folder.exists()
        own = folder if is_new else folder / str(version)
        roots[model.name] = (stack.enter_context(staged_folder(own, _rules())), is_new)
    return roots


@contextmanager
def _plain_members(
    bundle: Path, found: Identified, members: Sequence[int], progress: Progress
) -> Iterator[dict[int, dict[str, Path]]]:
    """The files of plain members, each by the name that it has in its version, for as long as the body runs."""
    if not members:
        yield {}
        return
    require_complete(f"`hnexport deploy triton` with plain members ({spelled('members', '--members')})")
    from hnexport.member import MemberOptions, write_members

    with tempfile.TemporaryDirectory(prefix="hnexport-", ignore_cleanup_errors=True) as taken:
        options = MemberOptions(digest=found.digest)
        written = write_members(bundle, members, Path(taken) / "members", options=options, progress=progress)
        made = {}
        for member, path in written.files.items():
            beside = {one.name: one for one in (path.with_name(f"{path.name}.data"),) if one.exists()}
            made[member] = {MODEL_NAME: path, **beside}
        yield made


def _write_model(folder: Path, model: Planned, config: str) -> None:
    """Everything of a model but its versions."""
    folder.mkdir(exist_ok=True)
    (folder / CONFIG_FILE).write_text(config, encoding="utf-8", newline="\n")
    if model.labels:
        (folder / LABELS_FILE).write_text(_label_text(model), encoding="utf-8", newline="\n")
    for name, content in warmup_files(model.interface).items():
        (folder / WARMUP_FOLDER).mkdir(exist_ok=True)
        (folder / WARMUP_FOLDER / name).write_bytes(content)


def _write_version(folder: Path, model: Planned, made: Mapping[str, Path], found: Identified) -> None:
    folder.mkdir(exist_ok=True)
    for name, path in (*model.files.items(), *made.items()):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(path, folder / name)
    record = {
        "schema": _SCHEMA,
        "schema_version": 1,
        "hnexport": __version__,
        "name": found.manifest.name,
        "bundle": found.digest,
        "kind": model.kind,
        "member": model.member,
    }
    (folder / RECORD_FILE).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8", newline="\n")


def _check_copies(folder: Path, model: Planned, bundle: Path, found: Identified) -> None:
    """Refuse files of a bundle that took the place of the one that was checked.

    Raises:
        DeployError: they are not those that the manifest lists.
    """
    for name, path in model.files.items():
        if path.parent != bundle:
            continue
        if path.name == MANIFEST_FILE:
            same = digest_of(read_bytes(folder / name, _MOST_BYTES)) == found.digest
        else:
            same = record_file(folder / name) == found.manifest.files[path.name]
        if not same:
            raise DeployError(f"{path} was replaced or changed while it was copied: give the same again")


def _label_text(model: Planned) -> str:
    return "".join(f"{label}\n" for label in model.labels)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
