"""What the engine does to the process that it lives in."""

import subprocess
import sys

import pytest

LOAD_AND_PREDICT = """
import numpy as np
import onnxruntime
from hnexport.runtime import load
{before}
ensemble = load({bundle!r}, provider="cpu", strategy="materialised", **{options!r})
logits = ensemble.predict(np.zeros((1, 3, 8, 8), np.float32), members="all")
assert np.isfinite(logits).all()
{after}
print("done")
"""


def run(**parts) -> subprocess.CompletedProcess[str]:
    code = LOAD_AND_PREDICT.format(**{"before": "", "after": "", "options": {}, **parts})
    return subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=120)


def test_an_application_may_open_sessions_of_its_own_after_a_load(shared_bundle):
    path = str(shared_bundle / "model.onnx")
    done = run(
        bundle=str(shared_bundle), after=f"onnxruntime.InferenceSession({path!r}, providers=['CPUExecutionProvider'])"
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "done", "")


def test_an_application_that_shares_a_global_thread_pool_can_load(shared_bundle):
    done = run(bundle=str(shared_bundle), before="onnxruntime.set_global_thread_pool_sizes(2, 1)")
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "done", "")


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_threads_is_the_number_of_threads_of_a_call(shared_bundle):
    count = "import os; print(len(os.listdir('/proc/self/task')))"
    one, three = (
        int(run(bundle=str(shared_bundle), options={"threads": threads}, after=count).stdout.split()[0])
        for threads in (1, 3)
    )
    # ten members, the hypernetwork, and two threads beside the caller's in each
    assert three - one == 11 * 2
