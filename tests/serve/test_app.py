"""The routes, asked in this process."""

import json
import shutil
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from bundles import saying
from numpy.typing import NDArray
from serving import Ask, Asking
from shared import Built

from hnexport.runtime import LoadedEnsemble, load
from hnexport.serve.settings import LoadSettings
from hnexport.spec.usage import Normalisation

LENGTH = "Inference-Header-Content-Length"


def tensor(name: str, array: np.ndarray, datatype: str) -> dict[str, Any]:
    return {"name": name, "shape": list(array.shape), "datatype": datatype, "data": array.reshape(-1).tolist()}


def member(number: int) -> dict[str, Any]:
    return tensor("cond_id", np.array([number]), "INT64")


def outputs(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return {
        item["name"]: np.array(item["data"], dtype=object).reshape(item["shape"]) for item in answer.json()["outputs"]
    }


def same(found: np.ndarray, expected: np.ndarray) -> bool:
    return found.astype(expected.dtype).tobytes() == expected.tobytes()


def test_a_member_in_json_has_the_bits_of_the_runtime(
    ask: Ask, direct: LoadedEnsemble, images: NDArray[np.float32]
) -> None:
    async def one(asking: Asking) -> httpx.Response:
        return await asking.infer([member(2), tensor("image", images, "FP32")], id="seven")

    answer = ask(one)
    assert same(outputs(answer)["logits"], direct.predict(images, member=2))
    assert answer.json()["id"] == "seven"
    assert list(answer.json()) == ["model_name", "model_version", "id", "outputs"]


def test_tensors_in_bytes_have_the_bits_of_the_runtime(
    ask: Ask, direct: LoadedEnsemble, images: NDArray[np.float32]
) -> None:
    async def one(asking: Asking) -> httpx.Response:
        entry = tensor("image", images, "FP32") | {"parameters": {"binary_data_size": images.nbytes}}
        del entry["data"]
        outputs = [{"name": "logits", "parameters": {"binary_data": True}}]
        head = json.dumps({"inputs": [entry, member(1)], "outputs": outputs}).encode()
        return await asking.client.post(
            f"/v2/models/{asking.service.name}/infer", content=head + images.tobytes(), headers={LENGTH: str(len(head))}
        )

    answer = ask(one)
    end = int(answer.headers[LENGTH])
    (entry,) = json.loads(answer.content[:end])["outputs"]
    expected = direct.predict(images, member=1)
    assert entry == {
        "name": "logits",
        "datatype": "FP32",
        "shape": list(expected.shape),
        "parameters": {"binary_data_size": expected.nbytes},
    }
    assert answer.content[end:] == expected.tobytes()


def test_several_members_the_mean_and_until_are_those_of_the_runtime(
    ask: Ask, direct: LoadedEnsemble, images: NDArray[np.float32]
) -> None:
    async def three(asking: Asking) -> list[Any]:
        image = tensor("image", images, "FP32")
        return [
            await asking.infer([image], parameters={"members": "2,0"}),
            await asking.infer([image], parameters={"mean": True}),
            await asking.infer([image], parameters={"until": 0.15, "members": [2, 1, 0]}),
        ]

    several, mean, until = map(outputs, ask(three))
    assert same(several["logits"], direct.predict(images, members=[2, 0]))
    expected = direct.predict_mean(images)
    assert same(mean["mean_probabilities"], expected.probabilities)
    assert same(mean["mutual_information"], expected.mutual_information)
    assert same(mean["votes"], expected.votes)
    stopped = direct.predict_mean(images, members=[2, 1, 0], until=0.15)
    assert 1 < stopped.members_used.sum() < 3 * len(images)
    assert same(until["members_used"], stopped.members_used)
    assert same(until["predictive_entropy"], stopped.predictive_entropy)
    assert (until["member_logits"] == None).sum() == np.isnan(stopped.logits).sum()  # noqa: E711


def test_plain_json_gives_nested_lists_and_null_for_nan(
    ask: Ask, direct: LoadedEnsemble, images: NDArray[np.float32]
) -> None:
    bad = images.tolist()
    bad[1][0][0][0] = None

    async def one(asking: Asking) -> httpx.Response:
        return await asking.plain({"image": bad}, member=0)

    answer = ask(one)
    logits = answer.json()["outputs"]["logits"]
    assert logits[1] == [None] * direct.classes
    changed = images.copy()
    changed[1, 0, 0, 0] = np.nan
    assert np.array(logits[0], np.float32).tobytes() == direct.predict(changed, member=0)[0].tobytes()
    assert answer.json()["member"] == 0


def test_metadata_says_what_can_be_asked(ask: Ask, built: Built) -> None:
    async def many(asking: Asking) -> Any:
        paths = ("/v2", "/v2/models", f"/v2/models/{asking.service.name}", "/openapi.json", "/v2/health/live")
        found = [(await asking.client.get(path)).json() for path in paths]
        version = found[2]["versions"][0]
        ready = await asking.client.get(f"/v2/models/{asking.service.name}/versions/{version}/ready")
        return found, ready

    (server, models, model, document, live), ready = ask(many, name="some name/1")
    assert "binary_tensor_data" in server["extensions"]
    assert models == {"models": ["some-name-1"]}
    assert model["versions"] == [built.digest.removeprefix("sha256:")[:12]]
    assert [item["name"] for item in model["inputs"]] == ["cond_id", "image"]
    assert model["inputs"][1]["shape"][0] == -1
    assert document["paths"]["/v2/models/some-name-1/infer"]["post"]["requestBody"]
    assert live == {"live": True}
    assert ready.json() == {"name": "some-name-1", "ready": True}


def test_the_page_loads_nothing_and_names_every_parameter(ask: Ask) -> None:
    async def one(asking: Asking) -> httpx.Response:
        return await asking.client.get("/")

    page = ask(one)
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "\\n" not in page.text
    assert not any(word in page.text for word in ("<script", "src=", "http://", "https://", "@import"))
    assert all(f"<code>{name}</code>" in page.text for name in ("until", "batch_details", "mean_probabilities"))


def test_the_page_says_how_pictures_are_normalised_and_what_the_classes_are_called(
    ask: Ask, built: Built, tmp_path: Path
) -> None:
    async def both(asking: Asking) -> tuple[str, Any]:
        document = (await asking.client.get("/openapi.json")).json()
        return (await asking.client.get("/")).text, document["info"]["description"]

    names = tuple(f"kind {one}" for one in range(built.manifest.outputs[0].shape[-1]))
    told = Normalisation(mean=(0.4,), std=(0.25, 0.5, 1.0))
    said = saying(built.path, tmp_path / "said", class_names={"logits": names}, normalisation=told)
    page, description = ask(both, said)
    for text in (page, description):
        assert "image takes pictures: (pixel/255 - mean) / std, mean 0.4, std 0.25, 0.5, 1, as the bundle says." in text
    assert f"Classes of logits, in their order: {', '.join(names)}" in page
    unsaid = saying(built.path, tmp_path / "unsaid", normalisation=None, class_names={})
    assert all("the bundle does not say how" in text for text in ask(both, unsaid))


def test_before_the_members_are_made_only_liveness_answers(ask: Ask, images: NDArray[np.float32]) -> None:
    async def many(asking: Asking) -> Any:
        get = asking.client.get
        infer = await asking.infer([member(0), tensor("image", images, "FP32")])
        return await get("/v2/health/live"), await get("/v2/health/ready"), await get("/metrics"), infer

    live, ready, metrics, infer = ask(many, start=False, name="x")
    assert (live.status_code, ready.status_code, metrics.status_code) == (200, 503, 200)
    assert "hnexport_ready 0.0" in metrics.text
    assert (infer.status_code, infer.headers["retry-after"]) == (503, "1")


def test_while_it_stops_it_answers_is_not_ready_and_closes_connections(ask: Ask, images: NDArray[np.float32]) -> None:
    async def many(asking: Asking) -> Any:
        asking.service.draining = True
        ready = await asking.client.get("/v2/health/ready")
        return ready, await asking.infer([member(0), tensor("image", images, "FP32")])

    ready, infer = ask(many)
    assert (ready.status_code, infer.status_code) == (503, 200)
    assert infer.headers["connection"] == "close"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"\xff", 400),
        (b"[]", 400),
        (b"[" * 100_000, 400),
        (b'{"inputs": [], "inputs": []}', 400),
        (b'{"inputs": [{"name": "image", "shape": [1], "datatype": "FP32", "data": [NaN]}]}', 400),
        (b'{"inputs": []}', 400),
        (b'{"inputs": [1]}', 400),
        (b'{"inputs": [{"name": []}]}', 400),
        (b'{"inputs": [], "outputs": 3}', 400),
        (b'{"inputs": [], "outputs": {}}', 400),
        (b'{"inputs": [], "parameters": []}', 400),
        (b" " * 5000, 413),
    ],
)
def test_what_is_no_request_is_refused_in_json(ask: Ask, body: bytes, status: int) -> None:
    async def one(asking: Asking) -> httpx.Response:
        return await asking.client.post(f"/v2/models/{asking.service.name}/infer", content=body)

    answer = ask(one, body_bytes=4096) if status == 413 else ask(one)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("Inference-Header-Content-Length", "1"), ("Inference-Header-Content-Length", "2")], 400),
        ([("Content-Encoding", "Identity")], 200),
        ([("Content-Encoding", "identity"), ("Content-Encoding", "gzip")], 415),
        ([("Host", "elsewhere.example")], 421),
    ],
)
@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"])
def test_headers_are_read_whole(
    ask: Ask, images: NDArray[np.float32], headers: list[tuple[str, str]], status: int, host: str
) -> None:
    body = {"inputs": [member(0), tensor("image", images[:1], "FP32")]}

    async def one(asking: Asking) -> httpx.Response:
        path = f"/v2/models/{asking.service.name}/infer"
        return await asking.client.post(path, content=json.dumps(body), headers=headers)

    answer = ask(one, host=host)
    assert answer.status_code == status, answer.text


