"""The page in Chromium: what a visitor sees is what Python computes, and nothing goes wrong without a word."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import saying, small_bundle
from PIL import Image
from web_sites import PACKAGES, OpenPage, Page, serving
from written import written

from hnexport.bundle.golden import read_golden
from hnexport.bundle.manifest import Temperature, read_identified
from hnexport.evaluate.derive import derive_bundle
from hnexport.images import Normalisation, image_input, read_images
from hnexport.names import ENSEMBLE_FILE
from hnexport.rows import row_errors
from hnexport.runtime import load

pytestmark = pytest.mark.browser

LIMIT = 1e-5
NO_GPU = "?provider=wasm"
LOAD = """async ([provider, script, wasm]) => {
  const ort = await import(`/ort/${script}`);
  ort.env.wasm.wasmPaths = { wasm: new URL(`/ort/${wasm}`, location.href).href };
  ort.env.wasm.numThreads = 1;
  const { load } = await import("/module/index.js");
  window.ort = ort;
  window.ensemble = await load(new URL("/bundle/", location.href), { ort, providers: [provider] });
}"""
FILES = {
    "wasm": ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"),
    "webgpu": ("ort.webgpu.bundle.min.mjs", "ort-wasm-simd-threaded.asyncify.wasm"),
}


PLAIN = ("--mean", "0", "--std", "1")
TRAINED = Normalisation(mean=(0.5, 0.4, 0.3), std=(0.25,))
NAMES = tuple(f"kind {one}" for one in range(10))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It says how its pictures are normalised, and has no class names."""
    return saying(small_bundle("hypernet"), tmp_path_factory.mktemp("saying") / "bundle", normalisation=TRAINED)


@pytest.fixture(scope="module")
def named_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that says everything."""
    folder = tmp_path_factory.mktemp("named") / "bundle"
    usage = {"normalisation": TRAINED, "class_names": {"logits": NAMES}, "license": "apache-2.0"}
    return saying(small_bundle("hypernet"), folder, **usage)


@pytest.fixture(scope="module")
def address(bundle: Path) -> Iterator[str]:
    with serving(bundle) as found:
        yield found


@pytest.fixture
def page(open_page: OpenPage, address: str) -> Any:
    found = open_page(address + NO_GPU)
    settled(found, 3)
    return found


def settled(page: Any, members: int, cards: int = 1) -> None:
    """Wait until every card shows so many members."""
    page.wait_for_selector("html[data-ready]")
    for card in range(cards):
        page.locator(f".says[data-members='{' '.join(map(str, range(members)))}']").nth(card).wait_for()


def chosen(page: Any, members: str, cards: int = 1) -> None:
    page.locator(f".says[data-members='{members}']").nth(cards - 1).wait_for()


def picture(height: int = 8, width: int = 8, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def as_png(image: Image.Image, name: str = "picture.png") -> dict[Any, Any]:
    content = io.BytesIO()
    image.save(content, "PNG")
    return {"name": name, "mimeType": "image/png", "buffer": content.getvalue()}


def give(page: Any, *files: object) -> None:
    page.set_input_files("#files", list(files))


def card_of(page: Any, name: str) -> Any:
    return page.locator("article", has=page.get_by_role("heading", name=name, exact=True))


def shares(card: Any) -> dict[Any, float]:
    """The mean's bars by class, as numbers."""
    found = {}
    for row in card.locator(".bars .row").all():
        label, value = row.locator(".label").inner_text(), row.locator(".value").inner_text()
        found[label] = float(value.removesuffix(" %"))
    return found


def expected(
    bundle: Path | Any,
    file: dict[str, Any],
    tmp_path: Path,
    members: str | list[Any] = "all",
    normalisation: Normalisation | None = None,
) -> Any:
    """What the runtime makes of the same file, in percent; normalised as the bundle says unless another is given."""
    path = tmp_path / file["name"]
    path.write_bytes(file["buffer"])
    ensemble = load(bundle)
    image = image_input(ensemble.manifest)
    images = read_images([path], image, resize=True, normalisation=normalisation or image.normalisation).images
    return 100 * ensemble.predict_mean(images, members=members).probabilities[0]


def assert_shown(card: Any, percent: Any, names: tuple[str, ...] | list[str] | None = None) -> None:
    found = shares(card)
    best = np.argsort(-percent)[:5]
    assert list(found) == [names[one] if names else f"class {one}" for one in best]
    assert np.allclose(list(found.values()), percent[best], atol=0.2)


