"""Several rollouts in one request, and the choice of how rollouts are put to a model."""

import json
import re
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dca.domain.errors import ReviewerUnavailable
from dca.domain.review import Abstention, AbstentionKind, Blame, Review, Soundness, Usage
from dca.domain.rollout import Message, Rollout
from dca.domain.spans import Span
from reviewers.calling import Calling
from reviewers.choose import dialogue_for, question_room
from reviewers.dialogue import add_usage
from reviewers.exchange import Ended, Question, Reply
from reviewers.long import fixed_tokens, question_tokens
from reviewers.question import Asking, Style, pose
from reviewers.schema import ReplyProtocol
from reviewers.together import discuss_together, pose_together, share
from tests.scripted_models import COST, Scripted, carry, fenced, key_of, rollout, said

TEXTS = ("2 + 3 = 6. So 6.", "2 + 3 = 5. So 5.", "Hm. I think it is five.")
REWARDS = (0.0, 1.0, None)
THREE = tuple(
    rollout(text, reward, f"r{n}")
    for n, (text, reward) in enumerate(zip(TEXTS, REWARDS, strict=True), 1)
)
TOGETHER = Scripted(Asking(together=3))


def review(number: int, **more: Any) -> dict[str, Any]:
    """Return one review of two units, the first of which is blamed."""
    steps = [
        {
            "n": n,
            "first": n,
            "last": n,
            "reason": f"{number}.{n}",
            "label": "idle",
            "confidence": 1,
        }
        for n in (1, 2)
    ]
    whole = {"links": [], "covered_first": 1, "covered_last": 2, "finding": "f"}
    verdicts = {"blame": 1, "soundness": "unsound"}
    return {"rollout": number, "steps": steps, **whole, **verdicts, **more}


def reviews(*items: Any) -> str:
    return json.dumps({"reviews": list(items)})


def alone(question: Question) -> str:
    """Return a good reply to a question about one rollout."""
    item = review(0)
    del item["rollout"]
    return json.dumps(item)


def model(*items: Any):
    return lambda question: reviews(*items) if question.form.together else alone(question)


def total(answers: Any) -> Usage:
    used = Usage()
    for answer in answers:
        used = add_usage(used, answer.usage)
    return used


def test_each_rollout_has_its_own_review() -> None:
    answers, asked = carry(
        discuss_together(TOGETHER, THREE), model(review(3), review(1), review(2))
    )
    first, second, third = answers

    assert len(asked) == 1
    assert [answer.key.rollout_id for answer in answers] == ["r1", "r2", "r3"]
    assert isinstance(first, Review)
    assert isinstance(second, Review)
    assert isinstance(third, Review)
    assert [step.reason for step in second.steps] == ["2.1", "2.2"]
    # Each by its own outcome: a failure is blamed, a success judged, the unknown both.
    assert (first.blame, first.soundness) == (Blame(0), None)
    assert (second.blame, second.soundness) == (None, Soundness.UNSOUND)
    assert (third.blame, third.soundness) == (Blame(0), Soundness.UNSOUND)
    assert third.covered == Span(0, len(TEXTS[2]))
    assert {answer.raw for answer in answers} == {reviews(review(3), review(1), review(2))}


def test_the_problem_is_shown_once_and_each_rollout_under_its_number() -> None:
    question = pose_together(THREE, TOGETHER.asking).question
    user = question.turns[0].text

    assert user.count("What is 2 + 3?") == 1
    assert fenced(question, "reasoning-1") == "[1] 2 + 3 = 6.\n[2] So 6."
    assert fenced(question, "reasoning-3") == "[1] Hm.\n[2] I think it is five."
    parts = re.split(r"(?m)^Rollout (\d)\.$", user)
    assert parts[1::2] == ["1", "2", "3"]
    assert "checked and is wrong" in parts[2]
    assert "checked and is right" in parts[4]
    assert "Outcome: not known." in parts[6]
    assert user.count(key_of(question)) == 3 + 2 * 3


def test_instructions_and_form_do_not_depend_on_outcomes() -> None:
    every = [
        pose_together(some, TOGETHER.asking).question
        for some in (THREE, THREE[:2], THREE[1:], THREE[::-1])
    ]

    assert len({(question.system, question.form) for question in every}) == 1


def test_blind_reviewers_are_told_no_outcome() -> None:
    asking = Asking(together=3, blind=True)
    user = pose_together(THREE, asking).question.turns[0].text

    assert user.count("Outcome: not known.") == 3
    assert "checked" not in user


