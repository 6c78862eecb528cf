"""Models in this process: one thread, batches of whatever waits, a way out of every failure.

The models here are a few lines long; those of transformers and of vLLM have tests of their own.
"""

import asyncio
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from dca.domain.errors import (
    BudgetSpent,
    ConfigError,
    ReplyInvalid,
    ReviewerUnavailable,
)
from dca.domain.review import Abstention, Answer, Review, ReviewerInfo, Usage
from reviewers.budget import Budget, Caps
from reviewers.calling import Calling
from reviewers.exchange import Ended, Question, Reply
from reviewers.line import Line
from reviewers.local_model import Job, LocalModel, load_library, shared_model
from reviewers.local_reviewer import LocalReviewer
from reviewers.panel import Seat, convene, convene_seats, opened
from reviewers.prices import worst_case
from reviewers.question import Asking, pose
from reviewers.rules import offline_panel
from reviewers.switchboard import Switchboard
from tests.scripted_models import rollout

TEXT = "2 + 3 = 6. So the answer is 6."
GOOD = json.dumps(
    {
        "steps": [{"n": 1, "first": 1, "last": 1, "label": "harmful"}],
        "links": [],
        "covered_first": 1,
        "covered_last": 1,
        "blame": 1,
    }
)


@dataclass
class Scripted:
    """A model that says the same of everything; ``go`` lets it work."""

    said: str = GOOD
    fault: Exception | None = None
    most: int = 64
    go: threading.Event = field(default_factory=threading.Event)
    batches: list[int] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)
    seen: list[Job] = field(default_factory=list)
    waiting: list[Job] = field(default_factory=list)
    closed: int = 0
    loaded: int = 0

    def load(self) -> "Scripted":
        self.loaded += 1
        return self

    @property
    def busy(self) -> bool:
        return bool(self.waiting)

    def take(self, jobs: Sequence[Job]) -> None:
        self.threads.add(threading.get_ident())
        self.seen += jobs
        self.waiting += jobs

    def step(self) -> None:
        self.go.wait()
        if self.fault is not None:
            raise self.fault
        batch, self.waiting = self.waiting[: self.most], self.waiting[self.most :]
        self.batches.append(len(batch))
        for job in batch:
            job.answer(Reply(self.said, Ended.COMPLETE, "stop", Usage(100, 10)))

    def close(self) -> None:
        self.closed += 1


def working(**more) -> Scripted:
    model = Scripted(**more)
    model.go.set()
    return model


def reviewer(model: Scripted | LocalModel, name: str = "a", **calling) -> LocalReviewer:
    """Return a reviewer of ``model``, which is loaded when it is asked."""
    local = LocalModel(name, model.load) if isinstance(model, Scripted) else model
    return LocalReviewer(
        ReviewerInfo(name, "vllm", "f", "m"),
        local,
        asking=Asking(),
        calling=Calling(**{"max_tokens": 100, **calling}),
        settings={},
    )


def question() -> Question:
    return pose(rollout(TEXT), Asking())


