"""Clients that have the same items reviewed, each run in a process of its own.

    python -m benchmarks.review_clients '{"client": "bare", "url": "http://127.0.0.1:8000"}'

Prints one line of JSON, an ``Outcome``. Every client asks the same questions and is a loop of
``width`` workers over prebuilt bodies, but for ``ours``, which reviews a store from beginning to
end. What a client keeps is the text of a reply, as a digest.
"""

import asyncio
import importlib
import json
import random
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import uvloop

from benchmarks.fault_server.asks import Dialect, read_ask
from benchmarks.fault_server.ledger import digest
from benchmarks.figures import peak_mb

KEY = "sk-bench"
ROOT = Path(__file__).parents[1]
CLIENT_PYTHONS = {"curator": ROOT / ".venv-peers" / "bin" / "python"}
"""Clients that live in an environment of their own."""


class Work(msgspec.Struct, frozen=True):
    """What one client is to do."""

    client: str
    url: str
    """Root of the fault server."""
    items: int = 2000
    width: int = 64
    """Requests in flight."""
    folder: str = ""
    """Where the prebuilt bodies are, see ``benchmarks.review_work.write_bodies``."""
    store: str = ""
    """Of ``ours``: a store with the rollouts."""
    timeout: float = 600.0
    """Seconds for one attempt."""
    patience: float = 3600.0
    """Of the SDKs: seconds for one item; their own timeout never ends a slow drip."""
    attempts: int = 4
    """Of ``loop``: most requests for one item."""
    again: bool = False
    """Of ``ours``: review once more with ``--retry-failed``."""
    backoff: float = 0.2
    """Of ``ours`` and ``loop``: seconds, see ``Calling.backoff``."""
    keep: bool = False
    """Whether to tell what was kept; costs time."""


class Outcome(msgspec.Struct):
    """What came of it."""

    kept: dict[str, str] = {}
    """Ledger key to digest of the text that was kept, where that was asked for."""
    done: int = 0
    """Items with an answer."""
    lost: int = 0
    """Items given up."""
    cpu_s: float = 0.0
    """Processor seconds after the imports, and after prebuilding where there is any."""
    process_cpu_s: float = 0.0
    """Processor seconds of the whole process, imports included."""
    seconds: float = 0.0
    """Wall time of what ``cpu_s`` counts."""
    peak_mb: float = 0.0


Post = Callable[[bytes], Awaitable[tuple[int, bytes]]]
"""Sends a body and returns status and body of the answer."""
Ask = Callable[[bytes], Awaitable[str | None]]
"""Sends a body and returns the reply's text; ``None``: given up."""


def main() -> None:
    """Do one piece of work and print what came of it."""
    work = msgspec.json.decode(sys.argv[1], type=Work)
    outcome = CLIENTS[work.client](work)
    outcome.process_cpu_s = time.process_time()
    outcome.peak_mb = peak_mb()
    print(msgspec.json.encode(outcome).decode(), flush=True)


def run_client(work: Work) -> Outcome:
    """Run a client in a process of its own."""
    python = CLIENT_PYTHONS.get(work.client, Path(sys.executable))
    own = work.client in CLIENT_PYTHONS
    module = f"benchmarks.{work.client}_client" if own else "benchmarks.review_clients"
    command = [str(python), "-m", module, msgspec.json.encode(work).decode()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, text=True)
    if done.returncode:
        raise SystemExit(f"{work.client} failed: {done.stderr[-2000:]}")
    return msgspec.json.decode(done.stdout.strip().rpartition("\n")[2], type=Outcome)