def test_a_request_that_does_not_fit_the_network_is_told_what_is_expected(
    ask: Ask, images: NDArray[np.float32]
) -> None:
    async def many(asking: Asking) -> list[Any]:
        image = tensor("image", images, "FP32")
        wide = tensor("image", images.astype(np.float64), "FP64")
        return [
            await asking.infer([member(0), wide]),
            await asking.infer([member(0), tensor("image", images[:, :, 1:], "FP32")]),
            await asking.infer([member(0), image, image | {"name": "other"}]),
            await asking.infer([member(9), image]),
            await asking.infer([member(0), image], outputs=[{"name": "nothing"}]),
            await asking.infer([member(0), tensor("image", np.repeat(images, 8, axis=0), "FP32")]),
            await asking.client.post("/v2/models/another/infer", json={"inputs": []}),
            await asking.client.post(f"/v2/models/{asking.service.name}/versions/1/infer", json={"inputs": []}),
            await asking.client.get("/predict"),
            await asking.client.get("/nothing"),
            await asking.client.get("/v2", headers={"Host": "elsewhere.example"}),
            await asking.client.post("/predict", content=b"x", headers={"Content-Encoding": "gzip"}),
        ]

    answers = ask(many)
    assert [answer.status_code for answer in answers] == [400] * 6 + [404, 404, 405, 404, 421, 415]
    said = [answer.json()["error"] for answer in answers]
    assert "expected float32, found float64" in said[0]
    assert "expected shape [batch, 3, " in said[1]
    assert "there is no input 'other'" in said[2]
    assert "members 0 to 2" in said[3]
    assert "at most 32" in said[5]


