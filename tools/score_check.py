"""What docs/howto/score.md says of scoring a large set, measured: `make score`.

20,000 pictures, scored through once; scored again with `kill -9` twice; scored by Ray; scored onto a disk that fills up
(a small tmpfs, which takes root). Every file must have every row once and be equal to the first byte for byte.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from pyarrow import parquet

DAMAGED = (7, 11_111)
MOST_GROWTH_BYTES = 200e6


@dataclass(frozen=True, kw_only=True)
class Run:
    """A process that came to an end, and its resident memory while it lived."""

    code: int
    seconds: float
    said: str
    after_first_part: int
    peak: int


def make_pictures(folder: Path, count: int, size: int) -> None:
    """PNG files in folders of 1,000; two of them are cut."""
    random = np.random.default_rng(0)
    for number in range(count):
        (place := folder / f"{number // 1000:02}").mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (size, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path := place / f"{number:05}.png")
        if number in DAMAGED:
            path.write_bytes(path.read_bytes()[:60])


def resident_bytes(pid: int) -> int:
    """As /proc says; 0 where the process has gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), 0)


def run(command: list[str], parts: Path, stop: Callable[[int], bool] = lambda done: False) -> Run:
    """Run a command, and kill it with SIGKILL once `stop` says so of the finished parts."""
    began, first, peak = time.monotonic(), 0, 0
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
        while process.poll() is None:
            done, resident = len(list(parts.glob("part-*.parquet"))), resident_bytes(process.pid)
            if done and not first:
                first = resident
            peak = max(peak, resident if first else 0)
            if stop(done):
                process.send_signal(signal.SIGKILL)
                process.wait()
            time.sleep(0.02)
        said.seek(0)
        text = said.read()
    return Run(code=process.returncode, seconds=time.monotonic() - began, said=text, after_first_part=first, peak=peak)


@contextmanager
def small_disk(place: Path, size_bytes: int) -> Iterator[None]:
    """A tmpfs of this size."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


def check(told: str, holds: bool) -> None:
    """Say it, and end where it does not hold."""
    print(f"{'ok ' if holds else 'NOT'} {told}", flush=True)
    if not holds:
        sys.exit(1)


def full_disk(command: Callable[[Path], list[str]], whole: bytes, place: Path) -> None:
    """A disk with room for some parts; then with room for all."""
    out = place / "disk/predictions.parquet"
    parts = out.with_name(f"{out.name}.parts")
    with small_disk(place / "disk", len(whole) // 2):
        failed = run(command(out), parts)
        kept = len(list(parts.glob("part-*.parquet")))
        check(f"a full disk: exit code {failed.code}, {kept} parts kept, {failed.said.strip()}", failed.code == 2)
        subprocess.run(["mount", "-o", "remount,size=1g", str(place / "disk")], check=True)
        again = run(command(out), parts)
        print(again.said.strip(), flush=True)
        check("with room it goes on, and gives the same bytes", out.read_bytes() == whole)


def main() -> None:
    """Do all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--disk", action="store_true", help="also fill a tmpfs; takes root")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="score-") as name:
        place = Path(name)
        make_pictures(place / "photos", given.pictures, given.size)

        def command(out: Path, *more: str) -> list[str]:
            start = [sys.executable, "-m", "hnexport", "predict", str(given.bundle), str(place / "photos")]
            return [*start, "--out", str(out), "--provider", "cpu", *more]

        once = place / "once.parquet"
        found = run(command(once), place / "once.parquet.parts")
        print(found.said.strip(), flush=True)
        growth = found.peak - found.after_first_part
        check(f"{found.seconds:.0f} s, {given.pictures / found.seconds:.0f} pictures/s", found.code == 0)
        said = f"memory {found.after_first_part / 1e6:.0f} MB after the first part, at most {found.peak / 1e6:.0f} MB"
        check(f"{said}: grown by {growth / 1e6:.0f} MB", growth < MOST_GROWTH_BYTES)
        rows = parquet.read_table(once, columns=["row", "error"])
        whole = rows.column("row").to_pylist() == list(range(given.pictures))
        check(f"{len(rows):,} rows, each once; {len(rows) - rows.column('error').null_count} without prediction", whole)

        killed, parts = place / "killed.parquet", place / "killed.parquet.parts"
        every = -(-given.pictures // 512)
        for share in (0.3, 0.6):
            ended = run(command(killed), parts, lambda done, share=share: done >= share * every)  # type: ignore[misc] # mypy cannot infer the lambda
            check(f"killed with {len(list(parts.glob('part-*.parquet')))} of {every} parts", ended.code == -9)
        print(run(command(killed), parts).said.strip(), flush=True)
        check("killed twice and gone on: the same bytes", killed.read_bytes() == once.read_bytes())

        by_ray = place / "ray.parquet"
        found = run(command(by_ray, "--workers", "ray"), place / "ray.parquet.parts")
        print(found.said.strip(), flush=True)
        one, other = parquet.read_table(once), parquet.read_table(by_ray)
        check("by Ray: the same rows", one.column("id").equals(other.column("id")))
        check(
            f"by Ray: {'the same bytes' if one.equals(other) else 'other numbers'}, {found.seconds:.0f} s",
            len(other) > 0,
        )
        if given.disk:
            full_disk(command, once.read_bytes(), place)


if __name__ == "__main__":
    main()
