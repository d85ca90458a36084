"""A bundle in Ray actors: every golden sample through every member, written where `hnexport golden` says.

python predict.py BUNDLE GOLDEN
"""

import json
import sys
from pathlib import Path

import numpy as np
import ray
from ray.util import ActorPool

from hnexport.errors import RuntimeInputError
from hnexport.runtime import load

ACTORS = 2


@ray.remote(num_cpus=1)
class Ensemble:
    def __init__(self, bundle: Path) -> None:
        self.loaded = load(bundle, threads=1)  # as many as num_cpus

    def predict(self, inputs: dict[str, np.ndarray], member: int) -> dict[str, np.ndarray] | np.ndarray:
        return self.loaded.predict(inputs, member=member)


def main(bundle: Path, golden: Path) -> None:
    index = json.loads((golden / "golden.json").read_text(encoding="utf-8"))
    ray.init(num_cpus=ACTORS, include_dashboard=False)
    inputs = ray.put({item["name"]: np.load(golden / item["npy"]) for item in index["inputs"]})
    actors = [Ensemble.remote(bundle.resolve()) for _ in range(ACTORS)]  # type: ignore[attr-defined] # a process each
    answers = ActorPool(actors).map(lambda actor, member: actor.predict.remote(inputs, member), index["members"])
    for member, outputs in zip(index["members"], answers, strict=True):
        for item in index["outputs"]:
            path = golden / item["npy"].replace("{id}", str(member))
            path.parent.mkdir(exist_ok=True)
            np.save(path, outputs[item["name"]] if isinstance(outputs, dict) else outputs)
    for unknown in index["unknown_ids"]:
        try:
            ray.get(actors[0].predict.remote(inputs, unknown))
        except RuntimeInputError:
            continue
        sys.exit(f"there is no member {unknown}, and it was answered")
    (golden / "runtime.txt").write_text(f"Ray {ray.__version__}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
