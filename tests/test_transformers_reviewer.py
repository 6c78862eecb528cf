"""Reviews by a tiny model that transformers runs in this process: noise, but real noise."""

import asyncio
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch.nn.modules.module import register_module_forward_pre_hook
from transformers.utils import logging

from dca.domain.errors import ReviewerUnavailable
from dca.domain.review import Abstention, AbstentionKind, Answer
from reviewers.calling import Calling
from reviewers.exchange import Ended
from reviewers.panel import Seat, convene_seats, opened
from reviewers.question import Asking, pose
from reviewers.schema import ReplyProtocol
from reviewers.switchboard import Switchboard
from reviewers.transformers_inprocess import transformers_reviewer
from tests import tiny_qwen
from tests.command_line import clean_folder, fill, invoke, plain_rollouts
from tests.scripted_models import rollout

TEXT = "2 + 3 = 6. So the answer is 6."
ENGINE = {"device": "cpu", "dtype": "float32"}
LONG = rollout("Then 7 + 8 = 15. " * 6_000, name="long")
GREEDY = {"temperature": 0.0}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("qwen")
    tiny_qwen.build(folder)
    logging.set_verbosity_error()
    return folder


@contextmanager
def forwards() -> Iterator[list[tuple[int, int]]]:
    """Record rows and width of each pass through the model."""
    seen: list[tuple[int, int]] = []

    def look(module, arguments) -> None:
        if isinstance(module, torch.nn.Embedding):
            rows, width = arguments[0].shape
            seen.append((rows, width))

    handle = register_module_forward_pre_hook(look)
    try:
        yield seen
    finally:
        handle.remove()


def reviewer(model: Path, *, batch: int = 8, **calling):
    return transformers_reviewer(
        "small",
        str(model),
        family="tiny",
        calling=Calling(**{"max_tokens": 16, **calling}),
        engine=ENGINE,
        batch=batch,
    )


def test_noise_becomes_abstentions_with_their_cost_and_batches_are_real(model):
    answers: list[Answer] = []
    rollouts = [rollout(f"{TEXT} {number}.", name=f"r{number}") for number in range(5)]

    async def run() -> int:
        asked = reviewer(model, batch=3)
        async with Switchboard(16) as board, opened([asked]):
            seats = [Seat(asked, [*rollouts, LONG])]
            await convene_seats(seats, board, on_answer=answers.append)
            (line,) = board.lines
            assert line.down is None
            assert line.meter.requests == line.meter.replies + 1 >= 6
            tokens = (
                (answer.usage.input_tokens or 0) + (answer.usage.output_tokens or 0)
                for answer in answers
            )
            assert line.meter.spent.tokens == sum(tokens)
            return line.meter.replies

    with forwards() as seen:
        replies = asyncio.run(run())

    given = {answer.key.rollout_id: answer for answer in answers}
    assert {*given} == {item.id for item in (*rollouts, LONG)}
    long = given.pop("long")
    assert isinstance(long, Abstention)
    assert long.kind is AbstentionKind.UNAVAILABLE
    assert "tokens, and the model takes 32,768 with the reply" in long.reason
    for answer in given.values():
        assert isinstance(answer, Abstention)
        assert answer.kind in {AbstentionKind.INVALID, AbstentionKind.TRUNCATED}
        assert answer.usage.input_tokens > 1_500
        assert 0 < answer.usage.output_tokens <= 2 * 16
        assert answer.usage.seconds > 0
        assert answer.usage.dollars is None
    prefills = [rows for rows, width in seen if width > 1]
    assert sum(prefills) == replies
    assert prefills[0] == max(prefills) == 3


def test_a_reply_is_the_same_alone_and_padded_beside_a_longer_question(model):
    short, longer = (pose(rollout(text), Asking()) for text in (TEXT, TEXT * 40))

    async def run():
        async with (asked := reviewer(model, **GREEDY)):
            alone = await asked.ask(short)
            with forwards() as seen:
                together, _ = await asyncio.gather(asked.ask(short), asked.ask(longer))
            assert seen[0][0] == 2
            return alone, together

    alone, together = asyncio.run(run())

    assert alone.text == together.text != ""
    assert alone.ended is together.ended
    assert alone.usage.input_tokens == together.usage.input_tokens
    assert alone.usage.output_tokens == together.usage.output_tokens


