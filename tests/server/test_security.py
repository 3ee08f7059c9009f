from __future__ import annotations

import base64

import pytest

from openenv.errors import UsageError
from openenv.server.security import SecurityPolicy, check_exposure, host_name, is_loopback
from openenv.server.settings import ServerSettings

LOCAL = ServerSettings(host="127.0.0.1")
FOREIGN = ServerSettings()


def status(settings: ServerSettings, method: str = "POST", path: str = "/step", **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    rejection = SecurityPolicy(settings).check(method, path, named)
    return 200 if rejection is None else rejection.status


# Host ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["localhost:8000", "127.0.0.1", "127.9.9.9:1", "[::1]:8000", "LOCALHOST", "a.localhost"]
)
def test_a_local_server_is_reached_by_loopback_names(host: str) -> None:
    assert status(LOCAL, host=host) == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example:8000", "192.168.1.5", "", "127.0.0.1x"]
)
def test_a_local_server_refuses_other_names(host: str) -> None:
    assert status(LOCAL, host=host) == 421


def test_dns_rebinding_is_refused_although_origin_and_host_agree() -> None:
    assert status(LOCAL, host="evil.example:8000", origin="http://evil.example:8000") == 421


def test_a_missing_host_is_refused_where_hosts_are_checked() -> None:
    assert status(LOCAL) == 421
    assert status(FOREIGN) == 200


def test_configured_names_are_allowed() -> None:
    settings = LOCAL.replace(allowed_hosts=("env.example", "*.lab.example"))
    assert status(settings, host="env.example:443") == 200
    assert status(settings, host="a.lab.example") == 200
    assert status(settings, host="lab.example") == 421


def test_a_star_allows_any_name() -> None:
    assert status(LOCAL.replace(allowed_hosts=("*",)), host="anything.example") == 200


def test_an_insecure_network_server_refuses_names_that_a_stranger_can_register() -> None:
    settings = ServerSettings(host="0.0.0.0", insecure=True)
    assert status(settings, host="192.168.1.5:8000") == 200
    assert status(settings, host="env-server:8000") == 200
    assert status(settings, host="localhost") == 200
    assert status(settings, host="evil.example") == 421


def test_a_network_server_with_a_token_takes_any_name_unless_names_are_configured() -> None:
    settings = ServerSettings(host="0.0.0.0", token="t")
    assert status(settings, host="any.example", authorization="Bearer t") == 200
    named = settings.replace(allowed_hosts=("env.example",))
    assert status(named, host="any.example", authorization="Bearer t") == 421
    assert status(named, host="localhost", authorization="Bearer t") == 200


def test_under_a_foreign_server_names_are_checked_only_if_configured() -> None:
    assert status(FOREIGN, host="testserver") == 200
    named = FOREIGN.replace(allowed_hosts=("env.example",))
    assert status(named, host="env.example") == 200
    assert status(named, host="localhost:8000") == 200
    assert status(named, host="evil.example") == 421


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("Example.ORG.:80", "example.org"),
        ("[::1]:80", "::1"),
        ("[::1]", "::1"),
        ("::1", "::1"),
        ("name:", "name:"),
        ("", ""),
    ],
)
def test_host_name(header: str, name: str) -> None:
    assert host_name(header) == name


@pytest.mark.parametrize("name", ["localhost", "x.localhost", "127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_loopback_names(name: str) -> None:
    assert is_loopback(name)


@pytest.mark.parametrize("name", ["0.0.0.0", "::", "10.0.0.1", "example.org", "", "::ffff:10.0.0.1"])
def test_other_names(name: str) -> None:
    assert not is_loopback(name)


# Origin ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [LOCAL, FOREIGN])
@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT", "WEBSOCKET"])
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:9999", "garbage"])
def test_a_foreign_page_is_refused(settings: ServerSettings, method: str, origin: str) -> None:
    assert status(settings, method, host="localhost:8000", origin=origin) == 403


def test_a_handshake_is_recognised_by_its_key() -> None:
    headers = {"host": "localhost", "origin": "http://evil.example", "sec_websocket_key": "x"}
    assert status(LOCAL, "GET", "/ws", **headers) == 403


def test_reading_is_left_to_the_browsers_own_rules() -> None:
    assert status(LOCAL, "GET", host="localhost", origin="https://evil.example") == 200


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://localhost:8000", "localhost:8000"),
        ("http://localhost", "localhost"),
        ("http://localhost:80", "localhost"),
        ("https://localhost", "localhost"),
        ("https://localhost", "localhost:443"),
        ("http://[::1]:8000", "[::1]:8000"),
        ("http://[::1]", "[::1]"),
        ("HTTP://LOCALHOST:8000", "localhost:8000"),
    ],
)
def test_the_servers_own_pages_pass(origin: str, host: str) -> None:
    assert status(LOCAL, origin=origin, host=host) == 200


