"""Every address of the API: what it gives, and every error it may answer with."""

import base64
import sys
import threading
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from served import BASE, Colours, picture

import tench
from tench.data import decode
from tench.records import Run
from tench.serve.app import application
from tench.serve.desk import Desk

pytest_plugins = ["served_fixtures"]

MakeClient = Callable[..., TestClient]
MakeDesk = Callable[..., Desk]
RED, GREEN, BLUE = picture(), picture((50, 180, 60)), picture((40, 60, 200))


def refusal(response: Any, status: int, code: str) -> str:
    """The sentence of an error that is checked to be the right one."""
    assert response.status_code == status, response.text
    assert response.json()["error"]["code"] == code
    message = response.json()["error"]["message"]
    assert message.endswith(".")
    return message


def opened(uri: str) -> Image.Image:
    """The picture in a data: address."""
    assert uri.startswith("data:image/png;base64,")
    return Image.open(BytesIO(base64.b64decode(uri.partition(",")[2])))


def form(*contents: bytes, name: str = "photo") -> list[tuple[str, tuple[str, bytes, str]]]:
    """Pictures as file parts."""
    return [(name, (f"zdjęcie {n}.png", content, "image/png")) for n, content in enumerate(contents)]


def test_models_are_listed_with_their_scores_and_the_limits(client: TestClient, served_run: Run) -> None:
    found = client.get("/api/models").json()
    assert found["limits"] == {"max_bytes": 20 * 2**20, "max_pixels": 50_000_000, "max_photos": 16}
    run, colours = found["models"]
    result = served_run.record.result
    assert result
    assert run["score"] == {
        "top1": result.top1,
        "low": result.top1_low,
        "high": result.top1_high,
        "n": 30,
        "data": "discs",
        "is_demo": False,
    }
    assert (run["id"], run["name"], run["kind"], run["input_px"], run["heat"]) == ("m0", served_run.id, "run", 16, "grad-cam")
    assert '"Not one of these"' in run["trust"]
    assert [kind["id"] for kind in run["classes"]] == ["blue", "green", "red"]
    assert (colours["kind"], colours["input_px"], colours["heat"], colours["trust"], colours["score"]) == (
        "bundle",
        36,
        "occlusion",
        None,
        None,
    )


@pytest.mark.parametrize("content_type", ["image/png", "image/jpeg", "application/octet-stream", "text/plain", None])
def test_a_plain_body_is_a_picture_whatever_it_is_said_to_be(client: TestClient, content_type: str | None, served_run: Run) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    found = client.post("/api/predict", content=RED, headers=headers, params={"top": 2}).json()
    assert found["errors"] == []
    first, second = found["answers"]
    assert [answer["model"] for answer in (first, second)] == ["m0", "m1"]
    expected = tench.load(served_run, threads=1).predict(RED, top=2).as_dict()
    assert {key: first[key] for key in expected} == expected
    assert second["guesses"][0]["id"] == "red"
    assert second["familiarity"] is None
    assert second["not_one_of_these"] is None
    assert first["photo"] is None
    assert first["ms"] >= 0


def test_models_are_chosen_by_their_ids_each_once(client: TestClient) -> None:
    for ids in ("m1", "m1,m1"):
        found = client.post("/api/predict", content=BLUE, params={"models": ids, "top": 1}).json()["answers"]
        assert [(answer["model"], [guess["id"] for guess in answer["guesses"]]) for answer in found] == [("m1", ["blue"])]


def test_several_pictures_are_answered_in_order_and_bad_ones_named(client: TestClient) -> None:
    found = client.post("/api/predict", files=form(RED, b"nothing", GREEN, BLUE), params={"models": "m1"}).json()
    assert [(answer["photo"], answer["guesses"][0]["id"]) for answer in found["answers"]] == [
        ("zdjęcie 0.png", "red"),
        ("zdjęcie 2.png", "green"),
        ("zdjęcie 3.png", "blue"),
    ]
    (error,) = found["errors"]
    assert (error["photo"], error["code"]) == ("zdjęcie 1.png", "not_a_picture")
    assert "no picture of a known format" in error["message"]
    both = client.post("/api/predict", files=form(b"", b"nothing")).json()
    assert both["answers"] == []
    assert len(both["errors"]) == 2