def test_a_reply_that_ends_is_complete_and_one_at_the_limit_is_cut(model, tmp_path):
    question = pose(rollout(TEXT), Asking())
    unpadded = tmp_path / "unpadded"
    shutil.copytree(model, unpadded)
    settings = json.loads((unpadded / "tokenizer_config.json").read_text())
    (unpadded / "tokenizer_config.json").write_text(json.dumps(settings | {"pad_token": None}))

    async def run(**calling):
        async with (asked := reviewer(unpadded, **calling)):
            return await asked.ask(question)

    cut = asyncio.run(run(max_tokens=3, extra={"min_new_tokens": 3}))
    whole = asyncio.run(run(max_tokens=400, temperature=1.0))

    assert (cut.ended, cut.detail, cut.usage.output_tokens) == (Ended.TRUNCATED, "length", 3)
    assert (whole.ended, whole.detail) == (Ended.COMPLETE, "stop")
    assert "<|im_end|>" not in whole.text
    assert whole.usage.output_tokens < 400


def test_questions_that_are_called_differently_are_batches_of_their_own(model):
    question = pose(rollout(TEXT), Asking())

    async def run() -> None:
        one, two = reviewer(model), reviewer(model, temperature=0.5)
        async with one, two:
            with forwards() as seen:
                await asyncio.gather(one.ask(question), two.ask(question), one.ask(question))
        assert [rows for rows, width in seen if width > 1] == [2, 1]

    asyncio.run(run())


def test_the_model_stops_when_everybody_has_gone_away(model):
    question = pose(rollout(TEXT), Asking())
    endless = {"min_new_tokens": 20_000}

    async def run() -> int:
        async with (asked := reviewer(model, max_tokens=20_000, extra=endless)):
            with forwards() as seen:
                waiting = asyncio.create_task(asked.ask(question))
                while not seen:  # noqa: ASYNC110 - the model's thread makes it hold
                    await asyncio.sleep(0.01)
                waiting.cancel()
                await asyncio.wait([waiting])
        return len(seen)

    assert asyncio.run(run()) < 2_000


def test_a_question_beyond_the_context_is_refused_alone(model):
    with pytest.raises(ReviewerUnavailable, match="and the model takes 32,768"):
        asyncio.run(reviewer(model).review(LONG))


def test_what_changes_answers_makes_another_reviewer_and_what_does_not_does_not(model):
    def made(engine, batch=8):
        return transformers_reviewer("small", str(model), engine=engine, batch=batch).info

    base = made({"dtype": "float32"})
    assert base.digest == made({"dtype": "float32", "device": "cpu"}, batch=2).digest
    assert base.digest != made({}).digest
    assert base.settings["engine"] == {"dtype": "float32"}
    assert base.family == base.model == str(model)
    assert (base.kind, made({}).settings["protocol"]) == ("transformers", ReplyProtocol.UNITS)


def configure(text: str) -> None:
    Path("dca.toml").write_text(
        '[review]\npanel = "p"\n[panels.p]\nreviewers = ["small"]\n[reviewers.small]\n'
        'kind = "transformers"\nfamily = "tiny"\nmax_output_tokens = 8\n' + text
    )


def test_dca_review_asks_a_model_beside_the_configuration(model, tmp_path, capsys, monkeypatch):
    folder = clean_folder(tmp_path, monkeypatch)
    (folder / "qwen").symlink_to(model)
    configure('model = "./qwen"\nbatch = 3\nengine = { device = "cpu", dtype = "float32" }\n')
    fill(folder / "dca.db", plain_rollouts(4))

    answer = invoke(capsys, "review", "--json", "-q")

    assert answer.code == 3, answer.err
    (row,) = answer.document["reviewers"]
    assert row["reviews"] + sum(row["abstentions"].values()) == 4
    assert {*row["abstentions"]} <= {"invalid", "truncated"}
    assert row["pending"] == 0
    assert row["input_tokens"] > 4 * 1_500
    assert row["output_tokens"] > 0
    assert row["dollars"] is None
    assert row["p50"] > 0


def test_a_folder_that_is_no_model_ends_the_review_with_the_reason(tmp_path, capsys, monkeypatch):
    folder = clean_folder(tmp_path, monkeypatch)
    configure('model = "./nothing"\n')
    fill(folder / "dca.db", plain_rollouts(1))

    answer = invoke(capsys, "review", "-q")

    assert answer.code == 2
    assert "small: the model cannot be loaded:" in answer.err
    assert "Check model and engine" in answer.err
