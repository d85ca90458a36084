"""`make load`: what `hnexport serve` does under load, and when it is treated badly; on this machine alone.

Clients ask one service for ten members, over binary tensors, in rounds. After each round the very calls that the
answers say they were computed in are made in the runtime, in this process, with as many calls side by side: every
answer must have the same bits, and the times of both are compared. Clients compute on the same cores as the service;
CPU times say what the service itself costs. Then come malformed requests, a queue that is full, a bundle that is
replaced, and SIGTERM, the last two under load. Exit code 1 says that something is not as it should be.
"""

import argparse
import contextlib
import http.client
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hnexport.machine.processor import allowed_cores
from hnexport.runtime import LoadedEnsemble, load

LENGTH = "Inference-Header-Content-Length"
LEAST = 0.9
"""Of the runtime's throughput."""
POOL = 512
"""Different images that clients send."""


@dataclass
class Answer:
    """What one request got."""

    version: str
    member: int
    images: list[int]
    batch: int
    batch_samples: int
    offset: int
    logits: bytes
    seconds: float


@dataclass
class Service:
    """A service in a process of its own."""

    process: "subprocess.Popen[str]"
    port: int
    name: str = "load"
    told: list[str] = field(default_factory=list)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        """One request on a connection of its own."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            response = connection.getresponse()
            return response.status, response.read()

    def metric(self, name: str) -> float:
        """A number of /metrics; 0 where there is none."""
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.ask("GET", "/metrics")[1].decode(), re.MULTILINE)
        return float(found[1]) if found else 0.0


@contextlib.contextmanager
def serving(bundle: Path, *options: str) -> Iterator[Service]:
    """A service that is ready; it is stopped at the end, if it still runs."""
    command = [sys.executable, "-m", "hnexport", "serve", str(bundle), "--port", "0", "--name", "load", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=None, text=True)
    try:
        lines = iter(process.stdout or ())
        address, ready = next(lines), next(lines)
        if not ready.startswith("ready"):
            sys.exit(f"the service did not start: {ready}")
        yield Service(process, int(address.split()[0].rpartition(":")[2]))
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(60)


class Client(threading.Thread):
    """Asks for a member of some images again and again, on one connection, and keeps what it gets."""

    def __init__(self, service: Service, images: np.ndarray, members: int, rows: int, seed: int) -> None:
        super().__init__(daemon=True)
        self.answers: list[Answer] = []
        self.refused: Counter[str] = Counter()
        self.ended = threading.Event()
        self._service, self._images, self._members, self._rows = service, images, members, rows
        self._random = random.Random(seed)  # noqa: S311

    def run(self) -> None:
        """Until `ended` is set, or nobody listens any more."""
        connection = http.client.HTTPConnection("127.0.0.1", self._service.port, timeout=60)
        while not self.ended.is_set():
            try:
                self._one(connection)
            except ConnectionRefusedError:
                self.refused["nobody listens"] += 1
                return
            except (OSError, http.client.HTTPException) as error:
                self.refused[f"lost: {type(error).__name__}"] += 1
                connection.close()

    def _one(self, connection: http.client.HTTPConnection) -> None:
        member = self._random.randrange(self._members)
        chosen = [self._random.randrange(POOL) for _ in range(self._random.randint(1, self._rows))]
        images = self._images[chosen]
        inputs = [
            {"name": "cond_id", "shape": [1], "datatype": "INT64", "data": [member]},
            {"name": "image", "shape": images.shape, "datatype": "FP32"}
            | {"parameters": {"binary_data_size": images.nbytes}},
        ]
        parameters = {"binary_data_output": True, "batch_details": True}
        head = json.dumps({"inputs": inputs, "parameters": parameters}).encode()
        began = time.perf_counter()
        path = f"/v2/models/{self._service.name}/infer"
        connection.request("POST", path, head + images.tobytes(), {LENGTH: str(len(head))})
        response = connection.getresponse()
        body = response.read()
        seconds = time.perf_counter() - began
        if response.status != 200:
            retry = "" if response.getheader("Retry-After") else " without Retry-After"
            self.refused[f"{response.status}{retry}"] += 1
            time.sleep(0.01)
            return
        end = int(response.getheader(LENGTH) or 0)
        said = json.loads(body[:end])
        batch, total, offset = (said["parameters"][f"batch_{name}"] for name in ("id", "samples", "offset"))
        self.answers.append(Answer(said["model_version"], member, chosen, batch, total, offset, body[end:], seconds))


def ask_for(seconds: float, clients: list[Client]) -> float:
    """Let clients ask for so long; the seconds until the last one has its answer."""
    began = time.perf_counter()
    for client in clients:
        client.start()
    time.sleep(seconds)
    for client in clients:
        client.ended.set()
    for client in clients:
        client.join(120)
    return time.perf_counter() - began


@dataclass
class Replayed:
    """What the runtime, called directly, made of the same calls."""

    seconds: float
    cpu_seconds: float
    checked: int
    wrong: int


def replay(ensemble: LoadedEnsemble, images: np.ndarray, answers: list[Answer], workers: int) -> Replayed:
    """Make the calls that the answers were computed in, and compare bits."""
    calls: dict[int, list[Answer]] = {}
    for answer in answers:
        calls.setdefault(answer.batch, []).append(answer)
    whole = []
    for parts in calls.values():
        parts.sort(key=lambda part: part.offset)
        rows = [row for part in parts for row in part.images]
        if len(rows) == parts[0].batch_samples:  # otherwise a client of it was stopped before its answer came
            whole.append((parts, images[rows]))

    def one(call: tuple[list[Answer], np.ndarray]) -> tuple[np.ndarray, list[Answer]]:
        return ensemble.predict(call[1], member=call[0][0].member), call[0]

    with ThreadPoolExecutor(workers) as pool:
        began, cpu = time.perf_counter(), time.process_time()
        found = list(pool.map(one, whole))
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    wrong = sum(
        logits[part.offset : part.offset + len(part.images)].tobytes() != part.logits
        for logits, parts in found
        for part in parts
    )
    checked = sum(len(parts) for _, parts in found)
    return Replayed(seconds, cpu, checked, wrong)


def malformed(service: Service, shape: tuple[int, ...], count: int) -> Counter[int]:
    """Requests that are wrong in some way: how often each status came."""
    chance = random.Random(0)  # noqa: S311
    found: Counter[int] = Counter()
    for number in range(count):
        method, path, body, headers = bad_request(chance, number, service.name, shape)
        try:
            found[service.ask(method, path, body, **headers)[0]] += 1
        except (OSError, http.client.HTTPException):
            found[0] += 1  # no answer
    return found


def bad_request(
    chance: random.Random, number: int, name: str, shape: tuple[int, ...]
) -> tuple[str, str, bytes, dict[str, str]]:
    """One request that cannot be answered with 200: each kind in turn, with different numbers."""
    size = int(np.prod(shape))
    image: dict[str, object] = {"name": "image", "shape": [1, *shape], "datatype": "FP32", "data": [0.5] * size}
    cond_id = {"name": "cond_id", "shape": [1], "datatype": "INT64", "data": [chance.randrange(3)]}
    infer = f"/v2/models/{name}/infer"
    odd: object = chance.choice([None, -1, 2**63, 2**70, 1.5, "x", [], {}, True, "NaN", [[1], [1, 2]]])
    noise = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 64)))

    def request(inputs: object, **more: object) -> bytes:
        return json.dumps({"inputs": inputs, **more}).encode()

    good = request([cond_id, image])
    kinds: list[tuple[bytes, dict[str, str]]] = [
        (noise, {}),
        (good[: chance.randrange(len(good))], {}),
        (request(odd), {}),
        (request([odd]), {}),
        (request([cond_id, image | {"shape": odd}]), {}),
        (request([cond_id, image | {"shape": [chance.choice([0, 2, -1, 2**31, 2**64]), *shape]}]), {}),
        (request([cond_id, image | {"datatype": odd}]), {}),
        (request([cond_id, image | {"datatype": chance.choice(["BYTES", "BF16", "INT32", "FP64", "BOOL"])}]), {}),
        (request([cond_id, image | {"data": odd}]), {}),
        (request([cond_id, image | {"data": [chance.choice([1e39, "1", [1], {}])] * size}]), {}),
        (request([cond_id | {"data": [chance.choice([-1, 10**6, 2**31, 2**40, 2**63, 1.5])]}, image]), {}),
        (request([cond_id, cond_id, image]), {}),
        (request([cond_id]), {}),
        (request([cond_id, image, image | {"name": "other"}]), {}),
        (request([image]), {}),
        (request([image], parameters={"member": chance.choice([-1, 10**6, 1.5, "1", True, []])}), {}),
        (request([image], parameters={"members": chance.choice(["", "a", "0,0", "1,-1", [], [0, 0], {}])}), {}),
        (request([image], parameters={"until": chance.choice([0, 1, -0.5, "most", [], {}])}), {}),
        (request([image], parameters={"memeber": 1}), {}),
        (request([cond_id, image], parameters={"precision": odd if odd is not None else "float99"}), {}),
        (request([cond_id, image], parameters={"timeout": chance.choice([-1, 1.5, "1"])}), {}),
        (request([cond_id, image], outputs=[{"name": chance.choice(["nothing", 1, None])}]), {}),
        (request([cond_id, image], outputs=odd or {"a": 1}), {}),
        (request([cond_id, image], id=chance.choice([1, [], {}])), {}),
        (good, {LENGTH: chance.choice(["-1", "x", str(10**9), "1", "0", ""])}),
        (good + noise, {LENGTH: str(len(good))}),
        (request([cond_id, {**image, "data": None, "parameters": {"binary_data_size": 4 * size}}]), {LENGTH: "10"}),
        (b"[" * 100_000, {}),
        (b'{"inputs": [], "inputs": []}', {}),
        (b'{"inputs": [{"name": "image", "shape": [1], "datatype": "FP32", "data": [NaN]}]}', {}),
        (good, {"Content_Encoding": chance.choice(["gzip", "br", "zstd"])}),
        (b"\0" * (17 * 2**20), {}) if number % 200 == 31 else (b"", {}),
    ]
    body, headers = kinds[number % len(kinds)]
    if number % 40 == 39:
        return chance.choice(["GET", "PUT", "DELETE"]), infer, b"", {}
    if number % 40 == 38:
        return "POST", chance.choice(["/v2/models/x/infer", f"/v2/models/{name}/versions/7/infer", "/v2/x"]), good, {}
    if number % 40 == 37:
        return "POST", "/predict", chance.choice([noise, b"{}", b'{"inputs": {"image": 1}, "member": 0}', good]), {}
    return "POST", infer, body, headers


def told(what: str, right: bool, found: str) -> bool:
    """One line of the report."""
    print(f"{'as it should be' if right else 'WRONG':15}  {what}: {found}", flush=True)
    return right


def main() -> int:
    """Everything, in order."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--bundles", nargs=2, type=Path, help="two of one network with ten members; else they are built"
    )
    parser.add_argument("--network", default="wrn-28-4")
    parser.add_argument("--image", default="3,32,32")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=120.0, help="of asking, in all rounds together")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--rows", type=int, default=4, help="images of a request at most")
    parser.add_argument("--malformed", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hnexport-load-") as place:
        folder = Path(place)
        for seed in (0, 1):
            if options.bundles:
                shutil.copytree(options.bundles[seed], folder / f"bundle-{seed}")
                continue
            command = [sys.executable, "-m", "hnexport", "build", "--network", options.network]
            command += ["--image", options.image, "--members", "10", "--formats", "onnx", "--seed", str(seed)]
            command += ["--verify-members", "0"]
            command += ["--out", str(folder / f"bundle-{seed}")]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        shape = tuple(map(int, options.image.split(",")))
        images = np.random.default_rng(0).standard_normal((POOL, *shape)).astype(np.float32)
        right = [under_load(folder / "bundle-0", images, options), full_queue(folder / "bundle-0", images, options)]
        right.append(replaced(folder, images, options))
    return 0 if all(right) else 1


def clients_of(service: Service, images: np.ndarray, options: argparse.Namespace, first: int) -> list[Client]:
    """Clients that have not begun."""
    return [Client(service, images, 10, options.rows, first + number) for number in range(options.clients)]


@dataclass
class Measured:
    """What rounds of asking and replaying came to; times are sums."""

    answers: list[Answer] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    memory_mb: list[int] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    asked_s: float = 0.0
    called_s: float = 0.0
    clients_cpu_s: float = 0.0
    service_cpu_s: float = 0.0
    called_cpu_s: float = 0.0
    checked: int = 0
    wrong: int = 0

    def one_round(
        self, service: Service, direct: LoadedEnsemble, images: np.ndarray, clients: list[Client], seconds: float
    ) -> None:
        """Let the clients ask, then make the same calls in the runtime while the service has nothing to do."""
        cpu, own = service.metric("process_cpu_seconds_total"), time.process_time()
        asked = ask_for(seconds, clients)
        self.clients_cpu_s += time.process_time() - own
        self.service_cpu_s += service.metric("process_cpu_seconds_total") - cpu
        found = [answer for client in clients for answer in client.answers]
        self.refused = sum((client.refused for client in clients), self.refused)
        self.memory_mb.append(round(service.metric("process_resident_memory_bytes") / 1e6))
        again = replay(direct, images, found, allowed_cores())
        self.asked_s, self.called_s = self.asked_s + asked, self.called_s + again.seconds
        self.called_cpu_s += again.cpu_seconds
        self.checked, self.wrong = self.checked + again.checked, self.wrong + again.wrong
        self.ratios.append(again.seconds / asked)
        self.answers += found


def under_load(bundle: Path, images: np.ndarray, options: argparse.Namespace) -> bool:
    """Bits, throughput, latency and memory; then malformed requests."""
    direct = load(bundle, threads=1, provider="cpu")
    direct.warm()
    found = Measured()
    with serving(bundle, "--provider", "cpu") as service:
        ask_for(options.seconds / 20, clients_of(service, images, options, 10**6))  # memory is what it is under load
        for number in range(options.rounds):
            clients = clients_of(service, images, options, 1000 * number)
            found.one_round(service, direct, images, clients, options.seconds / options.rounds)
        batches = service.metric("hnexport_batch_samples_count")
        rows = service.metric("hnexport_batch_samples_sum") / max(1, batches)
        status = malformed(service, images.shape[1:], options.malformed)
        alive = service.ask("GET", "/v2/health/ready")[0] == 200
    count, samples = len(found.answers), sum(len(answer.images) for answer in found.answers)
    times = 1e3 * np.sort([answer.seconds for answer in found.answers])
    print(
        f"{options.network}, {options.image}, {options.clients} clients, {found.asked_s:.0f} s: {count} requests, ",
        end="",
    )
    print(f"{samples} images, {count / found.asked_s:.0f} requests/s, {samples / found.asked_s:.0f} images/s")
    print(f"{rows:.1f} images a call; latency p50 {times[count // 2]:.0f} ms, p99 {times[int(0.99 * count)]:.0f} ms")
    spent = (found.service_cpu_s, found.clients_cpu_s, found.called_cpu_s)
    print("CPU time: service {:.0f} s, clients {:.0f} s, runtime {:.0f} s".format(*spent))
    cpu = spent[2] / spent[0]
    settled = found.memory_mb[len(found.memory_mb) // 2]  # the largest batch has come by then
    ratio, bits = found.called_s / found.asked_s, f"{found.checked - found.wrong} of {count}"
    right = [
        told("every request answered", not found.refused, str(dict(found.refused) or "yes")),
        told("answers with the bits of the runtime", not found.wrong and found.checked == count, bits),
        told("throughput over the runtime's", ratio >= LEAST, f"{ratio:.3f}, rounds {np.round(found.ratios, 3)}"),
        told("the runtime's CPU time over the service's", cpu >= LEAST, f"{cpu:.3f}"),
        told(
            "memory does not grow, MB after each round", found.memory_mb[-1] < 1.02 * settled + 2, str(found.memory_mb)
        ),
        told("malformed requests", all(400 <= code < 500 for code in status), str(dict(sorted(status.items())))),
        told("ready after them", alive, str(alive)),
    ]
    return all(right)


def full_queue(bundle: Path, images: np.ndarray, options: argparse.Namespace) -> bool:
    """More than may wait: 503 with Retry-After, and right answers for the others."""
    with serving(bundle, "--provider", "cpu", "--workers", "1", "--batch", "4", "--queue", "8") as service:
        clients = clients_of(service, images, options, 0)
        ask_for(5.0, clients)
    refused = sum((client.refused for client in clients), Counter())
    answers = sum(len(client.answers) for client in clients)
    return told("a full queue", set(refused) == {"503"} and answers > 0, f"{answers} answers, {dict(refused)}")


def replaced(folder: Path, images: np.ndarray, options: argparse.Namespace) -> bool:
    """Another bundle by rename and SIGHUP, then SIGTERM, both under load: no request is lost."""
    path = folder / "served"
    shutil.copytree(folder / "bundle-0", path)
    direct = [load(folder / f"bundle-{seed}", threads=1, provider="cpu") for seed in (0, 1)]
    for ensemble in direct:
        ensemble.warm()  # before its folder is renamed
    with serving(path, "--provider", "cpu") as service:
        clients = clients_of(service, images, options, 0)
        for client in clients:
            client.start()
        time.sleep(3)
        os.rename(path, folder / "before")
        os.rename(folder / "bundle-1", path)
        service.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 120
        while service.metric('hnexport_replacements_total{result="done"}') < 1 and time.monotonic() < deadline:
            time.sleep(0.5)
        time.sleep(3)
        service.process.send_signal(signal.SIGTERM)
        code = service.process.wait(60)
        for client in clients:
            client.join(60)
    answers = [answer for client in clients for answer in client.answers]
    refused = sum((client.refused for client in clients), Counter())
    versions = list(dict.fromkeys(answer.version for answer in answers))
    bits = []
    for ensemble, version in zip(direct, versions, strict=False):
        own = [answer for answer in answers if answer.version == version]
        again = replay(ensemble, images, own, allowed_cores())
        bits.append((len(own), again.checked - again.wrong))
    lost = {name: count for name, count in refused.items() if name != "nobody listens"}
    return all(
        [
            told("a bundle replaced under load", len(versions) == 2, f"answers of {versions}: with right bits {bits}"),
            told("answers of both have the runtime's bits", all(one == other for one, other in bits), str(bits)),
            told("lost while it was replaced and stopped", not lost, str(lost or "none")),
            told("exit code after SIGTERM", code == 0, str(code)),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
