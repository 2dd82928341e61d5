"""Who is let in, and what every response says to the browser."""

import socket
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from served import BASE, picture

from tench.errors import UsageError
from tench.serve.guard import CONTENT_POLICY, Door, host_name
from tench.serve.start import Place, bind

pytest_plugins = ["served_fixtures"]

MakeClient = Callable[..., TestClient]
TOKEN = "Zażółć-0123456789"


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "127.0.0.1", "localhost:8765", "LOCALHOST", "[::1]:8765", "[::1]", "localhost:9000"])
def test_this_machine_is_let_in(client: TestClient, host: str) -> None:
    assert client.get("/api/models", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "localhost.evil.example:8765", "192.168.1.7:8765", "", "::1"]
)
def test_another_name_for_this_machine_is_not(client: TestClient, host: str) -> None:
    """A stranger's page may call its own name by our address (DNS rebinding)."""
    for method, path in (("GET", "/"), ("GET", "/api/models"), ("POST", "/api/predict"), ("GET", "/openapi.json"), ("GET", "/nothing")):
        response = client.request(method, path, headers={"Host": host})
        assert response.status_code == 403
        assert response.json()["error"]["code"] == "foreign_host"


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:3000", "http://localhost:8765", "rubbish", "http://[x"]
)
def test_another_sites_page_may_not_post(client: TestClient, origin: str) -> None:
    response = client.post("/api/predict", content=picture(), headers={"Origin": origin})
    assert response.status_code == 403
    assert response.json()["error"]["code"] == "foreign_page"
    assert "access-control-allow-origin" not in response.headers
    assert client.post("/api/predict", content=picture(), headers={"Origin": BASE}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/api", "/api/models", "/api/nothing", "/openapi.json", "/static/app.js", "/api/runs"])
def test_every_response_tells_the_browser_what_is_forbidden(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["content-security-policy"] == CONTENT_POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cache-control"]
    assert "server" not in headers
    assert not [name for name in headers if name.startswith("access-control")]


def test_the_policy_lets_the_pages_own_files_in_and_no_others() -> None:
    directives = dict(part.split(" ", 1) for part in CONTENT_POLICY.split("; "))
    assert directives == {
        "default-src": "'none'",
        "img-src": "'self' data: blob:",
        "style-src": "'self'",
        "script-src": "'self'",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }


# --- the token -------------------------------------------------------------------------------------------------------


@pytest.fixture
def open_client(make_client: MakeClient) -> TestClient:
    """Of a server that is open to others."""
    return make_client(Door("0.0.0.0", 8765, TOKEN))


@pytest.mark.parametrize(
    "path", ["/", "/api", "/api/models", "/api/runs", "/static/app.js", "/openapi.json", "/api/demo/0.png", "/nothing"]
)
def test_without_the_token_nothing_is_had(open_client: TestClient, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic x"}, {"Cookie": "tench-8765=wrong"}):
        response = open_client.get(path, headers=headers)
        assert response.status_code == 403, headers
        assert response.json()["error"]["code"] == "no_token"


def test_the_token_in_the_address_becomes_a_cookie_that_no_script_reads(make_client: MakeClient) -> None:
    client = make_client(Door("0.0.0.0", 8765, "token-of-this-server"))
    response = client.get("/?token=token-of-this-server", follow_redirects=False)
    assert (response.status_code, response.headers["location"]) == (303, "/")
    cookie = response.headers["set-cookie"]
    assert cookie.startswith("tench-8765=token-of-this-server;")
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert client.get("/api/models").status_code == 200, "the client keeps the cookie"
    fresh = make_client(Door("0.0.0.0", 8765, "token-of-this-server"))
    assert fresh.get("/api/models", headers={"Authorization": "Bearer token-of-this-server"}).status_code == 200
    assert fresh.get("/api/models", headers={"Cookie": "a b=c; tench-8765=token-of-this-server"}).status_code == 200
    for path in ("/?token=wrong", "/?token=", "/api/models?token=token-of-this-server"):
        assert fresh.get(path, follow_redirects=False).status_code == 403, path
    assert fresh.post("/?token=token-of-this-server").status_code == 403


@pytest.mark.parametrize("given", [None, "", "wrong", "żółć", TOKEN[:-1], TOKEN + "x"])
def test_a_wrong_token_of_any_kind_is_wrong(given: str | None) -> None:
    assert Door(token=TOKEN).knows_token(TOKEN)
    assert not Door(token=TOKEN).knows_token(given)


def test_bound_to_all_addresses_digits_and_the_machines_name_are_its_own() -> None:
    door = Door("0.0.0.0", 8765, TOKEN)
    name = socket.gethostname()
    for host in ("192.168.1.7:8765", "10.0.0.1", "[fe80::1]:8765", name, f"{name}.local:8765", "localhost"):
        assert door.knows_host(host), host
    assert not door.knows_host("evil.example:8765")
    assert Door("192.168.1.7").knows_host("192.168.1.7:8765")
    assert not Door("192.168.1.7").knows_host("192.168.1.8:8765")
    assert Door("::1").knows_host("[::1]:1")
    assert Door("My-Machine").knows_host("my-machine:8765")


@pytest.mark.parametrize(
    ("header", "name"), [("Localhost:80", "localhost"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]"), ("a:b", "a:b"), ("", ""), (":80", "")]
)
def test_the_port_is_no_part_of_the_name(header: str, name: str) -> None:
    assert host_name(header) == name


# --- binding ---------------------------------------------------------------------------------------------------------


def test_on_loopback_no_token_is_made_and_elsewhere_one_is() -> None:
    with bind("127.0.0.1", 0).listening, bind("localhost", 0).listening, bind("0.0.0.0", 0).listening:
        pass
    places = [bind(host, 0) for host in ("127.0.0.1", "localhost", "0.0.0.0", "0.0.0.0")]
    try:
        tokens = [place.door.token for place in places]
        assert tokens[:2] == [None, None]
        assert tokens[2] != tokens[3]
        assert all(token and len(token) >= 43 for token in tokens[2:]), "32 random bytes"
        assert places[0].address == f"http://127.0.0.1:{places[0].door.port}/"
        assert places[2].address == f"http://{socket.gethostname()}:{places[2].door.port}/?token={tokens[2]}"
    finally:
        for place in places:
            place.listening.close()


def test_an_address_of_ipv6_is_shown_in_brackets() -> None:
    with socket.socket() as any_socket:
        assert Place(any_socket, Door("::1", 8765)).address == "http://[::1]:8765/"


def test_a_port_in_use_and_a_name_that_is_none_are_refused() -> None:
    with (
        bind("127.0.0.1", 0).listening as first,
        pytest.raises(UsageError, match=r"port \d+: Address already in use.* Name another --port"),
    ):
        bind("127.0.0.1", first.getsockname()[1])
    with pytest.raises(UsageError, match=r"cannot listen on no-such-host\.invalid"):
        bind("no-such-host.invalid", 0)
    with pytest.raises(UsageError, match=r"cannot listen on 192\.0\.2\.1"):
        bind("192.0.2.1", 0)