def test_a_sample_is_predicted_at_once_by_every_member(page: Page, address: str) -> None:
    assert page.title() == "wrn-10-1-hypernet-3 · hnexport"
    assert page.evaluate("crossOriginIsolated") is True
    assert re.match(r"WebAssembly with \d+ threads? · onnxruntime-web 1\.30\.0, 14\.\d MB", page.inner_text("#facts"))
    assert page.locator("article").count() == 1
    rows = page.locator("article .heat tbody tr")
    assert [row.locator("th").inner_text() for row in rows.all()] == ["0", "1", "2"]
    assert page.locator("#errors li").count() == 0
    assert "members disagree" in page.inner_text("article")


@pytest.mark.parametrize("kind", ["hypernet", "batch-ensemble", "pixels"])
@pytest.mark.parametrize("provider", FILES)
def test_every_member_is_right_on_the_golden_samples(open_page: OpenPage, kind: str, provider: str) -> None:
    files = written(kind)
    golden = read_golden(files.folder)
    with serving(files.folder, *(() if kind == "pixels" else PLAIN)) as address:
        page = open_page(f"{address}site.json")
        page.evaluate(LOAD, [provider, *FILES[provider]])
        found = page.evaluate("""async () => {
          const found = [];
          for (let member = 0; member < ensemble.members; member++) {
            found.push([...(await ensemble.predict(ensemble.golden.inputs, { member })).logits.data]);
          }
          return found;
        }""")
        assert page.evaluate("async () => await ensemble.check()") <= LIMIT
    exact = golden.outputs["logits"]
    for own, right in zip(found, exact, strict=True):
        assert row_errors(np.array(own).reshape(right.shape), right).max() <= LIMIT


def test_members_say_what_the_ensemble_graph_says(open_page: OpenPage, address: str, bundle: Path) -> None:
    def give_graph(page: Page) -> None:
        page.route("**/ensemble.onnx", lambda route: route.fulfill(path=bundle / ENSEMBLE_FILE))

    page = open_page(f"{address}site.json", before=give_graph)
    page.evaluate(LOAD, ["wasm", *FILES["wasm"]])
    graph, own = page.evaluate("""async () => {
      const bytes = async (name) => new Uint8Array(await (await fetch(name)).arrayBuffer());
      const session = await ort.InferenceSession.create(await bytes("/ensemble.onnx"), {
        executionProviders: ["wasm"],
        externalData: [{ path: "weights.bin", data: await bytes("/bundle/weights.bin") }],
      });
      const { data, shape } = ensemble.golden.inputs.image;
      const ids = new ort.Tensor("int64", BigInt64Array.of(2n, 0n, 1n), [3]);
      const all = await session.run({ cond_ids: ids, image: new ort.Tensor("float32", data, shape) });
      const { logits } = await ensemble.predictMean(ensemble.golden.inputs, { members: [2, 0, 1] });
      const listed = (one) => [...one.data];
      return [
        [all.member_logits, all.mean_probabilities, all.predictive_entropy, all.mutual_information].map(listed),
        [logits.logits, logits.probabilities, logits.predictiveEntropy, logits.mutualInformation].map(listed),
      ];
    }""")
    for one, other in zip(graph, own, strict=True):
        assert np.allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(8, 8), (30, 40), (6, 5), (300, 200)], ids=str)