def _ours(work: Work) -> Outcome:
    """Review a store: questions, replies, anchoring, validation, claims, writes."""
    importlib.import_module("anthropic" if "anthropic" in work.client else "openai")
    from benchmarks.review_work import make_reviewer  # noqa: PLC0415 - no other client needs it
    from dca.pipeline.review import review_store  # noqa: PLC0415 - no other client needs it
    from reviewers.rules import offline_panel  # noqa: PLC0415 - the same
    from store.engine import open_store  # noqa: PLC0415 - the same
    from store.selection import Selection  # noqa: PLC0415 - the same

    clock = _Clock()
    calling = {"timeout": work.timeout, "backoff": work.backoff}
    reviewer = make_reviewer(work.url, anthropic="anthropic" in work.client, **calling)
    engine = open_store(work.store)
    panel = (reviewer, *(offline_panel() if work.client.endswith("rules") else ()))
    review = partial(review_store, engine, panel, Selection(), concurrency=work.width)
    done = sum(row.reviews for row in review().reviewers)
    if work.again:
        done += sum(row.reviews for row in review(retry_failed=True).reviewers)
    engine.dispose()
    return clock.stop(Outcome(done=done, lost=len(panel) * work.items - done))


def _bare(work: Work) -> Outcome:
    """Send and receive, and throw the answers away."""

    async def run(clock: "_Clock", bodies: Sequence[bytes]) -> Outcome:
        async with _session(work) as post:

            async def ask(body: bytes) -> str:
                await post(body)
                return ""

            return await _crowd(work, clock, bodies, ask)

    return _with_bodies(work, run)


def _loop(work: Work) -> Outcome:
    """Try again what fails, as one writes it first: no look at what the answer says."""

    async def run(clock: "_Clock", bodies: Sequence[bytes]) -> Outcome:
        async with _session(work) as post:

            async def ask(body: bytes) -> str | None:
                for attempt in range(work.attempts):
                    try:
                        status, found = await post(body)
                        if status == 200:
                            return json.loads(found)["choices"][0]["message"]["content"]
                    except (aiohttp.ClientError, TimeoutError, ValueError):
                        pass
                    await asyncio.sleep(random.random() * work.backoff * 2**attempt)
                return None

            return await _crowd(work, clock, bodies, ask)

    return _with_bodies(work, run)


@asynccontextmanager
async def _session(work: Work) -> AsyncGenerator[Post]:
    """Give a function that posts a body and returns status and body."""
    url = f"{work.url}/v1/chat/completions"
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=work.timeout),
    ) as session:

        async def post(body: bytes) -> tuple[int, bytes]:
            async with session.post(url, data=body) as response:
                return response.status, await response.read()

        yield post


def _openai(work: Work, *, lean: bool = False, aio: bool = False) -> Outcome:
    """Ask with OpenAI's SDK."""
    import httpx2  # noqa: PLC0415 - no other client needs it
    import openai  # noqa: PLC0415 - the same

    async def run(clock: "_Clock", bodies: Sequence[bytes]) -> Outcome:
        async with openai.AsyncOpenAI(
            api_key=KEY,
            base_url=f"{work.url}/v1",
            timeout=work.timeout,
            http_client=openai.DefaultAioHttpClient() if aio else None,
        ) as client:
            create: Callable[..., Awaitable[Any]] = client.chat.completions.create

            async def ask(body: bytes) -> str | None:
                try:
                    if lean:
                        found = await client.post(
                            "/chat/completions", cast_to=httpx2.Response, content=body
                        )
                        return json.loads(found.content)["choices"][0]["message"]["content"]
                    async with asyncio.timeout(work.patience):
                        answer = await create(**questions[body])
                except (openai.OpenAIError, ValueError, TimeoutError):
                    return None
                return _checked(answer.choices[0].message.content)

            questions: dict[bytes, Any] = {} if lean else {b: json.loads(b) for b in bodies}
            clock.start()
            return await _crowd(work, clock, bodies, ask)

    return _with_bodies(work, run)