@pytest.mark.parametrize(
    "second",
    [
        None,
        review(1),
        review(2, steps=[]),
        review(2, steps="none"),
        review(2, steps=[{"n": 1, "first": 7, "last": 9, "label": "idle"}]),
        "no object",
        review(9),
    ],
)
def test_what_is_missing_or_invalid_is_asked_again_alone(second: Any) -> None:
    items = [item for item in (review(1), second, review(3)) if item is not None]
    doubled = second == review(1)

    answers, asked = carry(discuss_together(TOGETHER, THREE), model(*items))

    # A number that is given twice says nothing of its rollout.
    again = [1, 2] if doubled else [2]
    assert [question.form.together for question in asked] == [True] + [False] * len(again)
    assert fenced(asked[-1]) == "[1] 2 + 3 = 5.\n[2] So 5."
    assert all(isinstance(answer, Review) for answer in answers)
    assert answers[1].raw == f"{reviews(*items)}\n\x1e\n{alone(asked[-1])}"
    assert total(answers).input_tokens == 101 * len(asked)
    assert total(answers).output_tokens == 13 * len(asked)


def test_a_reply_without_any_review_is_repaired_first() -> None:
    def sloppy(question: Question) -> str:
        return reviews(review(1), review(2), review(3)) if len(question.turns) > 1 else "{}"

    answers, asked = carry(discuss_together(TOGETHER, THREE), sloppy)

    assert [len(question.turns) for question in asked] == [1, 3]
    assert "holds no JSON object with reviews" in asked[1].turns[2].text
    assert all(isinstance(answer, Review) for answer in answers)
    assert total(answers).input_tokens == 202


@pytest.mark.parametrize(
    "bad",
    [
        said("x", Ended.TRUNCATED),
        said("no", Ended.REFUSED),
        said("no", Ended.OTHER),
        said(json.dumps({"reviews": {}})),
        said(reviews(review(1, steps=[]), review(2, steps=[]), review(3, steps=[]))),
    ],
)
def test_when_nothing_can_be_used_every_rollout_is_asked_about_alone(bad: Reply) -> None:
    answers, asked = carry(
        discuss_together(TOGETHER, THREE),
        lambda question: bad if question.form.together else alone(question),
    )
    joint = sum(question.form.together for question in asked)

    assert joint == (2 if bad.ended is Ended.COMPLETE else 1)
    assert len(asked) == joint + 3
    assert all(isinstance(answer, Review) for answer in answers)
    assert total(answers).input_tokens == 101 * len(asked)
    assert all(answer.raw.startswith(f"{bad.text}\n\x1e\n") for answer in answers)


def test_a_rollout_that_fails_alone_too_keeps_both_costs() -> None:
    def failing(question: Question) -> str:
        return reviews(review(1), review(3)) if question.form.together else "nothing"

    answers, asked = carry(discuss_together(TOGETHER, THREE), failing)
    second = answers[1]

    assert len(asked) == 3
    assert isinstance(second, Abstention)
    assert second.kind is AbstentionKind.INVALID
    # 16, 16 and 23 code points: of 101 tokens the second has those from 29.4 to 58.8.
    assert second.usage.input_tokens == (58 - 29) + 2 * 101
    assert total(answers).input_tokens == 303


def test_without_a_reply_nobody_is_asked_again() -> None:
    fault = ReviewerUnavailable("gone", usage=Usage(input_tokens=50), raw="page")

    answers, asked = carry(discuss_together(TOGETHER, THREE), lambda _: fault)

    assert len(asked) == 1
    assert [answer.key.rollout_id for answer in answers] == ["r1", "r2", "r3"]
    for answer in answers:
        assert isinstance(answer, Abstention)
        assert (answer.kind, answer.reason, answer.raw) == ("unavailable", "gone", "page")
    assert total(answers).input_tokens == 50


def test_a_fault_in_the_repair_turn_keeps_what_was_paid() -> None:
    def model(question: Question) -> Any:
        return "{}" if len(question.turns) == 1 else ReviewerUnavailable("gone")

    answers, _ = carry(discuss_together(TOGETHER, THREE), model)

    assert total(answers).input_tokens == COST.input_tokens
    assert {answer.raw for answer in answers} == {"{}"}


FIGURES = st.builds(
    Usage,
    *[st.none() | st.integers(0, 10**7)] * 4,
    seconds=st.none() | st.floats(0, 1e4),
    dollars=st.none() | st.floats(0, 1e3),
)


@given(FIGURES, st.lists(st.integers(1, 10**6), min_size=1, max_size=9))
def test_shares_add_up_to_the_whole(usage: Usage, sizes: list[int]) -> None:
    parts = share(usage, sizes)

    assert len(parts) == len(sizes)
    for item in fields(Usage):
        figure = getattr(usage, item.name)
        shared = [getattr(part, item.name) for part in parts]
        if figure is None:
            assert shared == [None] * len(sizes)
        elif isinstance(figure, int):
            assert sum(shared) == figure
            exact = [figure * size / sum(sizes) for size in sizes]
            assert all(abs(one - two) <= 1 for one, two in zip(shared, exact, strict=True))
        else:
            assert sum(shared) == pytest.approx(figure)


# The choice.


def kinds(asked: list[Question]) -> list[str]:
    """Return how each question shows what it shows."""
    ways = {"Rollout 1.\n": "together", "Part ": "part"}
    return [
        next((way for mark, way in ways.items() if mark in question.turns[0].text), "alone")
        for question in asked
    ]