def test_an_uploaded_picture_gets_what_predict_says(
    page: Page, bundle: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    file = as_png(picture(*size))
    give(page, file)
    settled(page, 3, cards=2)
    assert_shown(card_of(page, "picture.png"), expected(bundle, file, tmp_path))


def test_several_pictures_and_samples_each_get_a_card(page: Page, bundle: Path, tmp_path: Path) -> None:
    files = [as_png(picture(seed=seed), f"picture{seed}.png") for seed in range(3)]
    give(page, *files)
    page.get_by_title("Try cat.png").click()
    settled(page, 3, cards=5)
    for file in files:
        assert_shown(card_of(page, file["name"]), expected(bundle, file, tmp_path))
    page.get_by_label("Remove picture1.png").click()
    assert page.locator("article").count() == 4


def test_a_picture_is_dropped_and_pasted(page: Page) -> None:
    for kind, name in (("drop", "dataTransfer"), ("paste", "clipboardData")):
        file = as_png(picture(seed=7), f"{kind}ped.png")
        page.evaluate(
            """([kind, name, file, content]) => {
              const held = new DataTransfer();
              held.items.add(new File([Uint8Array.from(content)], file));
              document.dispatchEvent(kind === "drop" ? new DragEvent("drop", { dataTransfer: held, bubbles: true })
                : new ClipboardEvent("paste", { clipboardData: held, bubbles: true }));
            }""",
            [kind, name, file["name"], list(file["buffer"])],
        )
        card_of(page, file["name"]).wait_for()


def test_members_are_switched_with_the_keyboard(page: Page, bundle: Path, tmp_path: Path) -> None:
    file = as_png(picture())
    give(page, file)
    settled(page, 3, cards=2)
    page.get_by_label("1", exact=True).focus()
    page.keyboard.press("Space")
    chosen(page, "0 2", cards=2)
    assert_shown(card_of(page, "picture.png"), expected(bundle, file, tmp_path, members=[0, 2]))
    page.get_by_role("button", name="Only one").press("Enter")
    chosen(page, "0", cards=2)
    assert_shown(card_of(page, "picture.png"), expected(bundle, file, tmp_path, members=[0]))
    page.get_by_label("0", exact=True).press("Space")  # somebody has to answer
    assert page.get_by_label("0", exact=True).is_checked()
    page.get_by_role("button", name="All").press("Enter")
    chosen(page, "0 1 2", cards=2)


INVALID = {
    "text.png": (b"this is no picture", "text.png is not an image that this browser can read"),
    "empty.png": (b"", "empty.png is empty."),
    "huge.png": (b"\0" * (2**26 + 1), "huge.png has 67.1 MB: pictures are read up to 67.1 MB."),
    "cut.png": (as_png(picture())["buffer"][:60], "cut.png is not an image that this browser can read"),
    "wide.png": (as_png(Image.new("1", (9000, 9000)))["buffer"], "wide.png has 9000 \u00d7 9000 pixels"),
    "long.png": (as_png(Image.new("1", (70000, 1)))["buffer"], "long.png has 70000 \u00d7 1 pixels, more than this"),
}


def test_files_that_are_no_pictures_are_named_and_the_page_goes_on(
    page: Page, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = as_png(picture())
    paths = []
    for name, (content, _) in {**INVALID, good["name"]: (good["buffer"], "")}.items():
        (tmp_path / name).write_bytes(content)
        paths.append(tmp_path / name)
    page.set_input_files("#files", paths)
    settled(page, 3, cards=2)
    said = [line.inner_text() for line in page.locator("#errors li span").all()]
    assert len(said) == len(INVALID)
    for line, (_, start) in zip(said, INVALID.values(), strict=True):
        assert line.startswith(start)
    assert page.locator("article").count() == 2
    assert_shown(card_of(page, "picture.png"), expected(bundle, good, tmp_path))
    for _ in INVALID:
        page.get_by_label("Dismiss").first.click()
    assert page.locator("#errors li").count() == 0


def test_members_that_do_not_exist_are_refused_in_words(open_page: OpenPage, address: str) -> None:
    page = open_page(f"{address}site.json")
    page.evaluate(LOAD, ["wasm", *FILES["wasm"]])
    for member in ("-1", "3", "2 ** 31", "2 ** 40", "0.5", "NaN"):
        said = page.evaluate(
            f"ensemble.predict(ensemble.golden.inputs, {{ member: {member} }}).catch((error) => error.message)"
        )
        assert said.endswith("does not exist: this ensemble has members 0 to 2")


@pytest.mark.parametrize("name", ["weights.bin", "network.onnx"])
def test_a_damaged_file_is_named(open_page: OpenPage, address: str, bundle: Path, name: str) -> None:
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1

    def damage(page: Page) -> None:
        page.route(f"**/bundle/{name}", lambda route: route.fulfill(body=bytes(content)))

    page = open_page(address + NO_GPU, before=damage)
    error = page.locator("#errors li")
    error.wait_for()
    assert f"The ensemble could not be loaded: {name} is damaged" in error.inner_text()


def test_normalisation_class_names_and_licence_are_what_the_bundle_says(
    open_page: OpenPage, named_bundle: Path, tmp_path: Path
) -> None:
    with serving(named_bundle) as address:
        page = open_page(address + NO_GPU)
        settled(page, 3)
        assert (page.input_value("#mean"), page.input_value("#std")) == ("0.5, 0.4, 0.3", "0.25")
        assert page.inner_text("#said") == "of pixel/255, as the bundle says"
        assert page.inner_text("#about").endswith(" · licence apache-2.0")
        file = as_png(picture(20, 20))
        give(page, file)
        settled(page, 3, cards=2)
        card, right = card_of(page, "picture.png"), expected(named_bundle, file, tmp_path)
        assert_shown(card, right, NAMES)
        best = [NAMES[one] for one in np.argsort(-right)[:5]]
        assert card.locator(".headline strong").inner_text() == best[0]
        assert [one.inner_text() for one in card.locator(".heat thead th").all()][2:] == best
        first = [one.inner_text() for one in card.locator(".heat tbody td:nth-child(2)").all()]
        assert len(first) == 3
        assert set(first) <= set(NAMES)


def test_a_visitor_tries_another_normalisation_and_goes_back(
    open_page: OpenPage, named_bundle: Path, tmp_path: Path
) -> None:
    with serving(named_bundle) as address:
        page = open_page(address + NO_GPU)
        settled(page, 3)
        file = as_png(picture(20, 20))
        give(page, file)
        settled(page, 3, cards=2)
        card = card_of(page, "picture.png")
        own = expected(named_bundle, file, tmp_path)
        other = expected(named_bundle, file, tmp_path, normalisation=Normalisation(mean=TRAINED.mean, std=(0.5,)))
        page.fill("#std", "0.5")
        page.locator("#std").blur()
        card.locator(f".headline:has-text('{other.max():.1f} %')").wait_for()
        settled(page, 3, cards=2)
        assert_shown(card, other, NAMES)
        said = "changed here; the bundle says mean 0.5, 0.4, 0.3 and std 0.25"
        assert page.inner_text("#said") == said
        for field, text in (("#std", "-1"), ("#mean", "a, 0.5"), ("#std", "")):  # marked as wrong, and not used
            page.fill(field, text)
            page.locator(field).blur()
            assert page.locator(f"{field}:invalid").count() == 1
        give(page, {**file, "name": "another.png"})
        settled(page, 3, cards=3)
        assert_shown(card_of(page, "another.png"), other, NAMES)
        page.get_by_role("button", name="Back to it").press("Enter")
        card.locator(f".headline:has-text('{own.max():.1f} %')").wait_for()
        settled(page, 3, cards=3)
        assert_shown(card, own, NAMES)
        assert page.locator("#mean:invalid, #std:invalid").count() == 0
        assert not page.locator("#back").is_visible()


def test_normalisation_labels_and_samples_are_what_the_command_was_given(
    open_page: OpenPage, named_bundle: Path, tmp_path: Path
) -> None:
    names = [f"sort {one}" for one in range(10)]
    (tmp_path / "labels.txt").write_text("\n".join(names))
    picture(20, 20).save(tmp_path / "my own #1.png")
    options = ["--labels", tmp_path / "labels.txt", "--mean", "0.1", "--std", "0.5,0.6,0.7"]
    with serving(named_bundle, *options, "--sample", tmp_path / "my own #1.png") as address:
        page = open_page(address + NO_GPU)
        settled(page, 3)
        assert page.inner_text("#said") == "of pixel/255, as this page was told"
        file = {"name": "my own #1.png", "buffer": (tmp_path / "my own #1.png").read_bytes()}
        (tmp_path / "read").mkdir()
        given = Normalisation(mean=(0.1,), std=(0.5, 0.6, 0.7))
        right = expected(named_bundle, file, tmp_path / "read", normalisation=given)
        assert_shown(card_of(page, "my own #1.png"), right, names)


def test_a_tempered_bundle_says_what_the_runtime_says_of_it(
    open_page: OpenPage, named_bundle: Path, tmp_path: Path
) -> None:
    temperature = Temperature(output="logits", value=3.0, rows=100, source=read_identified(named_bundle).digest)
    tempered = tmp_path / "tempered"
    derive_bundle(named_bundle, tempered, temperature, provider="cpu", trust=True)
    file = as_png(picture(20, 20))
    right, raw = (expected(one, file, tmp_path) for one in (tempered, named_bundle))
    assert right.max() < raw.max()
    with serving(tempered) as address:
        page = open_page(address + NO_GPU)
        settled(page, 3)
        give(page, file)
        settled(page, 3, cards=2)
        assert_shown(card_of(page, "picture.png"), right, NAMES)
        page = open_page(f"{address}site.json")
        page.evaluate(LOAD, ["wasm", *FILES["wasm"]])
        own = page.evaluate(
            "async () => [...(await ensemble.predict(ensemble.golden.inputs, { member: 1 })).logits.data]"
        )
    golden = read_golden(tempered)
    exact = load(tempered).predict(golden.inputs["image"], member=1)
    assert row_errors(np.array(own).reshape(exact.shape), exact.astype(float)).max() <= LIMIT
    assert np.allclose(golden.outputs["logits"] * 3, read_golden(named_bundle).outputs["logits"])


def test_pixels_need_no_normalisation(open_page: OpenPage, tmp_path: Path) -> None:
    bundle = written("pixels").folder
    with serving(bundle) as address:
        page = open_page(address + NO_GPU)
        settled(page, 3)
        assert not page.locator("#normalisation").is_visible()
        file = as_png(picture(30, 20))
        give(page, file)
        settled(page, 3, cards=2)
        assert_shown(card_of(page, "picture.png"), expected(bundle, file, tmp_path))


def test_a_few_numbers_have_a_form(open_page: OpenPage) -> None:
    files = written("list of GRUs")
    golden, ensemble = read_golden(files.folder), load(files.folder)
    with serving(files.folder) as address:
        page = open_page(address + NO_GPU)
        settled(page, 3)
        fields = page.locator("#numbers .fields input")
        assert fields.count() == 28
        fields.first.fill("2.5")
        page.get_by_role("button", name="Predict").click()
        settled(page, 3, cards=2)
        series = golden.inputs["series"][:1].copy()
        series[0, 0, 0] = 2.5
        found = ensemble.predict_mean(series)
        assert page.locator("article").first.locator("h2").inner_text() == "Sample 2"
        if hasattr(found, "probabilities"):
            assert_shown(page.locator("article").first, 100 * found.probabilities[0])
        else:
            said = [row.inner_text() for row in page.locator("article").first.locator(".bars .value").all()]
            assert np.allclose([float(one.split(" ± ")[0]) for one in said], found.mean.ravel(), rtol=1e-3)
        fields.first.fill("")
        page.get_by_role("button", name="Predict").click()
        assert "series 0 is not a number" in page.locator("#errors li").inner_text()


def test_webgpu_is_chosen_and_left_again(open_page: OpenPage, address: str, bundle: Path, tmp_path: Path) -> None:
    page = open_page(f"{address}?provider=webgpu")
    settled(page, 3)
    assert page.inner_text("#facts").startswith("WebGPU · onnxruntime-web")
    file = as_png(picture())
    give(page, file)
    settled(page, 3, cards=2)
    assert_shown(card_of(page, "picture.png"), expected(bundle, file, tmp_path))
    page.select_option("#provider", "wasm")
    page.locator("#facts", has_text="WebAssembly").wait_for()
    settled(page, 3, cards=2)


def test_without_the_headers_the_page_works_with_one_thread(open_page: OpenPage, address: str) -> None:
    def without(page: Page) -> None:
        def answer(route: Any) -> None:
            response = route.fetch()
            headers = {name: value for name, value in response.headers.items() if "cross-origin" not in name}
            route.fulfill(response=response, headers=headers)

        page.route("**/*", answer)

    page = open_page(address + NO_GPU, before=without)
    settled(page, 3)
    assert page.evaluate("crossOriginIsolated") is False
    assert page.inner_text("#facts").startswith("WebAssembly with 1 thread (more need the headers COOP and COEP)")


def test_several_threads_compute_the_same(open_page: OpenPage, address: str, bundle: Path, tmp_path: Path) -> None:
    cores = 'Object.defineProperty(navigator, "hardwareConcurrency", { get: () => 8 });\n'

    def on_eight_cores(page: Page) -> None:
        def answer(route: Any) -> None:
            response = route.fetch()
            route.fulfill(response=response, body=cores + response.text())

        page.route("**/page/worker.js", answer)

    page = open_page(address + NO_GPU, before=on_eight_cores)
    settled(page, 3)
    assert page.inner_text("#facts").startswith("WebAssembly with 4 threads")
    file = as_png(picture())
    give(page, file)
    settled(page, 3, cards=2)
    assert_shown(card_of(page, "picture.png"), expected(bundle, file, tmp_path))


def test_nothing_is_loaded_from_elsewhere(open_page: OpenPage, address: str) -> None:
    asked = []
    page = open_page(address + NO_GPU, before=lambda page: page.on("request", lambda one: asked.append(one.url)))
    settled(page, 3)
    assert asked
    assert [url for url in asked if not url.startswith((address, f"blob:{address}"))] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1100])
def test_the_page_fits_and_is_accessible(open_page: OpenPage, address: str, scheme: str, width: int) -> None:
    page = open_page(
        address + NO_GPU,
        viewport={"width": width, "height": 800},
        color_scheme=scheme,
        reduced_motion="reduce",
        bypass_csp=True,
    )
    settled(page, 3)
    give(page, {"name": "no.png", "mimeType": "image/png", "buffer": b"no"})
    page.locator("#errors li").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.add_script_tag(path=PACKAGES / "axe-core" / "axe.min.js")
    found = page.evaluate(
        "async () => (await axe.run()).violations.map(({ id, nodes }) => [id, nodes.map((n) => n.html)])"
    )
    assert found == [], json.dumps(found, indent=1)
