"""What members cost: an int8 member of WRN-28-10 of docs/explanation/int8.md."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnexport.runtime import Until, load

__all__ = ["INT8_ROW", "OwnPrice", "measured_of_page", "own_prices"]

INT8_ROW = "onnxruntime, int8"
PLAIN, BATCHES, PASSES = "one member, float32", (1, 8, 32), 3
_WARM_UP = 3

Images = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class OwnPrice:
    """Calls of one kind on all images, in batches.

    Attributes:
        call: what was called.
        ratios: its processor time over that of one float32 member on the same batches, by batch size.
        milliseconds: a call, mean.
    """

    call: str
    ratios: Mapping[str, float]
    milliseconds: Mapping[str, float]


def measured_of_page(page: Path) -> dict[str, float]:
    """What an int8 member of WRN-28-10 takes beside the plain float32 network, by batch size, as the page's table says.

    Raises:
        ValueError: the page has no such table.
    """
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in page.read_text("utf-8").splitlines()]
    sizes = next((row for row in rows if row[0].startswith("batch ")), [])
    ratios = next((row[1:] for row in rows if row[0] == INT8_ROW), [])
    if not sizes or len(sizes) != len(ratios):
        raise ValueError(f"{page} has no table with a row {INT8_ROW!r}: give --price BATCH=RATIO")
    return {
        size.removeprefix("batch "): float(ratio.partition(" ms, ")[2])
        for size, ratio in zip(sizes, ratios, strict=True)
    }


def own_prices(bundle: Path, images: Images, order: Sequence[int], until: Until | None) -> list[OwnPrice]:
    """Times of calls beside those of one plain member, one thread each, on the same batches.

    Every batch goes through all calls, in another order each time, and through all of it several times: of each call
    and batch the least processor time counts, since others use the machine too. Sums over all batches are compared,
    since an image that needs more members than others costs what it costs.

    Args:
        until: with this rule the members of `order` are asked one after the other; None leaves that out.
    """
    exact = load(bundle, provider="cpu", threads=1)
    small = load(bundle, provider="cpu", threads=1, precision="int8")
    members, first = list(order), order[0]
    calls: dict[str, Callable[[Images], Any]] = {
        PLAIN: lambda batch: exact.predict(batch, member=first),
        "one member, int8": lambda batch: small.predict(batch, member=first),
        "all members, float32": lambda batch: exact.predict_mean(batch, members=members),
        "all members, int8": lambda batch: small.predict_mean(batch, members=members),
    }
    if until is not None:
        calls[f"int8, as many as {until.text} takes"] = lambda batch: small.predict_mean(
            batch, members=members, until=until
        )
    times = {size: _times(calls, [images[at : at + size] for at in range(0, len(images), size)]) for size in BATCHES}
    return [
        OwnPrice(
            call=call,
            ratios={str(size): float(found[call].sum() / found[PLAIN].sum()) for size, found in times.items()},
            milliseconds={str(size): float(1e3 * found[call].mean()) for size, found in times.items()},
        )
        for call in calls
    ]


def _times(calls: Mapping[str, Callable[[Images], Any]], batches: Sequence[Images]) -> dict[str, NDArray[np.float64]]:
    """Seconds of the processor for each call on each batch, the fewest of all passes."""
    random, best = np.random.default_rng(0), {call: np.full(len(batches), np.inf) for call in calls}
    for call in calls.values():
        for _ in range(_WARM_UP):
            call(batches[0])
    for _ in range(PASSES):
        for number, batch in enumerate(batches):
            for call in random.permutation(list(calls)).tolist():
                start = time.process_time()
                calls[call](batch)
                best[call][number] = min(best[call][number], time.process_time() - start)
    return best
