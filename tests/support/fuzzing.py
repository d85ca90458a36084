"""Mutants through every command that reads them, and what no mutant may cause."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import mutators
import numpy as np
from zygote import Done, Limits, Zygote

CPU_SECONDS = 10
WALL_SECONDS = 180  # generous: a busy machine is no failure, and a process that waits for nothing is found by it
MEMORY_BYTES = 1_000_000_000  # above what the libraries take
ADDRESS_BYTES = 8_000_000_000  # so that a mutant cannot take the machine; resident memory is what is judged

# Both strategies; an error of ours is an answer, anything else is a traceback.
LOAD = """
import sys
import numpy as np
from hnexport.errors import HnexportError
from hnexport.runtime import load
inputs = dict(np.load(sys.argv[2]))
try:
    for strategy in ("materialised", "generated"):
        ensemble = load(sys.argv[1], provider="cpu", strategy=strategy, threads=1)
        ensemble.predict_mean(inputs)
except HnexportError as error:
    sys.stderr.write(f"{error}\\n")
    sys.exit(2)
"""


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One mutant, by what it takes to make it again."""

    kind: str
    seed: int
    number: int

    def __str__(self) -> str:
        return f"{self.kind}-{self.number}"

    @property
    def random(self) -> Random:
        return Random(f"{self.kind} {self.seed} {self.number}")


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What was whole: a bundle of 8x8 images and one of schema version 1, one of modules with two inputs and three
    outputs, one with bases in int4, and the kinds of checkpoint. Never written."""

    bundle: Path
    int4: Path
    version1: Path
    modules: Path
    native: Path
    native_int4: Path
    hypnettorch: Path


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command, and the exit codes with which it may answer."""

    arguments: tuple[object, ...]
    codes: tuple[int, ...] = (0, 2)
    code: str | None = None

    def __str__(self) -> str:
        return "load()" if self.code else f"hnexport {' '.join(map(str, self.arguments))}"


def plant(mutant: Mutant, sources: Sources, folder: Path) -> tuple[str, tuple[Command, ...]]:
    """Make a mutant in `folder`: what was done, and the commands that read it."""
    random = mutant.random
    match mutant.kind:
        case "checkpoint":
            source = random.choice((sources.native, sources.hypnettorch))
            path = mutators.copy_to(source, folder / source.name)
            return mutators.mutate_checkpoint(random, path), _checkpoint_commands(path)
        case "int4_checkpoint":
            path = mutators.copy_to(sources.native_int4, folder / sources.native_int4.name)
            return mutators.mutate_checkpoint(random, path), _checkpoint_commands(path)
        case "int4_manifest" | "int4_bundle":
            path = mutators.copy_to(sources.int4, folder / "bundle")
            mutate = mutators.mutate_manifest if mutant.kind == "int4_manifest" else mutators.mutate_bundle
            return mutate(random, path), _bundle_commands(path, *_inputs(folder, pictures=True))
        case "image":
            path = mutators.write_image(random, folder)
            return mutators.mutate_image(random, path), (
                Command(arguments=("predict", sources.bundle, path, "--provider", "cpu")),
                Command(arguments=("predict", sources.bundle, path, "--resize", "--json", "--provider", "cpu")),
            )
        case _:
            source = random.choice((sources.bundle, sources.modules, sources.modules, sources.version1))
            path = mutators.copy_to(source, folder / "bundle")
            mutate = mutators.mutate_manifest if mutant.kind == "manifest" else mutators.mutate_bundle
            return mutate(random, path), _bundle_commands(path, *_inputs(folder, pictures=source != sources.modules))


def _inputs(folder: Path, *, pictures: bool) -> tuple[Path, Path]:
    """What `predict` and `load` are given."""
    arrays = folder / "inputs.npz"
    if pictures:
        np.savez(arrays, image=np.zeros((1, 3, 8, 8), np.float32))
        return _picture(folder), arrays
    np.savez(arrays, tokens=np.zeros((1, 6), np.int64), weighting=np.ones((1, 6), np.float32))
    return arrays, arrays


