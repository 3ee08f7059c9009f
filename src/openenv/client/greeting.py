"""The client's half of the opening handshake, fed with bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from openenv.client.endpoint import Endpoint
from openenv.client.refusals import refusal
from openenv.errors import OpenEnvError
from openenv.protocol.handshake import (
    HEAD_END,
    MAX_HEAD_BYTES,
    HandshakeError,
    ResponseHead,
    check_response,
    client_handshake,
    parse_response_head,
)


class Greeting:
    """One handshake.

    Args:
        endpoint: the server.
        route: what follows the address's path: route and query of the WebSocket.
        headers: headers beside the endpoint's.
        offered: the subprotocols to offer, best first.

    Attributes:
        hello: the request.
        accepted: whether the server opened the WebSocket.
        selected: the subprotocol it speaks; None for plain.
    """

    def __init__(
        self, endpoint: Endpoint, route: str, headers: Mapping[str, str], offered: Sequence[str]
    ) -> None:
        address = endpoint.address
        self.hello, self._key = client_handshake(
            address.authority, address.path + route, {**endpoint.headers, **headers}, offered
        )
        self.accepted = False
        self.selected: str | None = None
        self._address = address
        self._offered = offered
        self._head = b""
        self._refused: ResponseHead | None = None

    def feed(self, data: bytes) -> bytes:
        """Take a piece of the answer; return what came after it.

        Raises:
            OpenEnvError: the server refuses, or it is none.
        """
        self._head += data
        head, end, rest = self._head.partition(HEAD_END)
        if not end:
            if len(self._head) > MAX_HEAD_BYTES:
                raise refusal(self._address, 0, {})
            return b""
        try:
            response = parse_response_head(head)
            if response.status != 101:
                self._refused = response
                if len(rest) >= _content_length(response):
                    raise self._refusal(response)
                return b""
            self.selected = check_response(response, self._key, self._offered)
        except HandshakeError as problem:
            raise refusal(self._address, 0, {}, str(problem).encode()) from None
        self.accepted = True
        return rest

    def ended(self) -> OpenEnvError | None:
        """The refusal whose body breaks off, if there is one."""
        return None if self._refused is None else self._refusal(self._refused)

    def _refusal(self, response: ResponseHead) -> OpenEnvError:
        body = self._head.partition(HEAD_END)[2]
        return refusal(self._address, response.status, response.headers, body)


def _content_length(response: ResponseHead) -> float:
    length = response.headers.get("content-length", "")
    return min(int(length), MAX_HEAD_BYTES) if length.isdecimal() else float("inf")