async def until(condition) -> None:
    """Let others run until ``condition`` holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - another thread makes it hold
            await asyncio.sleep(0.001)


def test_a_model_in_this_process_reviews_through_the_panel():
    model, answers = working(), list[Answer]()
    rollouts = [rollout(TEXT, name=f"r{number}") for number in range(20)]

    async def run() -> None:
        async with Switchboard(8) as board, opened([asked := reviewer(model)]):
            count = await convene_seats([Seat(asked, rollouts)], board, on_answer=answers.append)
            (line,) = board.lines
            assert count == line.meter.requests == line.meter.replies == 20
            assert line.meter.spent.tokens == board.budget.spent.tokens == 20 * 110
            assert board.budget.reserved.tokens == line.meter.flying == 0
            assert line.meter.latency(0.5) is not None

    asyncio.run(run())

    assert {answer.key.rollout_id for answer in answers} == {item.id for item in rollouts}
    for answer in answers:
        assert isinstance(answer, Review)
        assert [step.label for step in answer.steps] == ["harmful"]
        assert answer.usage.input_tokens == 100
        assert answer.usage.dollars is None
        assert answer.usage.seconds is not None
    # One slot of the gate for each question, and all that wait are one batch.
    assert max(model.batches) == 8
    assert len(model.batches) <= 5
    assert model.threads.isdisjoint({threading.get_ident()})
    assert len(model.threads) == model.loaded == model.closed == 1


def test_the_next_batch_forms_while_one_is_at_work():
    model = Scripted()

    async def run() -> None:
        async with (asked := reviewer(model)):
            first = asyncio.create_task(asked.ask(question()))
            await until(lambda: model.seen)
            rest = [asyncio.create_task(asked.ask(question())) for _ in range(7)]
            await asyncio.sleep(0.01)  # The loop goes on, although the model is at work.
            assert len(model.seen) == 1
            model.go.set()
            await asyncio.gather(first, *rest)

    asyncio.run(run())

    assert model.batches == [1, 7]


def test_questions_of_one_moment_go_together_even_to_an_idle_model():
    model = working()

    async def run() -> None:
        async with (asked := reviewer(model)):
            await asked.ask(question())
            await asyncio.gather(*(asked.ask(question()) for _ in range(5)))

    asyncio.run(run())

    assert model.batches == [1, 5]


def test_whoever_goes_away_while_waiting_is_never_put_to_the_model():
    model = Scripted()

    async def run() -> None:
        async with (asked := reviewer(model)):
            first = asyncio.create_task(asked.ask(question()))
            await until(lambda: model.seen)
            gone = asyncio.create_task(asked.ask(question()))
            await asyncio.sleep(0)
            gone.cancel()
            await asyncio.wait([gone])
            last = asyncio.create_task(asked.ask(question()))
            await asyncio.sleep(0)
            model.go.set()
            await asyncio.gather(first, last)
            assert gone.cancelled()

    asyncio.run(run())

    assert len(model.seen) == 2


def test_a_reply_to_somebody_who_has_gone_away_is_dropped():
    model = Scripted()

    async def run() -> None:
        async with (asked := reviewer(model)):
            gone = asyncio.create_task(asked.ask(question()))
            await until(lambda: model.seen)
            gone.cancel()
            await asyncio.wait([gone])
            model.go.set()
            assert (await asked.ask(question())).text == GOOD

    asyncio.run(run())

    assert model.seen[0].gone


def test_a_model_that_fails_ends_its_own_reviewer_and_no_other():
    model, answers = working(fault=RuntimeError("out of\n memory")), list[Answer]()
    rollouts = [rollout(TEXT, name=f"r{number}") for number in range(30)]

    async def run() -> None:
        async with opened([asked := reviewer(model)]):
            panel = [asked, *offline_panel()[:1]]
            await convene(panel, rollouts, concurrency=4, on_answer=answers.append)

    with pytest.raises(ReviewerUnavailable, match="a: the model has failed: RuntimeError: out of"):
        asyncio.run(run())

    # Nothing is said in its name: what it has not answered stays pending.
    assert len(answers) == 30
    assert len({answer.key.reviewer for answer in answers}) == 1
    assert model.closed == 1


def test_a_model_that_has_failed_answers_again_once_it_was_closed():
    model = working(fault=RuntimeError("gone"))

    async def run() -> None:
        asked = reviewer(model)
        async with asked:
            for _ in range(2):
                with pytest.raises(ReviewerUnavailable, match="RuntimeError: gone"):
                    await asked.ask(question())
            assert asked.down is not None
        model.fault, model.waiting = None, []
        assert asked.down is None
        assert isinstance(await asked.review(rollout(TEXT)), Review)

    asyncio.run(run())

    assert model.loaded == model.closed == 2


def test_a_model_that_cannot_be_loaded_is_a_fault_of_the_configuration():
    def load() -> Scripted:
        raise OSError("no such folder")

    async def run() -> None:
        asked = reviewer(LocalModel("a", load))
        async with opened([asked]):
            await convene([asked], [rollout(TEXT)], concurrency=1, on_answer=print)

    with pytest.raises(ConfigError, match="a: the model cannot be loaded: OSError: no such"):
        asyncio.run(run())


def test_whoever_still_waits_when_the_model_is_closed_is_told():
    model = Scripted()

    async def run() -> None:
        asked = reviewer(model)
        async with asked:
            waiting = [asyncio.create_task(asked.ask(question())) for _ in range(2)]
            await until(lambda: model.seen)
            late = asyncio.create_task(asked.ask(question()))
            await asyncio.sleep(0)
            asyncio.get_running_loop().call_later(0.02, model.go.set)
        for task in waiting:
            assert (await task).text == GOOD
        with pytest.raises(ReviewerUnavailable, match="the model was closed"):
            await late

    asyncio.run(run())


def test_reviewers_of_one_model_share_it_and_the_last_one_unloads_it():
    model = working()
    name = "tests: one model"
    one = reviewer(shared_model(name, "one", model.load), "one")
    two = reviewer(shared_model(name, "two", model.load), "two", temperature=0.5)
    other = shared_model("tests: another", "other", model.load)

    async def run() -> None:
        async with one:
            async with two:
                await asyncio.gather(one.ask(question()), two.ask(question()))
            assert model.closed == 0
            await one.ask(question())

    asyncio.run(run())

    assert model.batches == [2, 1]
    assert model.loaded == model.closed == 1
    assert {job.calling.temperature for job in model.seen} == {None, 0.5}
    assert other is not shared_model(name, "one", model.load)
    assert one.info.digest != two.info.digest


def test_a_useless_reply_is_repaired_once_and_then_an_abstention_with_its_cost():
    model = working(said='{"steps": []}')

    with pytest.raises(ReplyInvalid, match="marks no step") as caught:
        asyncio.run(reviewer(model).review(rollout(TEXT)))

    assert (caught.value.usage.input_tokens, caught.value.usage.output_tokens) == (200, 20)
    assert len(model.seen) == 2


def test_a_cap_on_tokens_holds_in_this_process_too():
    model, answers = working(), list[Answer]()
    rollouts = [rollout(TEXT, name=f"r{number}") for number in range(20)]
    asked_first = question()
    said = (asked_first.system + asked_first.turns[0].text).encode()
    worst = worst_case(len(said), 100, None).tokens
    cap_tokens = worst + 9 * 110 + 109
    """Nine replies, and then one more at its worst."""

    async def run() -> tuple[int, str]:
        budget = Budget(Caps(tokens=cap_tokens))
        asked = reviewer(model)
        async with Switchboard(2, budget=budget) as board, opened([asked]):
            await convene_seats([Seat(asked, rollouts)], board, on_answer=answers.append)
            (line,) = board.lines
            assert isinstance(line.down, BudgetSpent)
            assert not isinstance(line, Line)
            return budget.spent.tokens, line.down.cap

    spent, cap = asyncio.run(run())

    assert cap == "tokens"
    assert spent == 110 * len(answers)
    assert len(answers) == 10
    assert not any(isinstance(answer, Abstention) for answer in answers)


def test_rollouts_of_one_problem_go_into_one_question():
    asked = LocalReviewer(
        ReviewerInfo("a", "vllm", "f", "m"),
        LocalModel("a", working().load),
        asking=Asking(together=4),
        calling=Calling(max_tokens=100),
        settings={"grammar": "guidance"},
    )

    assert asked.bundle == 4
    assert asked.info.settings["together"] == 4
    assert asked.info.settings["grammar"] == "guidance"
    assert asked.prompt_digest == Asking().prompt_digest
    dialogue = asked.dialogue([rollout(TEXT, name=name) for name in ("r1", "r2")])
    assert next(dialogue).form.together
    dialogue.close()


def test_a_library_that_lacks_one_of_its_own_is_no_missing_extra(tmp_path, monkeypatch):
    (tmp_path / "broken_library.py").write_text("import missing_library\n")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ModuleNotFoundError, match="missing_library"):
        load_library("broken_library", "train")
