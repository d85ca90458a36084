"""`deploy_web`: what lies in the folder, what is refused, and what may be replaced."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundles import saying, small_bundle
from hypernetworks import CASES
from PIL import Image
from shared import built_kind
from web_runtime import runtime_package
from written import written

from hnexport.bundle.manifest import Format, read_manifest, write_manifest
from hnexport.deploy import WebOptions, deploy_web
from hnexport.deploy.javascript_runtime import PROVIDER_FILES
from hnexport.errors import BundleError, DeployError, RuntimeInputError, SpecError
from hnexport.spec.usage import Normalisation

V1 = Path(__file__).parents[1] / "data" / "bundle-v1"
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runtime_package(tmp_path_factory.mktemp("npm") / "onnxruntime-web")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that says how its pictures are normalised."""
    target = tmp_path_factory.mktemp("saying") / "bundle"
    return saying(small_bundle("hypernet"), target, normalisation=Normalisation(mean=(0.4,), std=(0.25, 0.5, 1.0)))


@pytest.fixture
def deployed(runtime: Path, tmp_path: Path) -> Callable[..., Any]:
    """Deploys a bundle with options into a new folder; what is in its `site.json`."""

    def deploy(bundle: Path, **options: Any) -> Any:
        deploy_web(bundle, tmp_path / "site", WebOptions(runtime=runtime, **options))
        return json.loads((tmp_path / "site" / "site.json").read_text())

    return deploy


def files(folder: Path) -> set[Any]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_folder_holds_the_page_the_runtime_and_the_bundle(
    deployed: Callable[..., Any], bundle: Path, tmp_path: Path
) -> None:
    record = deployed(bundle)
    found = files(tmp_path / "site")
    assert found == {*record["files"], "site.json"}
    assert {"index.html", "page.css", "page/page.js", "page/worker.js", "module/index.js", "samples/cat.png"} <= found
    names = ("manifest.json", "hypernet.onnx", "network.onnx", "weights.bin", "golden.safetensors")
    for name in names:
        assert (tmp_path / "site" / "bundle" / name).read_bytes() == (bundle / name).read_bytes()
    assert {name for name in found if name.startswith("bundle/")} == {f"bundle/{name}" for name in names}
    runtime = {f"ort/{name}" for names in PROVIDER_FILES.values() for name in names}
    assert {name for name in found if name.startswith("ort/")} == {*runtime, "ort/package.json"}


def test_sizes_are_those_of_the_files(runtime: Path, bundle: Path, tmp_path: Path) -> None:
    site = deploy_web(bundle, tmp_path / "site", WebOptions(runtime=runtime))
    sizes = {name: (site.path / name).stat().st_size for name in files(site.path)}
    weights = sum(size for name, size in sizes.items() if name.startswith("bundle/"))
    ort = sum(size for name, size in sizes.items() if name.startswith("ort/"))
    assert site.weights_bytes == weights
    assert site.page_bytes == sum(sizes.values()) - weights - ort
    assert sum(site.runtime_bytes.values()) == ort - sizes["ort/package.json"]


def test_no_file_of_the_site_names_another_place(deployed: Callable[..., Any], bundle: Path, tmp_path: Path) -> None:
    deployed(bundle)
    texts = [path for path in (tmp_path / "site").rglob("*") if path.suffix in (".html", ".css", ".js", ".json")]
    assert {"index.html", "manifest.json"} <= {path.name for path in texts}
    for path in texts:
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "//cdn" not in text
        assert "http://" not in text
        assert "https://" not in text


def test_the_page_is_told_how_to_call_the_network(deployed: Callable[..., Any], bundle: Path) -> None:
    page = deployed(bundle)["page"]
    assert page["input"] == {
        "name": "image",
        "dtype": "float32",
        "layout": "nchw",
        "channels": 3,
        "height": 8,
        "width": 8,
        "normalisation": {"by": "ensemble", "mean": [0.4], "std": [0.25, 0.5, 1.0]},
        "kind": "image",
    }
    assert page["output"] == {"name": "logits", "kind": "logits", "size": 10}
    assert (page["members"], page["labels"], page["runtime"]["version"]) == (3, None, "1.30.0")
    assert page["license"] is None


