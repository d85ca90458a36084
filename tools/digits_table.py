"""Train the digits ensemble, build it, evaluate it from every source, and write the tables of docs/howto/evaluate.md.

python tools/digits_table.py [--build FOLDER] [--page FILE] [--epochs N] [--trained]

`make digits` runs it, in about two minutes on two cores. Checkpoint, bundle, data and the page with diagrams lie in
build/digits afterwards. Exit code 1: a source that computes in float32 gave another answer than PyTorch in float64, or
one was not run; the tables are written all the same.
"""

import argparse
import os
import runpy
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnexport.evaluate import EvaluateOptions, Evaluation, evaluate
from hnexport.machine.processor import processor_name

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- digits: written by make digits -->", "<!-- digits: end of what make digits wrote -->"
CROPS, SIDE = 500, 64
UNCERTAINTIES = {
    "mutual_information": "mutual information",
    "entropy": "entropy",
    "confidence": "1 - largest probability",
}

Images = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the tables say.

    Attributes:
        sources: every source, with the photographs as other data.
        others: by what they are, the runtime with other data.
    """

    sources: Evaluation
    others: dict[str, Evaluation]


def main() -> int:
    """Train, build, evaluate, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "digits", help="where everything is built")
    parser.add_argument("--page", type=Path, default=ROOT / "docs/howto/evaluate.md", help="where the tables are")
    parser.add_argument("--epochs", type=int, help="of the training")
    parser.add_argument("--trained", action="store_true", help="take the checkpoint of the last time")
    given = parser.parse_args()
    example = runpy.run_path(str(ROOT / "examples" / "train_digits.py"))
    train_images, images, train_labels, labels = example["digits"]()
    if not given.trained:
        train(example, given.build, train_images, train_labels, given.epochs or example["EPOCHS"])
    bundle = built(given.build)
    found = measured(bundle, "image", images, labels, given.build)
    diagrams(found.sources, given.build / "report.html")
    text = "\n\n".join([head(found.sources), sources_table(found.sources), others_table(found)])
    print(text)
    write(given.page, text)
    failures = wrong(found.sources)
    if failures:
        print("\n".join(failures), file=sys.stderr)
    return 1 if failures else 0


def train(example: dict[str, Any], folder: Path, images: Images, labels: NDArray[np.int64], epochs: int) -> None:
    """The checkpoint of examples/train_digits.py."""
    import torch

    from hnexport import Pipeline
    from hnexport.networks.wide_resnet.checkpoints import save_checkpoint

    pipeline = Pipeline.from_seed(example["specification"](images), seed=0)
    example["train"](pipeline, torch.from_numpy(images), torch.from_numpy(labels), epochs)
    folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(folder / "digits.safetensors", pipeline.checkpoint(origin="examples/train_digits.py"))


def built(folder: Path) -> Path:
    """The bundle of that checkpoint."""
    from hnexport.build import BuildOptions, build
    from hnexport.networks.wide_resnet.checkpoints import load_checkpoint

    checkpoint = load_checkpoint(folder / "digits.safetensors")
    return build(checkpoint, folder / "digits", options=BuildOptions(force=True)).path


def measured(bundle: Path, name: str, images: NDArray[Any], labels: NDArray[np.int64], folder: Path) -> Found:
    """Evaluate a bundle from every source, and the runtime with all other data.

    Args:
        name: of the bundle's image input.
        images: `[image, …]` as it takes them, 64 pixels each.
        folder: where the data are written.
    """
    archive(folder / "test.npz", {name: images, "label": labels})
    found = {}
    for number, (said, other) in enumerate(strange(images).items()):
        path = folder / f"other-{number}.npz"
        archive(path, {name: other})
        asked = EvaluateOptions(ood=path, artifacts=("all",) if number == 0 else None, provider="cpu")
        found[said] = evaluate(bundle, folder / "test.npz", options=asked)
    return Found(sources=next(iter(found.values())), others=found)


