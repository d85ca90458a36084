"""`deploy_web`: one folder with a page, the runtime and the bundle, which any web server serves as it is."""

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from urllib.parse import quote

from hnexport.bundle.checksums import check_files
from hnexport.bundle.manifest import Manifest, read_manifest
from hnexport.deploy.javascript_runtime import PROVIDER_FILES, RuntimePackage, open_runtime
from hnexport.deploy.replacing import SITE_FILE, record, site_rules
from hnexport.deploy.settings import (
    ImageSettings,
    PageSettings,
    RuntimeSettings,
    input_settings,
    labels_of,
    output_settings,
)
from hnexport.errors import DeployError
from hnexport.images import AppliedNormalisation, Normalisation, image_input
from hnexport.images.pictures import PictureOptions, read_picture
from hnexport.names import GOLDEN_FILE, HYPERNET_FILE, MANIFEST_FILE, NETWORK_FILE, WEIGHTS_FILE
from hnexport.publishing import check_place, staged_folder
from hnexport.reading import shown
from hnexport.records import to_json

__all__ = ["WebOptions", "WebSite", "deploy_web"]

_BUNDLE, _RUNTIME, _SAMPLES, _STATIC = "bundle", "ort", "samples", "static"
_SAMPLE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif")


@dataclass(frozen=True, kw_only=True)
class WebOptions:
    """What the page is told beside what the manifest says, over which it wins.

    Attributes:
        runtime: a folder with npm's package onnxruntime-web; None takes it from npm.
        labels: a file with the names of the classes, one a line; None takes the bundle's.
        normalisation: how training normalised pictures; None takes the bundle's.
        samples: pictures to try instead of those that come with hnexport.
        force: replace a site that is already there.
    """

    runtime: Path | None = None
    labels: Path | None = None
    normalisation: Normalisation | None = None
    samples: tuple[Path, ...] = ()
    force: bool = False


@dataclass(frozen=True, kw_only=True)
class WebSite:
    """A site that was written. Sizes are in bytes.

    Attributes:
        runtime_version: of onnxruntime-web.
        runtime_bytes: what a browser loads of the runtime, by provider; it loads one of them.
        weights_bytes: what it loads of the bundle: weights, graphs and golden samples.
        page_bytes: the page, its scripts and samples.
        normalisation: how the page normalises pictures, and who said so; None where the network takes none.
    """

    path: Path
    runtime_version: str
    runtime_bytes: Mapping[str, int]
    weights_bytes: int
    page_bytes: int
    normalisation: AppliedNormalisation | None


@dataclass(frozen=True, kw_only=True)
class _Sources:
    """What goes into the site, by the path that it has there."""

    page: dict[str, Path] = field(default_factory=dict)
    bundle: dict[str, Path] = field(default_factory=dict)
    runtime: dict[str, Path] = field(default_factory=dict)

    @property
    def files(self) -> dict[str, Path]:
        return {**self.page, **self.bundle, **self.runtime}


def deploy_web(bundle: Path, target: Path, options: WebOptions | None = None) -> WebSite:
    """Write a folder with a page that shows what the members say of pictures, or of a few numbers.

    Everything that the page loads lies in the folder: it needs a web server that serves files, and no other place.

    Raises:
        BundleError: the bundle is missing or damaged.
        DeployError: the page cannot show this network, something is at `target`, or the runtime cannot be had.
        RuntimeInputError, SpecError: labels, normalisation or a sample do not fit the network, or nobody said how
            training normalised pictures.
    """
    options = options or WebOptions()
    manifest = read_manifest(bundle)
    _require_parts(bundle, manifest)
    inputs, output = input_settings(manifest, options.normalisation), output_settings(manifest)
    labels = labels_of(options.labels, manifest, output)
    bundled = {name: bundle / name for name in _bundle_files(manifest)}
    rules = site_rules(force=options.force)
    weights_bytes = sum(path.stat().st_size for path in bundled.values() if path.exists())
    check_place(target, rules, needed_bytes=weights_bytes + 50_000_000)
    check_files(bundle, manifest, [name for name in bundled if name != MANIFEST_FILE])
    samples = _samples(manifest, options.samples) if isinstance(inputs, ImageSettings) else {}
    with open_runtime(options.runtime) as runtime:
        sources = _Sources(
            page={**_page_files(), **samples},
            bundle={f"{_BUNDLE}/{name}": path for name, path in bundled.items()},
            runtime={f"{_RUNTIME}/{name}": path for name, path in runtime.files.items()},
        )
        settings = PageSettings(
            name=manifest.name,
            origin=manifest.origin,
            license=manifest.usage.license,
            members=manifest.members,
            input=inputs,
            output=output,
            labels=labels,
            samples=tuple(quote(name) for name in samples),
            runtime=_runtime_settings(runtime),
            weights_bytes=weights_bytes,
        )
        with staged_folder(target, rules) as folder:
            _write(folder, sources.files, settings)
            page_bytes = sum((folder / name).stat().st_size for name in (*sources.page, SITE_FILE))
    return WebSite(
        path=target,
        runtime_version=settings.runtime.version,
        runtime_bytes=settings.runtime.bytes,
        weights_bytes=weights_bytes,
        page_bytes=page_bytes,
        normalisation=inputs.normalisation if isinstance(inputs, ImageSettings) else None,
    )