def _picture(folder: Path) -> Path:
    random, path = Random(0), folder / "image.npy"
    while path.suffix == ".npy":
        path = mutators.write_image(random, folder)
    return path


def _checkpoint_commands(path: Path) -> tuple[Command, ...]:
    if path.suffix == ".safetensors":
        return (Command(arguments=("build", "--checkpoint", path, "--formats", "onnx", "--out", "made")),)
    size = ("--image", "3,8,8")
    return (
        Command(arguments=("convert", path, "made.safetensors", *size)),
        Command(arguments=("build", "--hypnettorch", path, *size, "--formats", "onnx", "--out", "made")),
    )


def _bundle_commands(bundle: Path, image: Path, arrays: Path) -> tuple[Command, ...]:
    return (
        Command(arguments=("inspect", bundle)),
        Command(arguments=("verify", bundle, "--provider", "cpu"), codes=(0, 1, 2)),
        Command(arguments=("predict", bundle, image, "--provider", "cpu")),
        Command(arguments=(bundle, arrays), code=LOAD),
        Command(arguments=("locate", bundle, "--against", "onnx"), codes=(0, 1, 2)),
        Command(arguments=("tune", bundle)),
        Command(arguments=("inspect", bundle, "--json")),
    )


def failures(mutant: Mutant, sources: Sources, zygote: Zygote, folder: Path, *, every: bool) -> Iterator[str]:
    """What a mutant causes that it may not, with what is needed to see it again.

    Args:
        every: run every command that reads it, otherwise one, by turns.
    """
    did, commands = plant(mutant, sources, folder)
    chosen = commands if every else (commands[mutant.number % len(commands)],)
    for command in chosen:
        for fault in faults(command, zygote, folder):
            again = f"make fuzz SEED={mutant.seed} ONLY={mutant}"
            yield f"{mutant} ({did})\n  {command}\n  {fault}\n  again: {again}"


def faults(command: Command, zygote: Zygote, folder: Path, cpu_seconds: int = CPU_SECONDS) -> Iterator[str]:
    """What a command does in `folder` that no reader may do."""
    places = {name: str(folder / name.lower()) for name in ("TMPDIR", "XDG_CACHE_HOME", "XDG_STATE_HOME", "HOME")}
    for place in places.values():
        Path(place).mkdir(exist_ok=True)
    environment = {**os.environ, **places, "COLUMNS": "120", "PYTHONDONTWRITEBYTECODE": "1"}
    environment["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "inductor")  # made by torch.export, in the temporary folder
    environment |= {"XDG_DATA_HOME": places["XDG_STATE_HOME"], "XDG_CONFIG_HOME": places["XDG_STATE_HOME"]}
    limits = Limits(cpu_seconds=cpu_seconds, address_bytes=ADDRESS_BYTES)
    try:
        done = zygote.run(
            command.arguments,
            cwd=folder,
            env=environment,
            code=command.code,
            timeout=WALL_SECONDS,
            limits=limits,
            watched=[folder],
        )
    except TimeoutError:
        yield f"hangs: no end within {WALL_SECONDS} s"
        return
    if done.cpu_seconds > cpu_seconds - 0.1:
        yield f"hangs: {done.cpu_seconds:.1f} s of CPU time"
    yield from _judge(command, done)
    if (folder / mutators.CANARY).exists():
        (folder / mutators.CANARY).unlink()
        yield "ran code that the mutant brought"


def _judge(command: Command, done: Done) -> Iterator[str]:
    last = (done.stderr.strip().splitlines() or [""])[-1][:300]
    if "Traceback (most recent call last)" in done.stderr:
        place = [line.strip() for line in done.stderr.splitlines() if line.lstrip().startswith("File ")]
        yield f"a traceback: {last} at {place[-1] if place else ''}"
    elif done.returncode not in command.codes:
        yield f"exit code {done.returncode}: {last}"
    if done.peak_bytes > MEMORY_BYTES:
        yield f"memory: {done.peak_bytes / 1e9:.2f} GB above the libraries'"
    if done.events:
        yield f"did what no reader does: {done.events[0][:300]}"