def test_class_names_and_licence_of_the_bundle_reach_the_page(deployed: Callable[..., Any], tmp_path: Path) -> None:
    names = tuple(f"kind {one}" for one in range(10))
    page = deployed(
        saying(small_bundle("pixels"), tmp_path / "bundle", class_names={"logits": names}, license="CC-BY-4.0")
    )["page"]
    assert page["labels"] == list(names)
    assert page["license"] == "CC-BY-4.0"


def test_a_graph_that_takes_pixels_needs_no_normalisation(deployed: Callable[..., Any]) -> None:
    found = deployed(small_bundle("pixels"))["page"]["input"]
    assert (found["dtype"], found["normalisation"]) == ("uint8", {"by": "graph", "mean": None, "std": None})


def test_what_is_given_wins_over_what_the_bundle_says(deployed: Callable[..., Any], tmp_path: Path) -> None:
    bundle = saying(
        small_bundle("hypernet"),
        tmp_path / "bundle",
        normalisation=Normalisation(mean=(0.4,), std=(0.25,)),
        class_names={"logits": tuple(f"kind {one}" for one in range(10))},
    )
    (tmp_path / "labels.txt").write_text("\n".join(f"sort {one}" for one in range(10)))
    page = deployed(bundle, normalisation=Normalisation(mean=(0.5,)), labels=tmp_path / "labels.txt")["page"]
    assert page["labels"][9] == "sort 9"
    assert page["input"]["normalisation"] == {"by": "given", "mean": [0.5], "std": [1.0]}


def test_names_that_two_classes_share_are_told_apart(deployed: Callable[..., Any], tmp_path: Path) -> None:
    names = ("crane", *(f"kind {one}" for one in range(1, 9)), "crane")
    page = deployed(saying(small_bundle("pixels"), tmp_path / "bundle", class_names={"logits": names}))["page"]
    assert (page["labels"][0], page["labels"][1], page["labels"][9]) == ("crane (0)", "kind 1", "crane (9)")