def test_each_precision_of_the_service_answers_as_the_runtime_in_it(
    ask: Ask, built: Built, images: NDArray[np.float32]
) -> None:
    settings = LoadSettings(engine="openvino", precisions=("float32", "bfloat16"))

    async def three(asking: Asking) -> list[Any]:
        image = [member(0), tensor("image", images, "FP32")]
        return [
            await asking.infer(image, parameters=how) for how in ({}, {"precision": "bfloat16"}, {"precision": "int8"})
        ]

    single, half, neither = ask(three, load=settings)
    for answer, precision in ((single, "float32"), (half, "bfloat16")):
        direct = load(built.path, engine="openvino", precision=precision, threads=1)
        assert same(outputs(answer)["logits"], direct.predict(images, member=0))
    assert not same(outputs(half)["logits"], outputs(single)["logits"].astype(np.float32))
    assert neither.status_code == 400
    assert "float32, bfloat16" in neither.json()["error"]


def test_fewer_residents_than_members_are_made_of_files_in_memory(
    ask: Ask, built: Built, images: NDArray[np.float32], direct: LoadedEnsemble, tmp_path: Path
) -> None:
    path = tmp_path / "served"
    shutil.copytree(built.path, path)

    async def gone(asking: Asking) -> list[Any]:
        shutil.rmtree(path)
        return [await asking.infer([member(number), tensor("image", images, "FP32")]) for number in (0, 1, 2, 0)]

    answers = ask(gone, bundle=path, load=LoadSettings(provider="cpu", resident=1))
    for answer, number in zip(answers, (0, 1, 2, 0), strict=True):
        assert same(outputs(answer)["logits"], direct.predict(images, member=number))


def test_metrics_count_requests_batches_and_members(ask: Ask, images: NDArray[np.float32]) -> None:
    async def many(asking: Asking) -> str:
        await asking.infer([member(1), tensor("image", images, "FP32")])
        await asking.infer([member(7), tensor("image", images, "FP32")])
        return (await asking.client.get("/metrics")).text

    text = ask(many)
    assert 'hnexport_requests_total{route="/v2/models/{name}/infer",status="200"} 1.0' in text
    assert 'hnexport_requests_total{route="/v2/models/{name}/infer",status="400"} 1.0' in text
    assert 'hnexport_request_seconds_count{asked="1",precision="float32"} 1.0' in text
    assert f"hnexport_batch_samples_sum {float(len(images))}" in text
    assert "hnexport_resident_members 3.0" in text
    assert "hnexport_held_bytes 0.0" in text
    assert "process_resident_memory_bytes" in text