def archive(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Arrays by name, as `np.savez` writes them."""
    np.savez(path, allow_pickle=False, **arrays)


def strange(images: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """What does not belong, in the dtype and layout of digits; the most natural first."""
    flat = images.reshape(-1, 64)
    order = np.random.default_rng(0).permutation(64)
    whole = 255 if images.dtype == np.uint8 else 1
    pictures = photographs()
    scaled = np.round(pictures * whole).astype(images.dtype).reshape(-1, *images.shape[1:])
    turned = np.rot90(flat.reshape(-1, 8, 8), axes=(1, 2))
    return {
        f"{len(pictures)} crops of photographs": scaled,
        "digits with their pixels in another order": flat[:, order].reshape(images.shape),
        "digits turned by 90 degrees": np.ascontiguousarray(turned).reshape(images.shape),
        "digits, dark on bright": whole - images,
    }


def photographs() -> NDArray[np.float64]:
    """Crops of 64x64 pixels of scikit-learn's two photographs, grey, 0 to 1, scaled to `[crop, 8, 8]`."""
    from sklearn.datasets import load_sample_images

    random, crops = np.random.default_rng(0), []
    for picture in load_sample_images().images:
        grey = picture.mean(axis=-1) / 255
        for _ in range(CROPS // 2):
            top, left = (int(random.integers(0, size - SIDE + 1)) for size in grey.shape)
            crops.append(
                grey[top : top + SIDE, left : left + SIDE].reshape(8, SIDE // 8, 8, SIDE // 8).mean(axis=(1, 3))
            )
    return np.stack(crops)


def sources_table(found: Evaluation) -> str:
    """A line for each source: members, ensemble, calibration, AUROC, and how far it is from the first."""
    columns = [
        "source",
        *(f"member {member}" for member in found.members),
        "ensemble",
        "NLL",
        "ECE",
        "AUROC, mutual information",
        "AUROC, entropy",
        f"largest difference of a probability from {found.sources[0].name}",
        "answers changed",
    ]
    rows = []
    for source in found.sources:
        part, away = source.classification, source.difference
        if part is None:
            continue
        accuracies = [f"{one.accuracy:.4f}" for one in (*part.each, part.ensemble)]
        scores = [f"{number:.4f}" for number in (part.ensemble.nll, part.ensemble.ece)]
        areas = [f"{part.ood[name].auroc:.4f}" for name in ("mutual_information", "entropy")]
        changed = ["", ""]
        if away is not None:
            changed = [f"{away.probabilities:.0e}", str(away.answers + away.ensemble_answers)]
        rows.append([source.name, *accuracies, *scores, *areas, *changed])
    return markdown(columns, rows)


def others_table(found: Found) -> str:
    """A line for each kind of other data: how well each uncertainty finds them."""
    rows = []
    for said, one in found.others.items():
        part = one.sources[0].classification
        if part is not None:
            rows.append([said, *(f"{part.ood[name].auroc:.4f}" for name in UNCERTAINTIES)])
    return markdown(["AUROC, other data", *UNCERTAINTIES.values()], rows)


def markdown(columns: list[str], rows: list[list[str]]) -> str:
    """A table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *rows))


def head(found: Evaluation) -> str:
    """What was measured, where, and how much all of it took."""
    import onnxruntime
    import torch

    text = (
        f"{found.samples} digits that it was not trained on, {found.bins} bins; PyTorch {torch.__version__}, "
        f"onnxruntime {onnxruntime.__version__}, {processor_name()}; training, building and evaluating took "
        f"{sum(os.times()[:4]):.0f} s of processor time."
    )
    return textwrap.fill(text, width=120, break_long_words=False, break_on_hyphens=False)


def write(page: Path, text: str, begin: str = BEGIN, end: str = END) -> None:
    """Replace what lies between the markers."""
    before, rest = page.read_text(encoding="utf-8").split(begin)
    page.write_text(f"{before}{begin}\n{text}\n{end}{rest.split(end)[1]}", encoding="utf-8", newline="\n")


def diagrams(found: Evaluation, path: Path) -> None:
    """The page with diagrams."""
    from hnexport.evaluate.page import evaluation_page

    path.write_text(evaluation_page(found), encoding="utf-8", newline="\n")


def wrong(found: Evaluation) -> list[str]:
    """What should not be: a source that was not run, or one with another answer than the first."""
    changed = [
        f"{source.name}: {source.difference.answers} answers of members and {source.difference.ensemble_answers} of "
        f"the ensemble are others than those of {source.difference.against}"
        for source in found.sources
        if source.difference is not None and source.difference.answers + source.difference.ensemble_answers
    ]
    return [*changed, *(f"not run: {name}: {why}" for name, why in found.not_run.items())]


if __name__ == "__main__":
    sys.exit(main())
