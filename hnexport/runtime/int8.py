"""A bundle's network in int8: what `hnexport tune --precision int8` keeps in the user's cache, and how it is used.

Two graphs, for all members: a network whose parameters the loader supplies, and a maker of those: from a member's id
and its generated weights to int8 weights, their scales, and the member's own scales of activations.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from hnexport.bundle.manifest import Manifest
from hnexport.errors import BundleError, RuntimeInputError
from hnexport.machine.processor import integer_products
from hnexport.names import COND_ID, HYPERNET_FILE, NETWORK_FILE, SUPPLIED_FILE, WEIGHTS_FILE
from hnexport.rows import relative_l2
from hnexport.runtime.cache import keyed_folder
from hnexport.runtime.entries import CacheEntry
from hnexport.runtime.providers import open_session, running_bundle
from hnexport.runtime.residents import Arrays, ConditionalPredictor
from hnexport.runtime.session_options import session_options

__all__ = [
    "INT8_MAKER_FILE",
    "INT8_NETWORK_FILE",
    "INT8_REPORT_FILE",
    "INT8_SAMPLES_FILE",
    "Int8Graphs",
    "Samples",
    "check_samples",
    "int8_entry",
    "network_with",
    "read_samples",
    "require_int8",
    "without_saturation",
]

Array = NDArray[np.generic]

FORMAT_VERSION = 2  # of the graphs and their record; another one is another key
INT8_NETWORK_FILE = "int8-network.onnx"
INT8_MAKER_FILE = "int8-maker.onnx"
INT8_SAMPLES_FILE = "int8-samples.npz"
INT8_REPORT_FILE = "int8-report.json"
_FILES = (INT8_NETWORK_FILE, INT8_MAKER_FILE, INT8_SAMPLES_FILE, INT8_REPORT_FILE)
_RECORD_FILE = "int8.json"

Samples = Mapping[str, Array]
"""`member`, int64 scalar; `input.NAME`; `output.NAME`, what that member gave; `limit.NAME` `[row]`, how far a row of
that output may be off, relative L2."""


def int8_entry(manifest: Manifest) -> CacheEntry:
    """The entry of a bundle's int8 graphs in the user's cache. They run on any machine."""
    parts = [str(FORMAT_VERSION)]
    parts += [f"{name} {manifest.files[name].sha256}" for name in _made_of(manifest)]
    return CacheEntry(folder=keyed_folder("int8", parts), record_file=_RECORD_FILE, files=_FILES)


def require_int8(manifest: Manifest, folder: Path) -> Path:
    """The folder with the int8 graphs of the bundle in `folder`.

    Raises:
        RuntimeInputError: there are none; the message says how to make them.
    """
    entry = int8_entry(manifest)
    if not entry.is_whole():
        raise RuntimeInputError(
            f"{manifest.name} has no int8 graphs in this user's cache: run "
            f"`hnexport tune {folder} --precision int8 --calibration IMAGES` once, with some hundred samples of what "
            "it will see"
        )
    return entry.folder


class Int8Graphs:
    """The graphs in a folder, as they were when this was made: whoever tunes again replaces both.

    Attributes:
        graph: the bytes of the network.
    """

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        """Read the graphs, which hold no weights.

        Raises:
            BundleError: they cannot be read.
        """
        self.folder, self.network = folder, folder / INT8_NETWORK_FILE
        self._threads = threads
        self.graph, self._made = _read_together(self.network, folder / INT8_MAKER_FILE)
        self._maker: onnxruntime.InferenceSession | None = None

    def parameters(self, member: int, slots: Arrays) -> dict[str, Array]:
        """What a member's network is supplied with, by name.

        Args:
            slots: the member's generated weights.

        Raises:
            BundleError: onnxruntime cannot load the maker.
        """
        if self._maker is None:
            options = session_options(self._threads, prepack=False)
            self._maker = open_session(self._made, options, "cpu")
        own = {item.name for item in self._maker.get_inputs()}
        given = {COND_ID: np.array(member, np.int64), **slots}
        names = [item.name for item in self._maker.get_outputs()]
        with running_bundle("cpu"):
            found = self._maker.run(names, {name: value for name, value in given.items() if name in own})
        return dict(zip(names, found, strict=True))


def _read_together(network: Path, maker: Path) -> tuple[bytes, bytes]:
    """Both files of one tuning."""
    try:
        while True:
            found = network.read_bytes(), maker.read_bytes()
            if network.read_bytes() == found[0]:
                return found
    except OSError as error:
        raise BundleError(f"{network.parent} cannot be read: {error}; run `hnexport tune` again") from error


def network_with(folder: Path, graphs: Int8Graphs, parameters: Mapping[str, Array]) -> Path:
    """The network in a folder of its own, its parameters in a file beside it: for loaders that are not given any."""
    path = folder / INT8_NETWORK_FILE
    path.write_bytes(graphs.graph)
    with (folder / SUPPLIED_FILE).open("wb") as file:  # one after the other, as the graph says
        for value in parameters.values():
            file.write(np.ascontiguousarray(value).data if value.ndim else value.tobytes())
    return path


def without_saturation(options: onnxruntime.SessionOptions) -> None:
    """Let onnxruntime take kernels that do not saturate where the processor has no instructions for int8.

    Sums of two products of uint8 and int8 leave the 16 bits of what older x86-64 processors have.
    """
    if not integer_products():
        options.add_session_config_entry("session.x64quantprecision", "1")


def read_samples(folder: Path) -> Samples:
    """The samples of an entry.

    Raises:
        BundleError: they cannot be read.
    """
    try:
        with np.load(folder / INT8_SAMPLES_FILE, allow_pickle=False) as held:
            return dict(held)
    except (OSError, ValueError) as error:
        raise BundleError(f"{folder / INT8_SAMPLES_FILE} cannot be read: {error}; run `hnexport tune` again") from error


def check_samples(samples: Samples, predict: ConditionalPredictor, place: Callable[[], str]) -> None:
    """Compare what an ensemble gives with what it gave when it was tuned.

    The golden samples of the bundle are of another network: they are not rounded, and may lie outside the ranges of the
    calibration.

    Raises:
        BundleError: a row is further off than rounding explains.
    """
    limits = {name.removeprefix("limit."): value for name, value in samples.items() if name.startswith("limit.")}
    inputs = {name.removeprefix("input."): value for name, value in samples.items() if name.startswith("input.")}
    found = predict(int(samples["member"]), inputs)
    for name, limit in limits.items():
        known, given = samples[f"output.{name}"], found[name]
        rows = (len(limit), -1)
        errors = relative_l2(given.reshape(rows), known.reshape(rows))
        over = ~(errors <= limit.astype(np.float64))
        if over.any():
            worst = int(np.argmax(over))
            raise BundleError(
                f"{place()}: in int8 member {int(samples['member'])} does not compute what it computed when it was "
                f"tuned: {name} of sample {worst} is off by {errors[worst]:.1e} (relative L2), allowed "
                f"{limit[worst]:.1e}; tune it again, or load without precision='int8'"
            )


def _made_of(manifest: Manifest) -> list[str]:
    return [name for name in (HYPERNET_FILE, NETWORK_FILE, WEIGHTS_FILE) if name in manifest.files]