def _anthropic(work: Work, *, lean: bool = False, aio: bool = False) -> Outcome:
    """Ask with Anthropic's SDK."""
    import anthropic  # noqa: PLC0415 - no other client needs it
    import httpx2  # noqa: PLC0415 - the same

    async def run(clock: "_Clock", bodies: Sequence[bytes]) -> Outcome:
        async with anthropic.AsyncAnthropic(
            api_key=KEY,
            base_url=work.url,
            timeout=work.timeout,
            http_client=anthropic.DefaultAioHttpClient() if aio else None,
        ) as client:
            create: Callable[..., Awaitable[Any]] = client.messages.create

            async def ask(body: bytes) -> str | None:
                try:
                    if lean:
                        found = await client.post(
                            "/v1/messages", cast_to=httpx2.Response, content=body
                        )
                        return json.loads(found.content)["content"][0]["text"]
                    async with asyncio.timeout(work.patience):
                        answer = await create(**questions[body])
                except (anthropic.AnthropicError, ValueError, TimeoutError):
                    return None
                return _checked(answer.content[0].text)

            questions: dict[bytes, Any] = {} if lean else {b: json.loads(b) for b in bodies}
            clock.start()
            return await _crowd(work, clock, bodies, ask)

    return _with_bodies(work, run, anthropic=True)


def _checked(text: str | None) -> str | None:
    """Return a reply that holds steps; ``None``: it is lost."""
    try:
        found = json.loads(text or "")
    except ValueError:
        return None
    return text if "steps" in found else None


class _Clock:
    """Counts from its start."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin anew."""
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def stop(self, outcome: Outcome) -> Outcome:
        """Return the outcome with its times."""
        outcome.cpu_s = time.process_time() - self._cpu
        outcome.seconds = time.perf_counter() - self._wall
        return outcome


def _with_bodies(
    work: Work,
    run: Callable[[_Clock, Sequence[bytes]], Awaitable[Outcome]],
    *,
    anthropic: bool = False,
) -> Outcome:
    """Prebuild the bodies, then run."""
    written = Path(work.folder, bodies_name(anthropic=anthropic)).read_bytes()
    bodies = written.split(b"\n")[: work.items]
    del written
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_awaited(run(_Clock(), bodies)))


async def _awaited(work: Awaitable[Outcome]) -> Outcome:
    return await work


async def _crowd(work: Work, clock: _Clock, bodies: Sequence[bytes], ask: Ask) -> Outcome:
    """Have ``width`` workers ask about all bodies."""
    texts: list[tuple[bytes, str]] = []
    left: Iterator[bytes] = iter(bodies)

    async def worker() -> None:
        for body in left:
            text = await ask(body)
            if text is not None:
                texts.append((body, text))

    await asyncio.gather(*(worker() for _ in range(work.width)))
    outcome = clock.stop(Outcome(done=len(texts), lost=work.items - len(texts)))
    if work.keep:
        speaks = work.client.startswith("anthropic")
        outcome.kept = {
            item_key(body, anthropic=speaks): digest(plain(text)) for body, text in texts
        }
    return outcome


def bodies_name(*, anthropic: bool) -> str:
    """Return the name of the file with the bodies of a dialect."""
    return "messages.jsonl" if anthropic else "chat.jsonl"


def item_key(body: bytes, *, anthropic: bool = False) -> str:
    """Return the key in the fault server's ledger of the item that a body asks about."""
    return read_ask(Dialect.MESSAGES if anthropic else Dialect.CHAT, body).item.hex()


def plain(text: str) -> str:
    """Return a reply without a code fence around it."""
    if text.startswith("```") and text.endswith("```"):
        return text.partition("\n")[2].removesuffix("```").removesuffix("\n")
    return text


CLIENTS: dict[str, Callable[[Work], Outcome]] = {
    "bare": _bare,
    "loop": _loop,
    "ours": _ours,
    "ours-anthropic": _ours,
    "ours-rules": _ours,
    "openai": _openai,
    "openai-lean": partial(_openai, lean=True),
    "openai-lean-aiohttp": partial(_openai, lean=True, aio=True),
    "anthropic": _anthropic,
    "anthropic-lean": partial(_anthropic, lean=True),
    "anthropic-lean-aiohttp": partial(_anthropic, lean=True, aio=True),
}

if __name__ == "__main__":
    main()
