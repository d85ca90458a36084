"""`golden.safetensors` is the same, byte by byte, whichever process writes it."""

import subprocess
import sys
from pathlib import Path

WRITE = """
import sys
from pathlib import Path
import numpy as np
from hnexport.bundle.golden import Golden, write_golden
write_golden(Path(sys.argv[1]), Golden(
    inputs={"image": np.zeros((2, 3, 4, 4), np.float32)}, kinds=("noise", "constant"), members=np.arange(2),
    outputs={"logits": np.zeros((2, 2, 5))}, eager={"logits": np.zeros((2, 2))}, noise={"logits": np.zeros((2, 2))},
    fingerprints={"b": "1", "a": "2"},
))
"""


def test_eight_processes_write_the_same_bytes(tmp_path: Path) -> None:
    found = set()
    for number in range(8):
        (tmp_path / str(number)).mkdir()
        subprocess.run([sys.executable, "-c", WRITE, str(tmp_path / str(number))], check=True)
        found.add((tmp_path / str(number) / "golden.safetensors").read_bytes())
    assert len(found) == 1
