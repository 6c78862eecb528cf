"""``dca`` with a model that vLLM runs in the same process; run in the environment of `make vllm`.

Runs each line of standard input as one command line and prints one JSON array of what came out.
"""

import asyncio
import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout

from dca import cli
from dca.config import load
from dca.domain.rollout import Message, Rollout
from dca.pipeline.panels import build_reviewer
from reviewers.local_reviewer import LocalReviewer
from reviewers.question import pose


def run(line: str) -> dict[str, object]:
    """Run one command line."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = cli.run(line.split())
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}


def converse() -> dict[str, object]:
    """Ask without a panel, and give up on one question."""
    config = load().config
    one, two = (build_reviewer(config, name) for name in ("full", "cheap"))
    assert isinstance(one, LocalReviewer)
    assert isinstance(two, LocalReviewer)
    problem = (Message("user", "What is 2 + 3?"),)
    question = pose(Rollout("r", "g", "t", problem, "2 + 3 = 5. So 5.", 1.0), one.asking)

    async def talk() -> dict[str, object]:
        rounds = 0

        async def count() -> None:
            nonlocal rounds
            while True:
                await asyncio.sleep(0.002)
                rounds += 1

        async with one, two:
            first = await one.ask(question)
            given_up = asyncio.create_task(two.ask(question))
            counting = asyncio.create_task(count())
            again = await asyncio.gather(*(one.ask(question) for _ in range(3)))
            given_up.cancel()
            counting.cancel()
            await asyncio.wait([given_up, counting])
            last = await one.ask(question)
        replies = [first, *again, last]
        return {
            "texts": [reply.text for reply in replies],
            "ends": [reply.ended for reply in replies],
            "cached": last.usage.cached_tokens,
            "rounds": rounds,
        }

    return asyncio.run(talk())


if __name__ == "__main__":
    answers = [run(line) for line in sys.stdin.read().splitlines()]
    sys.stdout.write(json.dumps([*answers, converse()]))
