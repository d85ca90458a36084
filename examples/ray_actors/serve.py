"""Ray Serve: requests that come within a few milliseconds and ask the same member are one call.

python serve.py BUNDLE             # answers POST http://127.0.0.1:8000/ {"cond_id": 3, "inputs": {"image": […]}}
python serve.py BUNDLE GOLDEN      # every golden sample as a request of its own, written where `hnexport golden` says
"""

import asyncio
import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse

from hnexport.errors import RuntimeInputError
from hnexport.members import check_member
from hnexport.runtime import load
from hnexport.runtime.inputs import check_inputs

Inputs = dict[str, np.ndarray]  # [1, …] each: one sample


@serve.deployment(num_replicas=1, max_ongoing_requests=256, ray_actor_options={"num_cpus": 1})
class Ensemble:
    def __init__(self, bundle: str) -> None:
        self.loaded = load(bundle, threads=1)  # as many as num_cpus
        self.loaded.warm()  # ready only when every member is

    async def predict(self, cond_id: int, inputs: Inputs) -> Inputs:
        # before the batch, where its error would be everybody's
        member = check_member(cond_id, self.loaded.members)
        return await self.together((member, check_inputs(inputs, {}, self.loaded.signature)))

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.005)
    async def together(self, requests: list[tuple[int, Inputs]]) -> list[Inputs]:
        waiting = defaultdict(list)
        for number, (cond_id, inputs) in enumerate(requests):
            shapes = tuple((name, array.shape, array.dtype.str) for name, array in sorted(inputs.items()))
            waiting[cond_id, shapes].append(number)
        answers: list[Inputs] = [{}] * len(requests)
        for (cond_id, _), numbers in waiting.items():
            names = requests[numbers[0]][1]
            batch = {name: np.concatenate([requests[number][1][name] for number in numbers]) for name in names}
            outputs = await asyncio.to_thread(self.loaded.outputs, cond_id, batch)
            for row, number in enumerate(numbers):
                answers[number] = {name: array[row : row + 1] for name, array in outputs.items()}
        return answers

    async def __call__(self, request: Request) -> JSONResponse:
        try:
            body = await request.json()
            inputs = {
                item.name: np.asarray(body["inputs"][item.name], item.dtype)[np.newaxis]
                for item in self.loaded.signature.inputs
            }
            outputs = await self.predict(body["cond_id"], inputs)
        except (RuntimeInputError, ValueError, KeyError, TypeError) as error:
            return JSONResponse({"error": str(error)}, status_code=422)
        finite = {name: np.where(np.isfinite(array[0]), array[0], None) for name, array in outputs.items()}
        return JSONResponse({name: array.tolist() for name, array in finite.items()})  # type: ignore[attr-defined] # JSON has no NaN: null


def verify(handle: serve.handle.DeploymentHandle, golden: Path) -> None:
    index = json.loads((golden / "golden.json").read_text(encoding="utf-8"))
    inputs = {item["name"]: np.load(golden / item["npy"]) for item in index["inputs"]}
    samples = len(next(iter(inputs.values())))
    asked = {
        (member, row): handle.predict.remote(member, {name: array[row : row + 1] for name, array in inputs.items()})
        for row in range(samples)
        for member in index["members"]  # one after the other: what comes in is mixed
    }
    answers = {key: response.result() for key, response in asked.items()}
    for member in index["members"]:
        for item in index["outputs"]:
            path = golden / item["npy"].replace("{id}", str(member))
            path.parent.mkdir(exist_ok=True)
            np.save(path, np.concatenate([answers[member, row][item["name"]] for row in range(samples)]))
    for unknown in index["unknown_ids"]:
        try:
            handle.predict.remote(unknown, {name: array[:1] for name, array in inputs.items()}).result()
        except Exception as error:  # Ray wraps what the deployment raised
            if "does not exist" in str(error):
                continue
        sys.exit(f"there is no member {unknown}, and it was answered")
    (golden / "runtime.txt").write_text(f"Ray Serve {ray.__version__}")


def main(bundle: Path, golden: Path | None) -> None:
    ray.init(num_cpus=2, include_dashboard=False)
    handle = serve.run(Ensemble.bind(str(bundle.resolve())), blocking=False)  # type: ignore[attr-defined] # Ray adds it
    if golden is None:
        print("http://127.0.0.1:8000/, Ctrl-C ends it")
        asyncio.run(asyncio.Event().wait())
    else:
        verify(handle, golden)
    serve.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
