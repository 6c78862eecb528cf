"""The wire: one request, one response, hard bounds, and nothing of the key in any message."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from reviewers.exchange import Cause, Fault
from reviewers.wire import Response, Wire
from tests.provider_server import KEY, Answer, ProviderServer, as_json, chat

HEADERS = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
BODY = b'{"model": "m", "messages": [{"role": "system"}, {"role": "user"}]}'


def post(*plan: Answer, deadline: float = 5, largest: int = 1 << 20) -> Response | Fault:
    async def main() -> Response | Fault:
        async with ProviderServer(*plan) as server, Wire(largest=largest) as wire:
            url = f"{server.url}/v1/chat/completions"
            return await wire.post(url, HEADERS, BODY, deadline=deadline)

    return asyncio.run(main())


def test_a_response_comes_back_whole_whatever_its_status() -> None:
    answer = post(as_json(418, {"tea": True}, x_what="pot"))

    assert isinstance(answer, Response)
    assert (answer.status, answer.body) == (418, b'{"tea": true}')
    assert answer.headers["X-WHAT"] == answer.headers["x-what"] == "pot"


@pytest.mark.parametrize(("fault", "words"), [("hang", "no answer"), ("drip", "no answer")])
def test_one_deadline_holds_for_all_of_an_attempt(fault: str, words: str) -> None:
    slow = Answer(200, chat("x" * 500).body, {"content-type": "application/json"}, fault)

    answer = post(slow, deadline=0.2)

    assert isinstance(answer, Fault)
    assert answer.cause is Cause.TRANSPORT
    assert words in answer.message
    # It may have worked for us all the while.
    assert answer.perhaps_paid


@pytest.mark.parametrize("fault", ["reset", "cut"])
def test_a_connection_that_breaks_may_have_been_paid_for(fault: str) -> None:
    answer = post(Answer(200, b'{"id": "x"}', {"content-type": "application/json"}, fault))

    assert isinstance(answer, Fault)
    assert (answer.cause, answer.perhaps_paid) == (Cause.TRANSPORT, True)


def test_a_body_is_read_up_to_a_bound_said_or_not() -> None:
    page = Answer(200, b"x" * 5000, {"content-type": "text/plain"})

    for largest in (4999, 100):
        answer = post(page, largest=largest)
        assert isinstance(answer, Fault)
        assert answer.cause is Cause.STRANGE
        assert f"larger than {largest:,} bytes" in answer.message
    assert isinstance(post(page, largest=5000), Response)


async def _chunked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    for _ in range(100):
        writer.write(b"400\r\n" + b"y" * 1024 + b"\r\n")
    writer.write(b"0\r\n\r\n")
    await writer.drain()
    writer.close()


async def _redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(
        b"HTTP/1.1 307 Temporary Redirect\r\nlocation: http://elsewhere.invalid/\r\n"
        b"content-length: 0\r\n\r\n"
    )
    await writer.drain()
    writer.close()


def raw(
    server: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> Response | Fault:
    async def main() -> Response | Fault:
        async with await asyncio.start_server(server, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            async with Wire(largest=50_000) as wire:
                url = f"http://127.0.0.1:{port}/"
                return await wire.post(url, HEADERS, BODY, deadline=5)

    return asyncio.run(main())


def test_a_body_of_unsaid_length_is_bounded_too() -> None:
    answer = raw(_chunked)

    assert isinstance(answer, Fault)
    assert answer.cause is Cause.STRANGE


def test_no_redirect_is_followed() -> None:
    answer = raw(_redirect)

    assert isinstance(answer, Response)
    assert answer.status == 307


def test_a_server_that_is_not_there_was_not_paid() -> None:
    async def main() -> Response | Fault:
        async with await asyncio.start_server(_redirect, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
        async with Wire() as wire:
            return await wire.post(f"http://127.0.0.1:{port}/", HEADERS, BODY, deadline=5)

    answer = asyncio.run(main())
    assert isinstance(answer, Fault)
    assert (answer.cause, answer.perhaps_paid) == (Cause.TRANSPORT, False)
    assert "no connection" in answer.message


def test_an_address_that_is_none_is_strange_and_a_closed_wire_a_bug() -> None:
    async def main() -> Response | Fault:
        async with Wire() as wire:
            return await wire.post("http://", HEADERS, BODY, deadline=5)

    answer = asyncio.run(main())
    assert isinstance(answer, Fault)
    assert answer.cause is Cause.STRANGE
    with pytest.raises(RuntimeError, match="not open"):
        asyncio.run(Wire().post("http://x/", HEADERS, BODY, deadline=5))


def test_a_proxy_of_the_environment_is_used_and_bypassed_as_it_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()

    async def main() -> None:
        async with await asyncio.start_server(proxy, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
            monkeypatch.setenv("no_proxy", "127.0.0.1")
            async with Wire() as wire:
                await wire.post("http://model.invalid/v1", HEADERS, BODY, deadline=5)
            async with ProviderServer(chat("hello")) as server, Wire() as wire:
                url = f"{server.url}/v1/chat/completions"
                await wire.post(url, HEADERS, BODY, deadline=5)
                assert len(server.requests) == 1

    asyncio.run(main())
    assert [line.split(b" ")[1] for line in seen] == [b"http://model.invalid/v1"]


def test_no_message_holds_the_key() -> None:
    faults = [
        post(Answer(fault="reset")),
        post(Answer(fault="hang"), deadline=0.05),
        post(Answer(200, b"x" * 99, {"content-type": KEY}), largest=9),
    ]

    assert all(KEY not in repr(fault) for fault in faults)
