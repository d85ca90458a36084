"""Whether a provider works: a graph of one convolution is run on it, in a process of its own.

A provider may start and then be unable to compute, may crash its process and leaves its libraries in it: a child shows
all of that and keeps it to itself.

    python -m hnexport.runtime.trial PROVIDER DEVICE [LIBRARY...]
"""

import base64
import functools
import json
import os
import subprocess
import sys

import numpy as np
import onnxruntime

from hnexport.runtime.obstacles import Obstacle, explain, quick_obstacle
from hnexport.runtime.offered import plugin_libraries, register_plugin
from hnexport.runtime.providers import UnusableProviderError, check_provider_name, open_session, running_on

__all__ = ["MODEL", "obstacle", "resolve_provider"]

# x, w, y float32 [1, 1, 1, 1]; y = Conv(x, w), opset 17: the smallest graph that needs cuDNN
MODEL = base64.b64decode(
    "CAg6awoPCgF4CgF3EgF5IgRDb252EgFnWhsKAXgSFgoUCAESEAoCCAEKAggBCgIIAQoCCAFaGwoBdxIWChQIARIQCgIIAQoCCAEKAggBCgIIAWIb"
    "CgF5EhYKFAgBEhAKAggBCgIIAQoCCAEKAggBQgQKABAR"
)
_SECONDS = 120  # a provider's first start reads gigabytes of libraries


def obstacle(provider: str, device: int = 0) -> Obstacle | None:
    """Why a provider cannot be had here, with the remedy; None where it computes."""
    found = quick_obstacle(provider, device)
    if found is not None or provider == "cpu":
        return found
    return _tried(provider, device, os.environ.get("CUDA_VISIBLE_DEVICES"), plugin_libraries(provider))


def resolve_provider(provider: str) -> str:
    """`auto` becomes `cuda` where onnxruntime can compute with it, otherwise `cpu`; another name stays.

    Raises:
        ProviderError: there is no provider of that name.
    """
    check_provider_name(provider)
    if provider != "auto":
        return provider
    return "cpu" if obstacle("cuda") else "cuda"


@functools.cache
def _tried(provider: str, device: int, visible: str | None, libraries: tuple[str, ...] = ()) -> Obstacle | None:
    """The answer of a child.

    Args:
        visible: `CUDA_VISIBLE_DEVICES`; answers are remembered by it too, since they may change with it.
        libraries: plugins that this process has registered.
    """
    command = [sys.executable, "-m", "hnexport.runtime.trial", provider, str(device), *libraries]
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, encoding="utf-8", errors="replace", timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        return Obstacle(what=f"a trial of it did not end in {_SECONDS} s", remedy="look what else uses the device")
    except OSError as error:
        return Obstacle(
            what=f"a trial of it could not be started: {error}", remedy="run Python itself, not a copy in it"
        )
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return explain(provider, f"a trial of it ended with exit code {done.returncode}: {done.stderr[-200:]}")
    return None if answer is None else Obstacle(**answer)


def _try(provider: str, device: int) -> Obstacle | None:
    settings = {"device_id": str(device)} if provider == "cuda" else {}
    value = np.full((1, 1, 1, 1), 3.0, dtype=np.float32)
    try:
        session = open_session(MODEL, onnxruntime.SessionOptions(), provider, settings)
        with running_on(provider):
            found = session.run(None, {"x": value, "w": value})[0]
        if found.ravel().tolist() != [9.0]:
            what = f"it computes that 3 times 3 is {found.ravel().tolist()[0]}"
            return Obstacle(what=what, remedy="check the driver and the device with their maker's own tools")
    except UnusableProviderError as error:
        return error.obstacle
    return None


def main() -> None:
    """Print the obstacle as JSON in the last line; null where there is none."""
    provider, device, *libraries = sys.argv[1:]
    for library in libraries:
        register_plugin(library, provider)
    found = _try(provider, int(device))
    answer = None if found is None else {"what": found.what, "remedy": found.remedy}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