def _require_parts(bundle: Path, manifest: Manifest) -> None:
    if manifest.conditions:
        raise DeployError(
            f"{manifest.name} makes a member's weights of {', '.join(manifest.conditions)}, an input: the page and the "
            "module in examples/web keep the weights of members; call model.onnx, which takes it"
        )
    if manifest.onnx is None:
        raise DeployError(f"{bundle} holds no ONNX files, only {', '.join(manifest.formats)}: build it with onnx")
    if manifest.schema_version == 1:
        raise DeployError(
            f"{bundle} was built by hnexport 0.1, whose {NETWORK_FILE} no browser can give a member's weights: build "
            "it again"
        )


def _bundle_files(manifest: Manifest) -> tuple[str, ...]:
    """What a browser loads: where no tensor is large there are no weights beside the graphs."""
    files = (MANIFEST_FILE, HYPERNET_FILE, NETWORK_FILE, WEIGHTS_FILE, GOLDEN_FILE)
    return tuple(name for name in files if name != WEIGHTS_FILE or name in manifest.files)


def _page_files() -> dict[str, Path]:
    """The page and its compiled scripts, from the package."""
    root = Path(str(resources.files("hnexport.deploy"))) / _STATIC
    names = sorted(
        path for path in root.rglob("*") if path.is_file() and path.suffix in (".html", ".css", ".js", ".svg")
    )
    return {path.relative_to(root).as_posix(): path for path in names}


def _samples(manifest: Manifest, given: tuple[Path, ...]) -> dict[str, Path]:
    """Pictures to try, each of which the page can read."""
    if not given:
        shipped = Path(str(resources.files("hnexport.deploy"))) / _STATIC / _SAMPLES
        return {f"{_SAMPLES}/{path.name}": path for path in sorted(shipped.glob("*.png"))}
    image, found = image_input(manifest), dict[str, Path]()
    for path in given:
        name = f"{_SAMPLES}/{path.name}"
        if path.suffix.lower() not in _SAMPLE_ENDINGS:
            raise DeployError(f"{path}: browsers read {', '.join(_SAMPLE_ENDINGS)}: save the sample as one of them")
        if not _is_text(path.name):
            raise DeployError(f"{shown(path.name)} is no name that an address can have: rename the sample")
        if name in found:
            raise DeployError(f"{path} and {found[name]} have the same name: rename one of the samples")
        if image is not None:
            read_picture(path, image, PictureOptions(resize=True, background=(255, 255, 255), frame=0))
        found[name] = path
    return found


def _is_text(name: str) -> bool:
    """Whether a name is one in Unicode: Linux also takes other bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _runtime_settings(runtime: RuntimePackage) -> RuntimeSettings:
    return RuntimeSettings(
        version=runtime.version, bytes={provider: runtime.size_bytes(provider) for provider in PROVIDER_FILES}
    )


def _write(folder: Path, sources: Mapping[str, Path], settings: PageSettings) -> None:
    for name, path in sources.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / name)
    _write_record(folder, sources, settings)


def _write_record(folder: Path, names: Iterable[str], settings: PageSettings) -> None:
    text = json.dumps(record(names, to_json(settings)), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / SITE_FILE).write_text(text + "\n", encoding="utf-8", newline="\n")