def test_labels_normalisation_and_samples_reach_the_page(deployed: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("\n".join(f"kind {one}" for one in range(10)))
    Image.new("RGB", (40, 30), "red").save(tmp_path / "a #1 %.png")
    page = deployed(
        small_bundle("hypernet"),
        labels=tmp_path / "labels.txt",
        normalisation=Normalisation(mean=(0.5,), std=(0.2, 0.3, 0.4)),
        samples=(tmp_path / "a #1 %.png",),
    )["page"]
    assert page["labels"][9] == "kind 9"
    assert page["input"]["normalisation"] == {"by": "given", "mean": [0.5], "std": [0.2, 0.3, 0.4]}
    assert page["samples"] == ["samples/a%20%231%20%25.png"]
    assert files(tmp_path / "site" / "samples") == {"a #1 %.png"}


def test_a_network_of_a_few_numbers_gets_a_form_and_no_pictures(deployed: Callable[..., Any]) -> None:
    page = deployed(written("list of GRUs").folder)["page"]
    assert page["input"] == {"name": "series", "dtype": "float32", "shape": [7, 4], "kind": "numbers"}
    assert page["samples"] == []


PLAIN = {"normalisation": Normalisation()}
REFUSED = {
    "no normalisation": ("hypernet", {}, RuntimeInputError, r"does not say how .* give normalisation=Normalisation\("),
    "two inputs": ("list of encoders", {}, DeployError, r"takes tokens int64 .*the page shows networks of one input"),
    "mean without pictures": ("list of GRUs", PLAIN, DeployError, "mean and std are for pictures"),
    "mean for pixels": ("pixels", PLAIN, RuntimeInputError, "this graph normalises its images itself"),
    "two means": (
        "hypernet",
        {"normalisation": Normalisation(mean=(0.5, 0.5))},
        SpecError,
        "mean needs 1 or 3 numbers, one a channel, found 2",
    ),
    "no labels": ("hypernet", {**PLAIN, "labels": Path("missing.txt")}, RuntimeInputError, "missing.txt"),
    "no sample": ("hypernet", {**PLAIN, "samples": (Path("missing.png"),)}, RuntimeInputError, "missing.png"),
    "a strange sample": ("hypernet", {**PLAIN, "samples": (Path("a.tiff"),)}, DeployError, "browsers read .png"),
    "no text": (
        "hypernet",
        {**PLAIN, "samples": (Path("\udcff.png"),)},
        DeployError,
        r"'\\udcff.png' is no name .*rename the",
    ),
    "the same name": (
        "hypernet",
        {**PLAIN, "samples": (EXAMPLES / "images" / "cat.png", EXAMPLES / "images" / ".." / "images" / "cat.png")},
        DeployError,
        "have the same name",
    ),
}


@pytest.mark.parametrize(("kind", "options", "error", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_what_the_page_cannot_show_is_refused_with_the_reason(
    deployed: Callable[..., Any],
    tmp_path: Path,
    kind: str,
    options: dict[str, Any],
    error: type[Exception],
    reason: str,
) -> None:
    with pytest.raises(error, match=reason):
        deployed(written(kind).folder, **options)
    assert not (tmp_path / "site").exists()


def test_a_hypernetwork_of_a_vector_is_refused_as_what_it_is(deployed: Callable[..., Any]) -> None:
    with pytest.raises(DeployError, match="makes a member's weights of .*, an input: the page and the module"):
        deployed(built_kind("hypernetwork-both", CASES["both"]).path)


def test_a_bundle_of_the_first_schema_is_refused(deployed: Callable[..., Any]) -> None:
    with pytest.raises(DeployError, match="was built by hnexport 0.1.*build it again"):
        deployed(V1)


def test_a_bundle_without_onnx_is_refused(deployed: Callable[..., Any], tmp_path: Path) -> None:
    bundle = shutil.copytree(small_bundle("hypernet"), tmp_path / "bundle")
    manifest = read_manifest(bundle)
    files = {name: one for name, one in manifest.files.items() if not name.endswith((".onnx", ".bin"))}
    write_manifest(
        bundle,
        dataclasses.replace(manifest, onnx=None, formats=(Format.TORCHSCRIPT, Format.PT2), files=files, parity={}),
    )
    with pytest.raises(DeployError, match="holds no ONNX files, only torchscript, pt2: build it with onnx"):
        deployed(bundle)


@pytest.mark.parametrize("name", ["weights.bin", "network.onnx", "golden.safetensors"])
def test_a_damaged_bundle_is_not_deployed(
    deployed: Callable[..., Any], bundle: Path, tmp_path: Path, name: str
) -> None:
    bundle = shutil.copytree(bundle, tmp_path / "bundle")
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)
    with pytest.raises(BundleError, match=f"{name} is damaged"):
        deployed(bundle)
    assert not (tmp_path / "site").exists()


def test_what_is_there_stays_without_force_and_a_site_is_replaced_with_it(
    deployed: Callable[..., Any], bundle: Path, tmp_path: Path
) -> None:
    deployed(bundle)
    with pytest.raises(DeployError, match=r"site exists: choose another target, or give force=True to replace it"):
        deployed(bundle)
    assert deployed(bundle, **PLAIN, force=True)["page"]["input"]["normalisation"]["by"] == "given"
    (tmp_path / "site" / "samples" / "mine.png").write_bytes(b"")
    with pytest.raises(DeployError, match=r"holds samples/mine.png, which its site.json does not list"):
        deployed(bundle, force=True)
    assert (tmp_path / "site" / "samples" / "mine.png").exists()


@pytest.mark.parametrize("what", ["a folder", "a file", "a bundle", "somebody's site.json"])
def test_force_replaces_nothing_but_a_site(
    deployed: Callable[..., Any], bundle: Path, tmp_path: Path, what: str
) -> None:
    target = tmp_path / "site"
    if what == "a bundle":
        shutil.copytree(bundle, target)
    elif what == "a file":
        target.write_text("mine")
    else:
        target.mkdir()
        (target / ("site.json" if "json" in what else "mine.txt")).write_text('{"schema": "mine", "files": []}')
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DeployError, match="not a site of hnexport: force=True replaces only those"):
        deployed(bundle, force=True)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_empty_folder_may_be_replaced(deployed: Callable[..., Any], bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    assert deployed(bundle, force=True)["schema"] == "hnexport-site"


def test_the_samples_are_the_example_images() -> None:
    import hnexport.deploy

    shipped = Path(hnexport.deploy.__file__).parent / "static" / "samples"
    assert {path.name: path.read_bytes() for path in shipped.iterdir()} == {
        path.name: path.read_bytes() for path in (EXAMPLES / "images").glob("*.png")
    }
