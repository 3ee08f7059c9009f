"""How requests become frames, and frames replies, in the protocol that was negotiated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from pydantic_core import to_json

from openenv.client.texts import refuse_surrogates
from openenv.client.tickets import Ticket
from openenv.protocol.handshake import EXTENDED_SUBPROTOCOL, MSGPACK_SUBPROTOCOL
from openenv.protocol.jsonvalue import to_jsonable
from openenv.protocol.plain import Reply, decode_reply, encode_json
from openenv.protocol.websocket import Binary, Text, binary_frame, text_frame

if TYPE_CHECKING:
    from openenv.protocol.extended import MsgpackCodec


class Wording:
    """One connection's language; before the handshake it is that of plain.

    Args:
        arrays: whether to ask for MessagePack.

    Attributes:
        offered: the subprotocols to offer, best first.
        extended: whether the extended protocol was negotiated.
    """

    def __init__(self, arrays: bool) -> None:
        self.offered = [MSGPACK_SUBPROTOCOL, EXTENDED_SUBPROTOCOL] if arrays else [EXTENDED_SUBPROTOCOL]
        self.extended = False
        self._msgpack: MsgpackCodec | None = None

    def negotiated(self, subprotocol: str | None) -> None:
        """Speak what the server has selected; None for plain."""
        self.extended = subprotocol is not None
        self._msgpack = None
        if subprotocol == MSGPACK_SUBPROTOCOL:
            from openenv.protocol.extended import MsgpackCodec

            self._msgpack = MsgpackCodec()

    def frame(self, ticket: Ticket) -> bytes:
        """The frame of a request.

        What JSON lacks is written by the table of `openenv.protocol.jsonvalue`.

        Raises:
            InvalidActionError: a text in it cannot travel.
        """
        message: dict[str, Any] = {"type": ticket.call}
        data = ticket.data if ticket.parts is None else ticket.batch()
        if data is not None:
            message["data"] = data
        if self.extended:
            message["id"] = ticket.number
            member = ticket.member
            if member is not None and not member.own:
                message["session"] = member.session
            if ticket.timeout_s is not None:
                message["timeout_s"] = ticket.timeout_s
        return self._framed(message)

    def farewell(self) -> bytes:
        """The message that ends the connection."""
        return self._framed({"type": "close"})

    def reply(self, message: Text | Binary) -> Reply:
        """The reply in a message.

        Raises:
            ProtocolError: there is none.
        """
        if self._msgpack is not None and type(message) is Binary:
            return self._msgpack.decode_reply(message.payload)
        return decode_reply(message.payload)

    def _framed(self, message: dict[str, Any]) -> bytes:
        if self._msgpack is not None:
            return binary_frame(_packed(message), True)
        try:
            payload = to_json(message, inf_nan_mode="null", fallback=to_jsonable)
        except (ValueError, RecursionError):
            refuse_surrogates(message["type"], message.get("data"))
            payload = encode_json(message)
        return text_frame(payload, True)


def _packed(message: dict[str, Any]) -> bytes:
    try:
        return _pack_basic(message)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.EncodeError):
        # A model or an array, which takes a slower way, or a text that cannot travel.
        from openenv.protocol.packing import pack_plain

        refuse_surrogates(message["type"], message.get("data"))
        return pack_plain(message)


_pack_basic = msgspec.msgpack.Encoder().encode
