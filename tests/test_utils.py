import asyncio
import threading

import pytest

from openenv.utils import convert_to_ws_url, hf_space_subdomain, run_async_safely


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://a:1", "ws://a:1"),
        ("https://a/", "wss://a"),
        ("HTTPS://a/p/", "wss://a/p"),
        ("ws://x", "ws://x"),
        ("wss://x/y", "wss://x/y"),
        ("localhost:8000", "ws://localhost:8000"),
    ],
)
def test_convert_to_ws_url(url, expected):
    assert convert_to_ws_url(url) == expected


@pytest.mark.parametrize(("repo", "host"), [("Org/My_Space.x", "org-my-space-x"), ("a--b/c__d", "a--b-c--d")])
def test_hf_space_subdomain(repo, host):
    assert hf_space_subdomain(repo) == host


async def where():
    await asyncio.sleep(0)
    return threading.current_thread().name


def test_run_async_safely_without_a_loop():
    assert run_async_safely(where()) == threading.current_thread().name


async def test_run_async_safely_inside_a_running_loop():
    assert run_async_safely(where()).startswith("openenv-run")


async def test_run_async_safely_passes_errors_on():
    async def fail():
        raise KeyError("x")

    with pytest.raises(KeyError):
        run_async_safely(fail())