def test_a_form_of_one_bad_picture_is_an_error(client: TestClient) -> None:
    refusal(client.post("/api/predict", files=form(b"nothing")), 415, "not_a_picture")


@pytest.mark.parametrize("path", ["/api/predict", "/api/explain?model=m1", "/api/way?model=m0"])
def test_what_is_no_picture_is_refused(client: TestClient, path: str) -> None:
    assert "is empty" in refusal(client.post(path), 415, "not_a_picture")
    refusal(client.post(path, content=b"<svg onload='alert(1)'/>"), 415, "not_a_picture")
    assert "is damaged" in refusal(client.post(path, content=RED[:60]), 415, "not_a_picture")


def test_too_many_pixels_are_refused_by_the_header_alone(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    client = make_client(max_pixels=2399)
    bomb = picture(size=(1, 1)).replace(b"\0\0\0\1\0\0\0\1", b"\0\1\0\0\0\1\0\0")  # a header of 4,295 million pixels
    monkeypatch.setattr(decode.Image.Image, "load", lambda self: pytest.fail("it was decoded"))
    message = refusal(client.post("/api/predict", content=RED), 413, "too_many_pixels")
    assert "2,400 pixels; at most 2,399" in message
    refusal(client.post("/api/predict", content=fixed_crc(bomb)), 413, "too_many_pixels")


def fixed_crc(png: bytes) -> bytes:
    """A PNG whose header was changed, with its checksum made right."""
    import zlib

    return png[:29] + zlib.crc32(png[12:29]).to_bytes(4, "big") + png[33:]


def test_a_jpeg_of_endless_scans_is_refused_and_a_usual_one_is_not(client: TestClient) -> None:
    content = BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(content, "JPEG", progressive=True)
    usual = content.getvalue()
    assert client.post("/api/predict", content=usual).status_code == 200
    start = usual.index(b"\xff\xda")
    last = usual.rindex(b"\xff\xda")
    endless = usual[:start] + usual[last:-2] * 200 + usual[-2:]
    assert "scans" in refusal(client.post("/api/predict", content=endless), 415, "not_a_picture")


def test_pictures_are_decoded_as_predict_decodes_them(client: TestClient, served_run: Run) -> None:
    sideways = BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    left_green = Image.new("RGB", (60, 30), (50, 180, 60))
    left_green.paste((200, 50, 40), (30, 0, 60, 30))
    left_green.save(sideways, "JPEG", exif=exif, quality=95)
    found = client.post("/api/predict", content=sideways.getvalue(), params={"models": "m0"}).json()["answers"][0]
    expected = tench.load(served_run, threads=1).predict(sideways.getvalue(), top=10).as_dict()
    assert found["guesses"] == expected["guesses"]


# --- what is wrong with a request ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/predict?models=m7", "/api/explain?model=m7", "/api/way?model=m7"])
def test_an_unknown_model_is_named_with_those_there_are(client: TestClient, path: str) -> None:
    assert "'m7'; there are m0, m1" in refusal(client.post(path, content=RED), 404, "no_such_model")
    refusal(client.get("/api/filters?model="), 404, "no_such_model")


@pytest.mark.parametrize(
    ("path", "wrong"), [("/api/predict?top=0", "top"), ("/api/predict?top=many", "top"), ("/api/explain", "model"), ("/api/way", "model")]
)
def test_wrong_parameters_are_named(client: TestClient, path: str, wrong: str) -> None:
    assert f"{wrong}: " in refusal(client.post(path, content=RED), 422, "invalid")


def test_unknown_addresses_and_methods_have_the_same_form_of_error(client: TestClient) -> None:
    refusal(client.get("/api/nothing"), 404, "not_found")
    refusal(client.get("/docs"), 404, "not_found")
    refusal(client.get("/redoc"), 404, "not_found")
    response = client.get("/api/predict")
    refusal(response, 405, "not_allowed")
    assert response.headers["allow"] == "POST"
    refusal(client.get("/api/demo/99.png"), 404, "no_such_picture")
    refusal(client.get("/api/demo/x.png"), 422, "invalid")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "breaks off"),
        (b"--x--\r\n", '"photo"'),
        (b"rubbish", "boundary"),
        (b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\nabc', "breaks off"),
        (b'--x\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\nb\r\n--x--', 'not called "photo"'),
        (b"--x\r\n\r\nabc\r\n--x--", 'not called "photo"'),
        (b"--x\r\n" + b"A: b\r\n" * 50 + b"\r\nabc\r\n--x--", "header"),
    ],
)
def test_a_form_that_cannot_be_read_is_refused(client: TestClient, body: bytes, reason: str) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    assert reason in refusal(client.post("/api/predict", content=body, headers=headers), 400, "bad_form")


