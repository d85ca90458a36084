"""A small bundle in the runtimes that people use most, as CI runs it: nothing is measured, nothing is written.

python tools/runtimes_check.py [--only NAME]...

`make runtimes-check` runs it. Every member is held to 1e-5 of PyTorch in float64, and ids that do not exist to what the
runtime is known to give. Exit code 1: one differs or fails. What the machine lacks (a compiler, npm's registry) is left
out, with a line that says so. Every command has a limit of time. Some also run the same bundle with bases in int4.
"""

import argparse
import importlib
import signal
import sys
import tempfile
import time
from pathlib import Path

from runtimes.commands import ROOT, NotRunError
from runtimes.environments import python_of
from runtimes.from_npm import require_packages
from runtimes.judge import LIMIT, largest_error, of_unknown_ids
from runtimes.measured import Attempt
from runtimes.runtime import Runtime
from runtimes.stage import MEMBERS, UNKNOWN, Stage, golden_folder, strange_folder

from hnexport.build import BuildOptions, build
from hnexport.bundle.manifest import Format
from hnexport.errors import HnexportError
from hnexport.networks.wide_resnet.checkpoints import random_checkpoint
from hnexport.networks.wide_resnet.spec import PipelineSpec, WideResNetSpec
from hnexport.spec import BasisDtype

NETWORK = "wrn-10-1"
EXPECTED = {
    "onnxruntime_python": "NaN",
    "onnxruntime_node": "NaN",
    "chromium_wasm": "NaN",
    "chromium_webgpu": "NaN",
    "cpp_libtorch": "NaN",
    "cpp_openvino": "-1, N, 2^31: NaN; 2^32+1: member 1; 2^40: member 0",
    "ray_actors": "refused",
}
"""What each gives for ids that do not exist."""
IN_INT4 = ("onnxruntime_python", "onnxruntime_node", "chromium_wasm", "cpp_libtorch", "cpp_openvino")
"""Those that also run bases in fewer bits: what makes float32 of integers in each of them takes a second or two."""
BUDGET_S = 1200
"""No runtime is begun later than this."""


def main() -> int:
    """A line for each runtime."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--only", action="append", choices=EXPECTED, metavar="NAME", help="may be repeated")
    names, start = parser.parse_args().only or [*EXPECTED], time.monotonic()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that what was started ends, too
    wrong = []
    with tempfile.TemporaryDirectory(prefix="hnexport-check-") as folder:
        stage, rounded = small_stage(Path(folder) / "bundle"), small_stage(Path(folder) / "int4", BasisDtype.INT4)
        for name in names:
            begun, runtime = time.monotonic(), importlib.import_module(f"runtimes.{name}").RUNTIME
            late = begun - start > BUDGET_S
            said = (
                f"failed: the others took {BUDGET_S} s"
                if late
                else found(name, runtime, (stage, rounded), Path(folder) / name)
            )
            print(f"{runtime.name}: {said} ({time.monotonic() - begun:.0f} s)", flush=True)
            wrong += [] if is_right(said) else [name]
    print(f"wrong: {', '.join(wrong)}" if wrong else "nothing is wrong")
    return 1 if wrong else 0


def small_stage(bundle: Path, bases: BasisDtype | None = None) -> Stage:
    """The bundle alone, with the files that these runtimes load."""
    spec = PipelineSpec(network=WideResNetSpec.from_name(NETWORK), members=MEMBERS)
    options = BuildOptions(formats=(Format.ONNX, Format.TORCHSCRIPT), provider="cpu", bases=bases)
    build(random_checkpoint(spec), bundle, options=options)
    return Stage(bundle=bundle, plain=bundle, fixed=bundle, own=bundle)


def found(name: str, runtime: Runtime, stages: tuple[Stage, Stage], folder: Path) -> str:
    """What became of a runtime, in a line."""
    try:
        return compared(name, runtime, *stages, folder)
    except (NotRunError, HnexportError, OSError, ValueError, LookupError) as error:
        return str(error).replace("\n", " ")


def is_right(said: str) -> bool:
    """Whether it is the same, or this machine lacks something; packages that pip cannot install are a fault of ours."""
    lacks = "pip cannot install" not in said or "No matching distribution" in said
    return said.startswith("same") or (said.startswith("not run") and lacks)


def compared(name: str, runtime: Runtime, stage: Stage, rounded: Stage, folder: Path) -> str:
    """Run the golden samples and the strange ones.

    Args:
        rounded: the bundle with bases in int4.

    Raises:
        NotRunError: it could not be run.
    """
    if "npm" in runtime.tools:
        require_packages()
    attempt = Attempt(name, runtime, stage, folder, python_of(runtime, ROOT / "build" / "runtimes" / "environments"))
    for command in runtime.prepare:
        attempt.run(command)
    golden, strange = golden_folder(stage, folder / "golden"), strange_folder(stage, folder / "strange")
    attempt.predict(golden, (*range(MEMBERS), -1, MEMBERS), range(MEMBERS))
    attempt.predict(strange, (0, *UNKNOWN), range(1))
    attempt.classify()
    error, ids = largest_error(stage, golden), of_unknown_ids(stage, strange)
    if not error <= LIMIT:
        return f"different: {error:.1e} from float64, the limit is {LIMIT:.0e}"
    if ids != EXPECTED[name]:
        return f"different: ids that do not exist give {ids}, expected {EXPECTED[name]}"
    said = f"same: {error:.1e} from float64; ids that do not exist: {ids}"
    if name not in IN_INT4:
        return said
    attempt.stage, golden = rounded, golden_folder(rounded, folder / "int4")
    attempt.predict(golden, (*range(MEMBERS), -1, MEMBERS), range(MEMBERS))
    error = largest_error(rounded, golden)
    if not error <= LIMIT:
        return f"different with bases in int4: {error:.1e} from float64, the limit is {LIMIT:.0e}"
    return f"{said}; with bases in int4: {error:.1e}"


if __name__ == "__main__":
    sys.exit(main())
