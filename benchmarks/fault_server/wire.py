"""HTTP/1.1 over raw asyncio: keep-alive, whole bodies, and every way to fail on the wire.

One connection serves one request at a time; what arrives meanwhile waits.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import cast

from benchmarks.fault_server.exchange import Answer, Mode, Request
from benchmarks.fault_server.routes import Router

_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus} | {529: b"Overloaded"}
_BLOCK = b"x" * (1 << 20)
_HUGE_END = b'"}]}'


class Connection(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, router: Router) -> None:
        """Take what answers requests and books their end."""
        self._router = router
        self._loop = asyncio.get_running_loop()
        self._held = bytearray()
        self._body_at = 0
        self._wanted = 0
        self._answer: Answer | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False
        self._resume: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._router.opened(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Book what was not delivered."""
        if self._timer is not None:
            self._timer.cancel()
        self._resume = None
        self._end(delivered=False)
        self._router.closed(self._transport)

    def data_received(self, data: bytes) -> None:
        """Take bytes; serve when a request is whole."""
        self._held += data
        if self._answer is None:
            self._next()

    def pause_writing(self) -> None:
        """Do nothing: only a huge body looks at this, through the buffer's size."""

    def resume_writing(self) -> None:
        """Go on with a huge body."""
        if self._resume is not None:
            self._resume()

    def _next(self) -> None:
        """Serve the next request if all of it is here."""
        if not self._body_at:
            end = self._held.find(b"\r\n\r\n")
            if end < 0:
                return
            self._body_at = end + 4
            self._wanted = self._body_at + self._length(bytes(self._held[: end + 2]))
        if len(self._held) < self._wanted:
            return
        with memoryview(self._held) as view:
            head = bytes(view[: self._body_at - 2])
            body = bytes(view[self._body_at : self._wanted])
        del self._held[: self._wanted]
        self._body_at = 0
        method, target, _ = head[: head.find(b"\r\n")].decode("latin-1").split(" ", 2)
        request = Request(method, target, head, head.lower(), body)
        self._closing = b"\r\nconnection: close" in request.folded
        answer = self._answer = self._router.respond(request)
        if answer.delay_s > 0:
            self._timer = self._loop.call_later(answer.delay_s, self._send, answer)
        else:
            self._send(answer)

    @staticmethod
    def _length(head: bytes) -> int:
        at = head.lower().find(b"\r\ncontent-length:")
        return int(head[at + 17 : head.find(b"\r\n", at + 17)]) if at >= 0 else 0

    def _send(self, answer: Answer) -> None:
        """Put an answer on the wire."""
        match answer.mode:
            case Mode.WHOLE:
                # The books are closed when the client reads its answer.
                self._end(delivered=not self._transport.is_closing())
                self._transport.write(self._head(answer, len(answer.body)) + answer.body)
                self._done()
            case Mode.RESET:
                self._end(delivered=True)
                self._transport.abort()
            case Mode.CUT:
                self._end(delivered=True)
                half = answer.body[: len(answer.body) * 3 // 5]
                self._transport.write(self._head(answer, len(answer.body)) + half)
                self._transport.close()
            case Mode.DRIP:
                self._transport.write(self._head(answer, len(answer.body)))
                self._drip(answer.body, 0)
            case Mode.HUGE:
                size = len(answer.body) + self._router.settings.huge_bytes + len(_HUGE_END)
                self._transport.write(self._head(answer, size) + answer.body)
                self._pour(self._router.settings.huge_bytes)
            case Mode.HANG:
                pass

    def _head(self, answer: Answer, length: int) -> bytes:
        return b"HTTP/1.1 %d %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n%b\r\n" % (
            answer.status,
            _REASONS[answer.status],
            answer.kind,
            length,
            answer.headers,
        )

    def _drip(self, body: bytes, at: int) -> None:
        """Send one byte, and the next one later."""
        if at == len(body):
            self._done()
            return
        self._transport.write(body[at : at + 1])
        self._timer = self._loop.call_later(self._router.settings.drip_s, self._drip, body, at + 1)

    def _pour(self, left: int) -> None:
        """Send a huge body as fast as the client takes it."""
        while left > 0:
            block = _BLOCK[:left]
            self._transport.write(block)
            left -= len(block)
            if left > 0 and self._transport.get_write_buffer_size() > len(_BLOCK):
                self._resume = partial(self._pour, left)
                return
        self._resume = None
        self._transport.write(_HUGE_END)
        self._done()

    def _done(self) -> None:
        """Finish an exchange and go on with the next one."""
        self._end(delivered=True)
        if self._closing:
            self._transport.close()
        elif self._held:
            self._next()

    def _end(self, *, delivered: bool) -> None:
        """Book the end of the exchange, once."""
        answer, self._answer, self._timer = self._answer, None, None
        if answer is not None and answer.call is not None:
            self._router.service.finish(answer.call, delivered=delivered)
