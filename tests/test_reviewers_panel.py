"""A panel at work: bounded, fair, lazy, and nothing is lost when it stops."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field

import pytest

from dca.domain.errors import (
    CredentialError,
    ReplyInvalid,
    ReplyTruncated,
    ReviewerRefused,
    ReviewError,
    ReviewerUnavailable,
    UsageError,
)
from dca.domain.labels import CONTRIBUTION_V1, LabelSet
from dca.domain.review import (
    Abstention,
    AbstentionKind,
    Answer,
    Review,
    ReviewerInfo,
    Step,
    Usage,
)
from dca.domain.rollout import Message, Rollout
from dca.domain.spans import Span
from reviewers.calling import Calling
from reviewers.endpoint import Endpoint
from reviewers.models import openai_reviewer
from reviewers.panel import Seat, convene, convene_seats, opened
from reviewers.protocol import review_key
from reviewers.streams import share
from reviewers.switchboard import Switchboard
from tests.provider_server import ProviderServer, chat, chat_error, until


def rollout(number: int) -> Rollout:
    return Rollout(f"r{number:04}", "g", "", (Message("user", "?"),), f"It is {number}.")


def rollouts(count: int) -> list[Rollout]:
    return [rollout(number) for number in range(count)]


@dataclass
class Air:
    """Requests in flight, of one or several reviewers."""

    now: int = 0
    most: int = 0

    def enter(self) -> None:
        self.now += 1
        self.most = max(self.most, self.now)


@dataclass
class Scripted:
    """A reviewer that takes its time and fails on the rollouts that it is told to fail on."""

    name: str = "a"
    seconds: float = 0.0
    failures: dict[str, Exception] = field(default_factory=dict)
    gate: asyncio.Event | None = None
    air: Air = field(default_factory=Air)
    begun: list[str] = field(default_factory=list)

    @property
    def info(self) -> ReviewerInfo:
        return ReviewerInfo(self.name, "replay", self.name, "scripted")

    @property
    def prompt_digest(self) -> str:
        return "none"

    @property
    def labels(self) -> LabelSet:
        return CONTRIBUTION_V1

    async def review(self, item: Rollout) -> Review:
        self.begun.append(item.id)
        self.air.enter()
        try:
            if self.gate is not None:
                await self.gate.wait()
            await asyncio.sleep(self.seconds)
        finally:
            self.air.now -= 1
        if item.id in self.failures:
            raise self.failures[item.id]
        return Review(review_key(self, item), (Step(Span(0, 2), "idle"),))


async def seated(seats: list[Seat], slots: int, on_answer: Callable[[Answer], None]) -> int:
    async with Switchboard(slots) as board:
        return await convene_seats(seats, board, on_answer=on_answer)


def names(answers: list[Answer]) -> list[tuple[str, str]]:
    return [(answer.key.reviewer, answer.key.rollout_id) for answer in answers]


def test_every_reviewer_answers_every_rollout_once() -> None:
    panel = [Scripted("a"), Scripted("b", 0.002), Scripted("c")]
    answers: list[Answer] = []

    count = asyncio.run(convene(panel, rollouts(30), concurrency=4, on_answer=answers.append))

    wanted = {(one.info.digest, item.id) for one in panel for item in rollouts(30)}
    assert count == len(answers) == 90
    assert set(names(answers)) == wanted


@pytest.mark.parametrize("concurrency", [1, 3, 64])
def test_no_more_requests_fly_than_allowed(concurrency: int) -> None:
    air = Air()
    panel = [Scripted("a", 0.01, air=air), Scripted("b", 0.01, air=air)]

    asyncio.run(convene(panel, rollouts(20), concurrency=concurrency, on_answer=lambda _: None))

    assert air.most == min(concurrency, 40)


def test_a_seat_keeps_its_own_limit() -> None:
    shy, bold = Scripted("a", 0.001), Scripted("b", 0.001)
    seats = [Seat(shy, rollouts(20), limit=2), Seat(bold, rollouts(20))]

    asyncio.run(seated(seats, 10, lambda _: None))

    assert (shy.air.most, bold.air.most) == (2, 8)


def test_a_slow_reviewer_does_not_hold_the_others() -> None:
    async def main() -> tuple[list[int], int]:
        gate = asyncio.Event()
        slow, fast = Scripted("slow", gate=gate), Scripted("fast")
        held: list[int] = []

        def note(_: Answer) -> None:
            held.append(slow.air.now)
            if len(held) == 90:
                gate.set()

        seats = [Seat(slow, rollouts(100)), Seat(fast, rollouts(100))]
        return held, await seated(seats, 8, note)

    held, answers = asyncio.run(main())
    assert set(held[:90]) == {4}
    assert answers == 200


def test_rollouts_are_drawn_as_slots_become_free() -> None:
    drawn: list[int] = []
    answered: list[Answer] = []
    ahead: list[int] = []

    def source() -> Iterator[Rollout]:
        for number in range(10_000):
            drawn.append(number)
            yield rollout(number)
            if number == 300:
                return

    def note(answer: Answer) -> None:
        answered.append(answer)
        ahead.append(len(drawn) - len(answered))

    asyncio.run(convene([Scripted()], source(), concurrency=5, on_answer=note))

    assert len(answered) == 301
    assert max(ahead) <= 5 + 5 + 1


def test_a_shared_stream_is_drawn_once_and_held_to_its_lead() -> None:
    async def main() -> tuple[int, int]:
        drawn = 0

        async def source() -> AsyncIterator[int]:
            nonlocal drawn
            for number in range(50):
                drawn += 1
                yield number

        first, second = share(source(), 2, lead=3)
        taken = [await anext(first) for _ in range(3)]
        waiting = asyncio.create_task(anext(first))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        held = drawn
        assert await anext(second) == 0
        assert await waiting == 3
        rest_second = asyncio.create_task(_all(second))
        assert taken + [3] + await _all(first) == list(range(50))
        assert [0, *await rest_second] == list(range(50))
        return held, drawn

    assert asyncio.run(main()) == (3, 50)


async def _all(stream: AsyncIterator[int]) -> list[int]:
    return [item async for item in stream]


FAILURES = [
    (ReviewerUnavailable("HTTP 500", raw="<html>"), AbstentionKind.UNAVAILABLE),
    (ReviewerRefused("declined", usage=Usage(5, 6)), AbstentionKind.REFUSED),
    (ReplyTruncated("cut", usage=Usage(7, 8), raw="{"), AbstentionKind.TRUNCATED),
    (ReplyInvalid("no JSON", usage=Usage(1, 2), raw="hm"), AbstentionKind.INVALID),
    (ReviewError("some other"), AbstentionKind.UNAVAILABLE),
]


@pytest.mark.parametrize(("error", "kind"), FAILURES)
def test_a_reviewer_that_cannot_answer_abstains(error: ReviewError, kind) -> None:
    answers: list[Answer] = []
    asked = Scripted(failures={"r0001": error})

    asyncio.run(convene([asked], rollouts(3), concurrency=1, on_answer=answers.append))

    assert [type(answer) for answer in answers] == [Review, Abstention, Review]
    assert answers[1] == Abstention(
        review_key(asked, rollout(1)), kind, str(error), error.usage, error.raw
    )


@pytest.mark.parametrize("error", [KeyError("a bug"), CredentialError("no key")])
def test_any_other_error_stops_the_panel_after_what_is_in_flight(error: Exception) -> None:
    answers: list[Answer] = []
    panel = [Scripted("a", 0.01, {"r0002": error}), Scripted("b", 0.02)]

    with pytest.raises(type(error)) as caught:
        asyncio.run(convene(panel, rollouts(500), concurrency=6, on_answer=answers.append))

    assert caught.value is error
    begun = len(panel[0].begun) + len(panel[1].begun)
    assert begun < 30
    assert len(answers) == begun - 1


def test_every_exception_of_a_panel_is_retrieved() -> None:
    left: list[str] = []
    broken = {item.id: CredentialError("no key") for item in rollouts(20)}

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: left.append(context["message"]))
        panel = [Scripted("a", 0.01, broken), Scripted("b", 0.01, broken)]
        with pytest.raises(CredentialError):
            await convene(panel, rollouts(20), concurrency=8, on_answer=lambda _: None)
        gc.collect()

    asyncio.run(main())
    gc.collect()

    assert left == []


def test_a_seat_that_is_given_up_is_asked_no_more_and_holds_nobody() -> None:
    hopeless, other = Scripted("a"), Scripted("b")

    def is_over() -> bool:
        return len(hopeless.begun) >= 5

    def source() -> Iterator[Rollout]:
        for item in rollouts(100):
            if is_over():
                return
            yield item

    seats = [Seat(hopeless, source(), given_up=is_over), Seat(other, rollouts(100))]
    asyncio.run(seated(seats, 2, lambda _: None))

    assert 5 <= len(hopeless.begun) <= 6
    assert len(other.begun) == 100


def test_a_stream_that_breaks_stops_the_panel() -> None:
    async def source() -> AsyncIterator[Rollout]:
        yield rollout(0)
        await asyncio.sleep(0.01)
        raise OSError("disk")

    answers: list[Answer] = []
    with pytest.raises(OSError, match="disk"):
        asyncio.run(convene([Scripted()], source(), concurrency=2, on_answer=answers.append))

    assert len(answers) == 1


def test_an_answer_that_cannot_be_kept_stops_the_panel() -> None:
    def refuse(_: Answer) -> None:
        raise OSError("disk full")

    asked = Scripted()
    with pytest.raises(OSError, match="disk full"):
        asyncio.run(convene([asked], rollouts(100), concurrency=2, on_answer=refuse))

    assert len(asked.begun) <= 3


async def _blocked(asked: Scripted, answers: list[Answer]) -> "asyncio.Task[int]":
    """Return a panel at work whose four requests in flight all wait at the gate."""

    async def source() -> AsyncIterator[Rollout]:
        for number in range(6):
            yield rollout(number)
        await asyncio.sleep(60)

    work = asyncio.create_task(convene([asked], source(), concurrency=4, on_answer=answers.append))
    await until(lambda: asked.air.now == 4)
    return work


def test_the_first_cancellation_drains_what_is_in_flight() -> None:
    async def main() -> tuple[int, int]:
        gate = asyncio.Event()
        asked, answers = Scripted(gate=gate), []
        work = await _blocked(asked, answers)
        work.cancel()
        await asyncio.sleep(0.01)
        assert not work.done()
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await work
        return len(answers), len(asked.begun)

    assert asyncio.run(main()) == (4, 4)


def test_the_second_cancellation_drops_what_is_in_flight() -> None:
    async def main() -> tuple[int, int]:
        asked, answers = Scripted(gate=asyncio.Event()), []
        work = await _blocked(asked, answers)
        work.cancel()
        await asyncio.sleep(0.01)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        return len(answers), asked.air.now

    assert asyncio.run(main()) == (0, 0)


def test_a_panel_or_a_stream_may_be_empty() -> None:
    assert asyncio.run(convene([], rollouts(3), concurrency=1, on_answer=print)) == 0
    assert asyncio.run(convene([Scripted()], [], concurrency=1, on_answer=print)) == 0


def test_no_slots_at_all_are_refused() -> None:
    with pytest.raises(UsageError, match="at least 1"):
        asyncio.run(convene([Scripted()], [], concurrency=0, on_answer=print))
    seat = Seat(Scripted(), rollouts(3), limit=0)
    with pytest.raises(UsageError, match="at least 1"):
        asyncio.run(seated([seat], 2, print))


def test_a_real_panel_keeps_good_answers_and_abstentions_apart() -> None:
    reply = (
        '{"steps": [{"n": 1, "first": 1, "last": 1, "reason": "", "label": "idle",'
        ' "confidence": 0.9}], "links": [], "covered_first": 1, "covered_last": 1}'
    )

    def choose(request):
        text = request.body["messages"][1]["content"]
        if "It is 3." in text:
            return chat("I'm sorry, I can't help with that.")
        if "It is 5." in text:
            return chat_error(503, "busy")
        return chat(reply[:40] if "It is 7." in text else reply)

    async def main() -> tuple[list[Answer], ProviderServer]:
        answers: list[Answer] = []
        async with ProviderServer(choose=choose) as server:
            endpoint = Endpoint("tiny", f"{server.url}/v1")
            calling = Calling(attempts=2, backoff=0.001)
            panel = [Scripted("a"), openai_reviewer("b", endpoint, calling=calling)]
            async with opened(panel) as sitting:
                await convene(sitting, rollouts(12), concurrency=4, on_answer=answers.append)
        return answers, server

    answers, server = asyncio.run(main())
    kinds = {
        answer.key.rollout_id: answer.kind for answer in answers if isinstance(answer, Abstention)
    }
    assert len(answers) == 24
    assert kinds == {
        "r0003": AbstentionKind.REFUSED,
        "r0005": AbstentionKind.UNAVAILABLE,
        "r0007": AbstentionKind.TRUNCATED,
    }
    # One more attempt for the fault, one repair turn for the reply that broke off.
    assert len(server.requests) == 14
    assert server.most_open <= 4