def test_another_port_is_another_origin() -> None:
    assert status(LOCAL, origin="http://localhost:8001", host="localhost:8000") == 403
    assert status(LOCAL, origin="http://user@localhost:8000", host="localhost:8000") == 403


def test_an_allowed_origin_passes() -> None:
    settings = LOCAL.replace(allowed_origins=("https://Lab.example/",))
    assert status(settings, origin="https://lab.example", host="localhost") == 200
    assert status(settings, origin="http://lab.example", host="localhost") == 403


def test_a_proxy_may_say_by_which_name_it_was_reached() -> None:
    headers = {"host": "internal:8000", "x_forwarded_host": "env.example"}
    assert status(FOREIGN, origin="https://env.example", **headers) == 200
    assert status(FOREIGN, origin="https://evil.example", **headers) == 403


@pytest.mark.parametrize(
    ("site", "expected"), [("cross-site", 403), ("same-site", 403), ("same-origin", 200)]
)
def test_without_origin_the_fetch_metadata_decides(site: str, expected: int) -> None:
    assert status(LOCAL, host="localhost", sec_fetch_site=site) == expected


# Token -----------------------------------------------------------------------------------------------

GUARDED = ServerSettings(token="s3cret")


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(password.encode()).decode()


@pytest.mark.parametrize("header", ["Bearer s3cret", "bearer  s3cret", basic("me:s3cret")])
def test_the_token_opens(header: str) -> None:
    assert status(GUARDED, authorization=header) == 200


@pytest.mark.parametrize(
    "header",
    [
        "Bearer wrong",
        "Bearer ",
        "Bearer s3cret2",
        "Bearer é",
        "s3cret",
        "Digest s3cret",
        "Basic !!",
        "Basic /w==",
        basic("s3cret"),
    ],
)
def test_anything_else_does_not(header: str) -> None:
    assert status(GUARDED, authorization=header) == 401


@pytest.mark.parametrize("path", ["/step", "/metrics", "/ready", "/docs", "/web", "/own-route", "/healthz"])
def test_every_surface_asks_for_it(path: str) -> None:
    assert status(GUARDED, "GET", path) == 401


def test_liveness_does_not() -> None:
    assert status(GUARDED, "GET", "/health") == 200


def test_a_browsers_socket_offers_it_as_a_subprotocol() -> None:
    offered = "openenv.2.json, openenv.bearer.s3cret"
    assert status(GUARDED, "WEBSOCKET", "/ws", sec_websocket_protocol=offered) == 200
    assert status(GUARDED, "WEBSOCKET", "/ws", sec_websocket_protocol="openenv.bearer.x") == 401
    assert status(GUARDED, "WEBSOCKET", "/ws", sec_websocket_protocol="openenv.2.json") == 401
    assert status(GUARDED, "POST", "/step", sec_websocket_protocol=offered) == 401


def test_a_persons_browser_is_asked_for_a_password() -> None:
    policy = SecurityPolicy(GUARDED)
    person = policy.check("GET", "/web", {"accept": "text/html,*/*"})
    program = policy.check("GET", "/web", {})
    assert person is not None
    assert person.headers["www-authenticate"].startswith("Basic")
    assert program is not None
    assert program.headers["www-authenticate"] == "Bearer"


# Exposure --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "myhost"])
def test_a_network_is_not_served_without_a_token(host: str) -> None:
    with pytest.raises(UsageError, match="--insecure"):
        check_exposure(ServerSettings(host=host))
    check_exposure(ServerSettings(host=host, token="t"))
    check_exposure(ServerSettings(host=host, insecure=True))


def test_a_local_or_unknown_address_needs_no_token() -> None:
    check_exposure(LOCAL)
    check_exposure(FOREIGN)
