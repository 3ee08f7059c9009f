"""The parts of which the supervisor is made, one by one."""

from __future__ import annotations

import json
import socket

import pytest

from openenv.workers import sums
from openenv.workers.channel import Channel, Closed, pair
from openenv.workers.ledger import Answer, Ledger, Waiter
from openenv.workers.peek import MAX_HEAD_BYTES, Wish, is_complete, read_wish


@pytest.mark.parametrize(
    ("head", "session"),
    [
        ("GET /state HTTP/1.1\r\nX-OpenEnv-Session: a-w1", "a-w1"),
        ("GET /state?session_id=b-w2&x=1 HTTP/1.1\r\nHost: h", "b-w2"),
        ("POST /mcp HTTP/1.1\r\nMcp-Session-Id: c-w3", "c-w3"),
        ("GET / HTTP/1.1\r\nCookie: x=1; openenv_x=d-w4;y", "d-w4"),
        ("GET / HTTP/1.1\r\nCookie: openenv_y=d-w4", None),
        ("DELETE /admin/sessions/e-w5 HTTP/1.1\r\nX-OpenEnv-Session: a-w1", "e-w5"),
        ("GET /admin/sessions/ HTTP/1.1", None),
        ("nonsense", None),
    ],
)
def test_the_session_that_a_request_names(head: str, session: str | None) -> None:
    assert read_wish(f"{head}\r\n\r\nbody".encode(), "openenv_x", "1.2.3.4").session == session


def test_requests_without_a_name_are_told_by_their_address() -> None:
    plain = read_wish(b"POST /step HTTP/1.1\r\n\r\n", "c", "1.2.3.4")
    assert plain == Wish(None, True, "1.2.3.4", False)
    behind = read_wish(b"POST /step HTTP/1.1\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n", "c", "1.2.3.4")
    assert behind.address == "1.2.3.4 for 9.9.9.9"
    upgrade = read_wish(b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", "c", None)
    assert (upgrade.lasting, upgrade.by_address) == (True, False)


def test_when_a_head_is_complete() -> None:
    assert is_complete(b"GET / HTTP/1.1\r\n\r\n")
    assert not is_complete(b"GET / HTTP/1.1\r\nHost")
    assert is_complete(b"GET /" + b"x" * MAX_HEAD_BYTES)
    assert is_complete(b"\x16\x03\x01\x02\x00")  # somebody speaks TLS
    assert not is_complete(b"GE")


def test_slots_are_counted_once_and_granted_in_order() -> None:
    ledger = Ledger(2, 2)
    first, second, third, fourth, fifth = (Waiter(number % 2, number) for number in range(5))
    assert [ledger.take(one, True) for one in (first, second)] == [Answer.GRANTED] * 2
    assert ledger.take(third, False) is Answer.REFUSED
    assert [ledger.take(one, True) for one in (third, fourth, fifth)] == [
        Answer.QUEUED,
        Answer.QUEUED,
        Answer.REFUSED,
    ]
    assert ledger.give_back(1) == third
    assert (ledger.active, ledger.held(0), ledger.held(1)) == (2, 2, 0)
    ledger.cancel(fourth)
    ledger.cancel(fourth)
    assert ledger.give_back(1) is None  # it holds none
    assert ledger.give_back(0) is None
    assert ledger.active == 1


def test_what_a_dead_worker_held_goes_to_those_who_wait() -> None:
    ledger = Ledger(2, 8)
    for number in range(2):
        ledger.take(Waiter(1, number), True)
    for worker in (1, 2, 2, 2):
        ledger.take(Waiter(worker, 10 + worker), True)
    assert ledger.forget(1) == [Waiter(2, 12)] * 2
    assert (ledger.active, ledger.held(1)) == (2, 0)


def test_a_channel_keeps_messages_and_files_together() -> None:
    one, other = (Channel(end) for end in pair())
    left, right = socket.socketpair()
    one.send({"n": 1})
    one.send({"n": 2}, [right])
    assert right.fileno() == -1
    assert other.receive() == ({"n": 1}, [])
    received = other.receive()
    assert received is not None
    message, (passed,) = received
    assert message == {"n": 2}
    left.sendall(b"x")
    assert passed.recv(1) == b"x"
    assert other.receive() is None
    assert one.fileno() == one.sock.fileno()
    one.close()
    with pytest.raises(Closed):
        other.receive()
    with pytest.raises(Closed):
        other.send({"n": 3})
    for sock in (left, passed):
        sock.close()
    with pytest.raises(Closed):
        other.receive()


def test_a_channel_that_is_full_waits() -> None:
    one, other = (Channel(end) for end in pair())
    sent = 0
    while not one.waiting:
        one.send({"n": sent, "filler": "x" * 60_000})
        sent += 1
    left, right = socket.socketpair()
    one.send({"n": sent}, [right])
    got = []
    while len(got) <= sent:
        received = other.receive()
        if received is None:
            one.flush()
            continue
        got.append(received[0]["n"])
        for file in received[1]:
            file.close()
    assert got == list(range(sent + 1))
    assert one.waiting == 0
    while not one.waiting:
        one.send({"filler": "x" * 60_000})
    one.send({"n": 0}, [left])
    one.close()
    assert left.fileno() == -1
    other.close()


CREW = {"alive": 2, "wanted": 3, "silent": 1, "restarts": 4}


def test_metrics_add_up() -> None:
    one = b'# HELP a x\n# TYPE a counter\na{k="1"} 1\nopenenv_sessions_max 5\nh_bucket{le="1"} 1\nh_sum 0.5\n'
    two = b'# HELP a x\n# TYPE a counter\na{k="1"} 2\na{k="2"} 4\nopenenv_sessions_max 5\nh_sum 0.25\n'
    status, body = sums.metrics([(200, one), (200, two)], CREW)
    lines = body.decode().splitlines()
    assert status == 200
    assert lines[:4] == ["# HELP a x", "# TYPE a counter", 'a{k="1"} 3', 'a{k="2"} 4']
    assert {"openenv_sessions_max 5", "h_sum 0.75", "openenv_workers 2"} <= set(lines)
    assert {"openenv_workers_silent 1", "openenv_worker_restarts_total 4"} <= set(lines)


def test_a_server_is_ready_if_one_worker_is() -> None:
    good = (200, b'{"status": "ready", "detail": "fine"}')
    bad = (503, b'{"status": "not ready", "detail": "broken"}')
    status, body = sums.ready([good, bad], CREW)
    assert (status, json.loads(body)["detail"]) == (200, "1 of 3 workers ready; broken")
    assert sums.ready([bad], CREW)[0] == 503
    assert "fine" in sums.ready([good], CREW)[1].decode()