def test_a_form_without_a_boundary_is_refused_and_one_without_file_names_is_not(client: TestClient) -> None:
    response = client.post("/api/predict", content=RED, headers={"Content-Type": "multipart/form-data"})
    assert "no boundary" in refusal(response, 400, "bad_form")
    part = b'--x\r\nContent-Disposition: form-data; name="photo"\r\n\r\n' + RED + b"\r\n--x--\r\n"
    found = client.post("/api/predict?models=m1", content=part, headers={"Content-Type": "multipart/form-data; boundary=x"}).json()
    assert [(answer["photo"], answer["guesses"][0]["id"]) for answer in found["answers"]] == [(None, "red")]


def test_a_form_of_too_many_parts_is_refused(make_client: MakeClient) -> None:
    client = make_client(max_photos=3)
    assert client.post("/api/predict", files=form(*[RED] * 3)).status_code == 200
    assert "3 pictures at most" in refusal(client.post("/api/predict", files=form(*[RED] * 4)), 400, "too_many_photos")
    refusal(client.post("/api/explain?model=m0", files=form(RED, RED)), 400, "too_many_photos")


# --- bounds ----------------------------------------------------------------------------------------------------------


def test_a_body_that_is_too_large_is_refused_and_none_of_it_is_parsed(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    client = make_client(max_bytes=1000, linger_s=0.2)
    monkeypatch.setattr("tench.serve.desk.uploads", lambda *_: pytest.fail("it was parsed"))
    assert "larger than" in refusal(client.post("/api/predict", content=bytes(1001)), 413, "too_large")
    chunked = client.post("/api/predict", content=(bytes(100) for _ in range(11)))
    refusal(chunked, 413, "too_large")
    assert desk_of(client).intake.held_bytes == 0


def test_a_body_of_just_the_largest_size_is_taken(make_client: MakeClient) -> None:
    assert make_client(max_bytes=len(RED)).post("/api/predict", content=RED).status_code == 200


def test_what_all_bodies_may_hold_together_is_bounded(make_client: MakeClient) -> None:
    client = make_client(max_bytes=1000, bodies=2)
    intake = desk_of(client).intake
    intake.held_bytes = 1900
    response = client.post("/api/predict", content=RED)
    refusal(response, 503, "busy")
    assert int(response.headers["retry-after"]) > 0
    assert intake.held_bytes == 1900
    assert client.post("/api/predict", content=bytes(50)).status_code == 415


def test_more_requests_than_may_wait_are_asked_to_come_again(make_client: MakeClient) -> None:
    client = make_client(waiting=3, decoders=1)
    desk, gate = desk_of(client), threading.Event()
    held = desk.decoder.pool.submit(gate.wait, 30)
    statuses: list[int] = []
    waiting = [threading.Thread(target=lambda: statuses.append(client.post("/api/predict", content=RED).status_code)) for _ in range(3)]
    for thread in waiting:
        thread.start()
    until(lambda: desk.intake.working == 3)
    response = client.post("/api/predict", content=RED)
    refusal(response, 503, "busy")
    assert response.headers["retry-after"]
    gate.set()
    for thread in waiting:
        thread.join()
    assert statuses == [200] * 3
    assert held.done()
    assert (desk.intake.working, desk.intake.held_bytes) == (0, 0)


def test_large_pictures_are_decoded_one_at_a_time(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from tench.serve import decoding

    inside, most, decode_image = [0], [0], decoding.decode_image

    def slow(data: bytes, name: str) -> Image.Image:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        threading.Event().wait(0.05)
        inside[0] -= 1
        return decode_image(data, name)

    monkeypatch.setattr(decoding, "decode_image", slow)
    assert make_client().post("/api/predict?models=m1", files=form(*[RED] * 6)).status_code == 200
    assert most == [2]
    most[0] = 0
    assert make_client(large_pixels=100).post("/api/predict?models=m1", files=form(*[RED] * 6)).status_code == 200
    assert most == [1]


def test_what_takes_too_long_is_given_up(make_client: MakeClient) -> None:
    client = make_client(answer_s=0.1)
    desk, gate = desk_of(client), threading.Event()
    desk.models.all[1].work(gate.wait, 30)
    refusal(client.post("/api/predict?models=m1", content=RED), 503, "took_too_long")
    gate.set()
    until(lambda: client.post("/api/predict?models=m1", content=RED).status_code == 200)


def test_nothing_is_written_to_the_disk(client: TestClient) -> None:
    """Starlette's own forms put files of more than 1 MiB there."""
    large = picture(size=(1500, 1000), form="BMP")
    assert len(large) > 4 * 2**20
    client.post("/api/predict", files=form(RED))
    seen = []
    listening = [True]

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if not listening[0]:
            return
        if event == "open" and (arguments[2] & (1 | 2) or "w" in str(arguments[1])):  # O_WRONLY, O_RDWR
            seen.append(arguments)
        elif event.startswith("tempfile"):
            seen.append((event, *arguments))

    sys.addaudithook(hear)
    try:
        assert len(client.post("/api/predict", files=form(large, large)).json()["answers"]) == 4
        assert client.post("/api/predict", content=large).status_code == 200
    finally:
        listening[0] = False
    assert seen == []


def test_a_fault_of_ours_is_an_error_of_the_same_form(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tench.serve.desk._timed", lambda *_: 1 / 0)
    message = refusal(client.post("/api/predict", content=RED), 500, "internal")
    assert "division" not in message
    assert client.get("/api/models").status_code == 200


def until(holds: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until it does."""
    pause = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if holds():
            return
        pause.wait(0.02)
    raise AssertionError("it never came to hold")


def desk_of(client: TestClient) -> Any:
    """The desk behind a client."""
    guard: Any = client.app
    return guard.app.state.desk


# --- looking inside --------------------------------------------------------------------------------------------------


def test_a_heat_map_by_grad_cam(client: TestClient, served_run: Run) -> None:
    found = client.post("/api/explain?model=m0", content=RED).json()
    assert (found["model"], found["kind"], found["rows"], found["columns"]) == ("m0", "grad-cam", 8, 8)
    assert found["method"].startswith("Grad-CAM (captum ")
    answered = tench.load(served_run, threads=1).predict(RED)[0].kind.id
    assert found["class"]["id"] == answered
    heat = opened(found["heat"])
    assert (heat.mode, heat.size) == ("L", (8, 8))
    other = client.post("/api/explain?model=m0&class=green", content=RED).json()
    assert other["class"]["english"] == "green"
    refusal(client.post("/api/explain?model=m0&class=violet", content=RED), 404, "no_such_class")


def test_a_heat_map_by_occlusion_is_hot_where_the_network_looks(client: TestClient) -> None:
    found = client.post("/api/explain?model=m1", content=RED).json()
    assert (found["kind"], found["rows"], found["columns"], found["class"]["id"]) == ("occlusion", 12, 12, "red")
    assert found["method"] == "Occlusion: a grey patch of 4 x 6 pixels, moved by 2 x 3; the fall of the class's log-probability"
    heat = np.asarray(opened(found["heat"]))
    assert heat[5, 5] == heat.max() == 255
    assert heat[0].max() == heat[:, -1].max() == 0


def test_the_way_through_the_layers(client: TestClient) -> None:
    rows = client.post("/api/way?model=m0", content=RED).json()["rows"]
    assert [row["title"].split(",")[0] for row in rows] == ["Conv", "MaxPool", "Conv", "AvgPool"]
    assert (rows[0]["channels"], rows[0]["height_px"], rows[0]["width_px"]) == (8, 16, 16)
    assert opened(rows[0]["maps"][0]).size == (16, 16)
    assert len(rows[0]["maps"]) == 8
    refusal(client.post("/api/way?model=m1", content=RED), 409, "no_layers")


def test_the_first_filters(client: TestClient) -> None:
    found = client.get("/api/filters?model=m0").json()
    assert found["title"].startswith("Conv, 3x3, 8")
    kernels = [opened(uri) for uri in found["filters"]]
    assert [(kernel.mode, kernel.size) for kernel in kernels] == [("RGB", (3, 3))] * 8
    assert all(np.ptp(np.asarray(kernel)) == 255 for kernel in kernels)
    refusal(client.get("/api/filters?model=m1"), 404, "no_filters")


def test_demo_pictures_are_drawn_in_memory(client: TestClient) -> None:
    pictures = client.get("/api/demo").json()["pictures"]
    assert len(pictures) == 10
    assert pictures[1] == {
        "id": "n02102040",
        "english": "English springer",
        "polish": "pies",
        "imagenet_index": 217,
        "url": "/api/demo/1.png",
    }
    response = client.get(pictures[1]["url"])
    assert response.headers["content-type"] == "image/png"
    assert Image.open(BytesIO(response.content)).size == (256, 256)


# --- the page's files ------------------------------------------------------------------------------------------------


def test_the_page_and_its_files_and_nothing_else(client: TestClient, served_run: Run) -> None:
    from importlib import resources

    folder = Path(str(resources.files("tench.serve"))) / "static"
    for path in folder.iterdir():
        response = client.get(f"/static/{path.name}")
        assert response.content == path.read_bytes(), path.name
        assert client.get(f"/static/{path.name}", headers={"If-None-Match": response.headers["etag"]}).status_code == 304
    assert client.get("/").headers["content-type"] == "text/html; charset=utf-8"
    for name in ("..%2fapp.py", "%2e%2e/app.py", "..\\app.py", "%2fetc%2fpasswd", "nothing.js", "app.py", "a\0.js"):
        assert client.get(f"/static/{name.replace(chr(0), '%00')}").status_code == 404, name


def test_the_page_of_the_api(client: TestClient) -> None:
    assert client.get("/api").headers["content-type"] == "text/html; charset=utf-8"


def test_openapi_names_every_address_and_every_error(client: TestClient) -> None:
    found = client.get("/openapi.json").json()
    assert sorted(found["paths"]) == [
        "/api/demo",
        "/api/demo/{number}.png",
        "/api/explain",
        "/api/filters",
        "/api/models",
        "/api/predict",
        "/api/runs",
        "/api/way",
    ]
    assert "HTTPValidationError" not in found["components"]["schemas"]
    predict = found["paths"]["/api/predict"]["post"]
    assert set(predict["requestBody"]["content"]) == {"image/*", "application/octet-stream", "multipart/form-data"}
    assert set(predict["responses"]) == {"200", "400", "403", "404", "408", "413", "415", "422", "500", "503"}


def test_a_network_is_never_used_twice_at_once(make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = make_desk()
    inside, most, lock = [0], [0], threading.Lock()
    look = Colours.look

    def slow(self: Any, pixels: Any, features: bool = False) -> Any:
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        threading.Event().wait(0.02)
        with lock:
            inside[0] -= 1
        return look(self, pixels, features)

    monkeypatch.setattr(Colours, "look", slow)
    client = TestClient(application(desk), base_url=BASE)
    threads = [threading.Thread(target=lambda: client.post("/api/predict?models=m1", content=RED)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 1