def first_unit(question: Question) -> str:
    """Mark the first unit of everything that is shown."""

    def one(number: int, text: str) -> dict[str, Any]:
        at = int(text[1:].partition("]")[0])
        step = {"n": 1, "first": at, "last": at, "reason": "r", "label": "idle", "confidence": 1}
        return review(number, steps=[step], covered_first=at, covered_last=at)

    if question.form.together:
        user = question.turns[0].text
        numbers = [int(found) for found in re.findall(r"(?m)^Rollout (\d+)\.$", user)]
        return reviews(*(one(n, fenced(question, f"reasoning-{n}")) for n in numbers))
    return json.dumps(one(0, fenced(question)))


def test_one_rollout_is_asked_about_alone() -> None:
    answers, asked = carry(dialogue_for(Scripted(), THREE[:1]), first_unit)

    assert kinds(asked) == ["alone"]
    assert asked[0] == pose(THREE[0], Asking())
    assert answers[0].key.rollout_id == "r1"


def test_rollouts_are_put_together_by_problem_reference_and_number() -> None:
    other = Rollout("o1", "g2", "sum", (Message("user", "Why?"),), "Because. So.", 1.0)
    known = rollout("It is 5. Yes.", 1.0, "k1", truth="5")
    blank = rollout(" ", 1.0, "b1")
    asker = Scripted(Asking(together=2))

    answers, asked = carry(
        dialogue_for(asker, (THREE[0], other, THREE[1], known, blank, THREE[2])), first_unit
    )

    assert [answer.key.rollout_id for answer in answers] == ["r1", "o1", "r2", "k1", "b1", "r3"]
    assert kinds(asked) == ["together", "alone", "alone", "alone"]
    assert [isinstance(answer, Review) for answer in answers] == [True] * 4 + [False, True]


def test_without_a_limit_nothing_is_cut() -> None:
    asker = Scripted(Asking(together=2))
    long_ = rollout("Very much. " * 50_000, 1.0, "l1")

    _, asked = carry(dialogue_for(asker, (long_, THREE[0])), first_unit)

    assert kinds(asked) == ["together"]
    assert question_room(asker) is None


def test_a_question_leaves_room_for_the_reply_and_its_repair() -> None:
    calling = Calling(max_tokens=4_000)
    asking = Asking(context_tokens=32_000)

    assert question_room(Scripted(asking, calling)) == 24_000
    # A reply of 20,000 code points is the longest that is shown again.
    assert question_room(Scripted(asking, Calling(max_tokens=9_000))) == 32_000 - 9_000 - 6_666


def test_what_does_not_fit_is_halved_and_then_shown_in_windows() -> None:
    sizes = (20, 20, 20, 20, 700)
    texts = [" ".join(f"So it is {n}." for n in range(size)) for size in sizes]
    some = [rollout(text, 0.0, f"r{at}") for at, text in enumerate(texts)]
    bare = fixed_tokens(some[0], Asking())
    asker = Scripted(Asking(together=5, context_tokens=bare + 2_000 + 900))

    answers, asked = carry(dialogue_for(asker, some), first_unit)
    room = question_room(asker)

    # Three and two; the three fit, and of the two only the first.
    assert kinds(asked)[:2] == ["together", "alone"]
    assert set(kinds(asked)[2:]) == {"part"}
    assert room is not None
    assert max(question_tokens(question, 3.0) for question in asked) <= room
    assert [answer.key.rollout_id for answer in answers] == [f"r{at}" for at in range(5)]
    assert all(isinstance(answer, Review) for answer in answers)


def test_blank_text_within_a_limit_is_not_asked_about() -> None:
    asker = Scripted(Asking(context_tokens=50_000))

    (answer,), asked = carry(dialogue_for(asker, [rollout(" \n")]), first_unit)

    assert (asked, isinstance(answer, Abstention)) == ([], True)


@pytest.mark.parametrize("protocol", list(ReplyProtocol))
@pytest.mark.parametrize("style", list(Style))
def test_every_way_of_asking_brings_reviews(protocol: ReplyProtocol, style: Style) -> None:
    """A model that answers in the form that the question shows is understood."""
    asking = Asking(protocol=protocol, style=style, together=3, persona="author", examples=1)
    text = "first words of it, then the last words. a short step. 3. 4. 5. 6. 7. 8. 9."
    some = [rollout(text, reward, f"r{reward}") for reward in (0.0, 1.0)]

    def echo(question: Question) -> str:
        return re.findall(r'(?m)^\{"(?:reviews|steps)": .*$', question.system)[0]

    answers, asked = carry(dialogue_for(Scripted(asking), some), echo)

    assert len(asked) == 1
    for answer in answers:
        assert isinstance(answer, Review)
        assert answer.unplaced == ()
        assert len(answer.steps) == 2
        assert (answer.steps[0].reason == "") == (style is Style.CHEAP)
        assert (answer.steps[0].confidence is None) == (style is Style.CHEAP)
