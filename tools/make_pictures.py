"""The pictures of the documentation (`make pictures`), from what typing the tutorials made.

    python tools/tutorials.py --keep build/tutorials
    python tools/make_pictures.py build/tutorials [NAME …]

Screenshots need playwright and a Chromium (`make web-test` brings both). speed.svg is drawn from speed.json
beside it: what `hnexport bench` measured in an hour on a quiet machine, as it says itself.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from drawn.browser import ROOT, screenshot, served
from drawn.flow import draw as draw_flow

FOLDER = ROOT / "docs/pictures"


def main() -> None:
    """Make the pictures that are asked for."""
    parser = argparse.ArgumentParser(description="Make the pictures of the documentation.")
    parser.add_argument("typed", type=Path, help="what `tools/tutorials.py --keep FOLDER` kept")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(PICTURES)}; default: all")
    arguments = parser.parse_args()
    for name in arguments.names or PICTURES:
        PICTURES[name](arguments.typed.resolve(), FOLDER / name)
        print(FOLDER / name)


def flow(_: Path, target: Path) -> None:
    """How a bundle comes about."""
    draw_flow(target)


def speed(_: Path, target: Path) -> None:
    """The bench that README.md describes, as `hnexport bench --chart` draws it; what it does not draw is 0."""
    from hnexport.bench.chart import write_chart
    from hnexport.bench.results import BenchReport, ContenderResult, Timing

    measured = json.loads(target.with_suffix(".json").read_text(encoding="utf-8"))
    sizes = measured["batch_sizes"]
    unused: dict[str, Any] = {"p95_ms": 0.0, "openvino_plain_runs": None, "members_used": None, "rounds": 0}
    weights = ("load_seconds", "baseline_bytes", "resident_bytes", "peak_bytes", "disk_bytes")
    contenders = [
        ContenderResult(
            name=contender["name"],
            runtime="",
            timings=tuple(
                Timing(batch_size=size, plain_runs=timing["ratio"], **_with_quartiles(timing), **unused)
                for size, timing in zip(sizes, contender["timings"], strict=True)
            ),
            **dict.fromkeys(weights, 0),
        )
        for contender in measured["contenders"]
    ]
    report = BenchReport(
        bundle=measured["bundle"],
        members=10,
        provider=measured["provider"],
        precision="float32",
        cuda=None,
        until="",
        samples=None,
        threads=measured["threads"],
        batch_sizes=tuple(sizes),
        contenders=tuple(contenders),
        not_run={},
        environment={"processor": measured["processor"]},
    )
    write_chart(report, target, force=True)


def _with_quartiles(timing: dict[str, Any]) -> dict[str, Any]:
    return {**timing, "ratio_quartiles": tuple(timing["ratio_quartiles"])}


def unsure(typed: Path, target: Path) -> None:
    """The digits that the tutorial of the deep ensemble draws."""
    shutil.copy(typed / "deep-ensemble/unsure.png", target)


def judged(typed: Path, target: Path) -> None:
    """The page of the tutorial's last evaluation."""
    screenshot((typed / "judged/after.html").as_uri(), target, width=1000, height=750)


def report(typed: Path, target: Path) -> None:
    """What parity found of the tutorial's Wide ResNet."""
    page = typed / "wide-resnet/bundles/wrn-28-10-hypernet-10/report.html"
    screenshot(page.as_uri(), target, width=1000, height=760)


def web(typed: Path, target: Path) -> None:
    """The web page of the ensemble of hypnettorch's tutorial, with a digit on which its members disagree."""
    bundle, site = typed / "hypnettorch/bundles/digits", typed / "hypnettorch/site"
    runtime = ROOT / "tests/web/node_modules/onnxruntime-web"
    digits = _digits(bundle, typed / "hypnettorch")
    options = ["--out", site, "--force", "--runtime", runtime]
    command = [sys.executable, "-m", "hnexport", "deploy", "web", bundle, *options]
    samples = [text for digit in digits for text in ("--sample", str(digit))]
    subprocess.run([*map(str, command), *samples], check=True, stdout=subprocess.DEVNULL)
    with served(site) as address:
        screenshot(address, target, width=1000, act=_answered)


def _answered(page: Any) -> None:
    """The page tries the first sample by itself."""
    page.locator("article .headline").first.wait_for()
    page.wait_for_timeout(1000)  # bars move into their places


def _digits(bundle: Path, folder: Path) -> list[Path]:
    """Pictures of the four held-out digits on which the members disagree most."""
    import numpy as np
    from PIL import Image

    from hnexport.runtime import load

    test = np.load(folder / "test.npz")["image"]
    ensemble = load(bundle, provider="cpu")
    most = ensemble.predict_mean(test).mutual_information.argsort()[::-1][:4]
    pictures = []
    for number, row in enumerate(most):
        pixels = np.clip(np.round((test[row, 0] * 0.38 + 0.30) * 255), 0, 255).astype(np.uint8)
        pictures.append(folder / f"digit-{number}.png")
        Image.fromarray(pixels).save(pictures[-1])
    return pictures


PICTURES: dict[str, Callable[[Path, Path], None]] = {
    "flow.svg": flow,
    "speed.svg": speed,
    "deep-ensemble-unsure.png": unsure,
    "judged-page.png": judged,
    "wide-resnet-report.png": report,
    "web.png": web,
}


if __name__ == "__main__":
    main()
