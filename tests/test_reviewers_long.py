"""Reviews of reasonings that are longer than a context, by models that are plain functions."""

import json
import random
import re
import time
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from dca.domain.errors import ReviewerUnavailable
from dca.domain.labels import CONTRIBUTION_V1
from dca.domain.review import Abstention, AbstentionKind, Blame, Link, LinkKind
from dca.domain.spans import Span
from reviewers.dialogue import discuss
from reviewers.exchange import Question
from reviewers.long import LEAST_ROOM, discuss_long, fixed_tokens, question_tokens
from reviewers.question import Asking, Style
from reviewers.schema import ReplyProtocol
from reviewers.units import cut_units
from reviewers.windows import estimate_tokens
from tests.scripted_models import (
    COST,
    Marker,
    Range,
    Scripted,
    carry,
    fenced,
    key_of,
    review_of,
    rollout,
)

LABELS = CONTRIBUTION_V1.keys


def sentences(count: int) -> str:
    return " ".join(f"Then {n} and {n} make {2 * n}." for n in range(1, count + 1))


def reach(asker: Scripted, text: str, extra: int) -> int:
    """Return a room that leaves ``extra`` tokens for outline and window."""
    return fixed_tokens(rollout(text), asker.asking) + extra


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_windows_and_one_question_bring_the_same_review(data) -> None:
    words = st.sampled_from(
        ["So 3 + 4 = 7.", "Wait,", "the sum\n\nof all", "is odd; 12", "然后，"]
    )
    pieces = data.draw(st.lists(words | st.text(max_size=60), min_size=5, max_size=40))
    text = " ".join(pieces * data.draw(st.integers(1, 16) | st.integers(30, 60)))
    count = len(cut_units(text))
    if not count:
        return
    edges = sorted(data.draw(st.sets(st.integers(1, count), min_size=1, max_size=12)))
    ranges = [
        Range(first, last - 1, data.draw(st.sampled_from(LABELS)))
        for first, last in zip(edges, [*edges[1:], count + 1], strict=True)
        if data.draw(st.integers(0, 4))
    ]
    if not ranges:
        return
    model = Marker(ranges, data.draw(st.integers(0, len(ranges))))
    asker = Scripted()
    # The smallest outline, of 300 tokens, has room for twelve steps.
    room = reach(asker, text, data.draw(st.integers(1_200, 5_000)))

    whole = review_of(carry(discuss(asker, rollout(text)), model)[0])
    answers, asked = carry(discuss_long(asker, rollout(text), room), model)
    parts = review_of(answers)

    event(f"windows: {min(len(asked), 4)}")
    assert parts.steps == whole.steps
    assert set(parts.links) == set(whole.links)
    assert (parts.covered, parts.blame) == (whole.covered, whole.blame)
    assert (parts.key, parts.unplaced) == (whole.key, ())
    assert parts.usage.input_tokens == 101 * len(asked)


def test_a_step_across_a_border_is_one_step_with_links_across_windows() -> None:
    text = sentences(120)
    model = Marker(
        [Range(1, 3, "setup"), Range(20, 90, "decisive"), Range(100, 120, "harmful")], 3
    )
    asker = Scripted()

    answers, asked = carry(
        discuss_long(asker, rollout(text), reach(asker, text, LEAST_ROOM)), model
    )
    review = review_of(answers)
    units = cut_units(text)

    assert len(asked) > 4
    assert [step.span for step in review.steps] == [
        Span(units[0].start, units[2].stop),
        Span(units[19].start, units[89].stop),
        Span(units[99].start, units[119].stop),
    ]
    assert review.links == (Link(0, 2, LinkKind.USES),)
    assert review.blame == Blame(2)
    assert review.covered == Span(0, len(text))
    assert review.raw.count("\x1e") == len(asked) - 1


def test_questions_say_where_the_reasoning_goes_on_and_share_their_instructions() -> None:
    text = sentences(80)
    asker = Scripted()
    model = Marker([Range(1, 30, "decisive")])

    _, asked = carry(discuss_long(asker, rollout(text), reach(asker, text, 700)), model)
    users = [question.turns[0].text for question in asked]

    assert len({(question.system, question.form) for question in asked}) == 1
    assert ["goes on after this part" in user for user in users] == [True] * (len(users) - 1) + [
        False
    ]
    assert "ends with this part" in users[-1]
    assert [f"Part {n} of {len(users)}" in user for n, user in enumerate(users, 1)] == [
        True
    ] * len(users)
    assert "of 80." in users[0]
    assert "<outline-" not in users[0]
    assert all("<outline-" in user for user in users[1:])
    for question in asked:
        assert question.turns[0].text.count(key_of(question)) == (5 if question is asked[0] else 7)
        first, last = question.units[0], question.units[-1]
        assert fenced(question).startswith("[")
        assert text[first.start : last.stop].split()[0] in fenced(question)


def test_every_question_fits_into_its_room() -> None:
    rng = random.Random(7)
    text = "\n".join(
        rng.choice(["Let x = 12345678.", "Therefore the sum is even", "因此答案是三。", "  if a:"])
        for _ in range(2_000)
    )
    for protocol in ReplyProtocol:
        asker = Scripted(Asking(protocol=protocol))
        model = (
            Marker([Range(n, n + 2, "decisive") for n in range(1, 1_990, 4)])
            if protocol is ReplyProtocol.UNITS
            else _first_words
        )
        room = reach(asker, text, 4_000)

        answers, asked = carry(discuss_long(asker, rollout(text), room), model)

        review_of(answers)
        assert len(asked) > 3
        assert max(question_tokens(question, 3.0) for question in asked) <= room


def _first_words(question: Question) -> str:
    """Mark the first line of what is shown, by a quote."""
    line = fenced(question).split("\n")[0]
    step = {"n": 1, "quote": line, "reason": "r", "label": "idle", "confidence": 0.9}
    return json.dumps({"steps": [step], "links": [], "covered": True, "finding": "f", "blame": 0})


def test_quotes_are_looked_for_in_the_part_that_was_shown() -> None:
    text = "\n".join(["Again the same line."] * 400)
    asker = Scripted(Asking(protocol=ReplyProtocol.QUOTES))

    answers, asked = carry(
        discuss_long(asker, rollout(text), reach(asker, text, 1_000)), _first_words
    )
    review = review_of(answers)

    # One step for each window, each at the window's own beginning.
    assert len(review.steps) == len(asked) > 2
    assert len({step.span for step in review.steps}) == len(asked)
    assert all(step.span.text(text) == "Again the same line." for step in review.steps)
    assert review.covered == Span(0, len(text))
    assert asked[1].units == ()
    assert "'Again the same line.', idle: r" in fenced(asked[1], "outline")


def test_a_cheap_outline_shows_the_text_in_the_place_of_reasons() -> None:
    text = sentences(80)
    asker = Scripted(Asking(style=Style.CHEAP))

    def model(question: Question) -> str:
        reply = json.loads(Marker([Range(2, 2, "decisive")])(question))
        for step in reply["steps"]:
            del step["reason"], step["confidence"]
        return json.dumps(reply)

    _, asked = carry(discuss_long(asker, rollout(text), reach(asker, text, 700)), model)

    assert fenced(asked[1], "outline") == "1001: unit 2, decisive: Then 2 and 2 make 4."


def test_a_window_that_fails_twice_makes_an_abstention_that_keeps_all_cost() -> None:
    text = sentences(80)
    asker = Scripted()
    model = Marker([Range(1, 80, "decisive")])
    asked_before: list[Question] = []

    def failing(question: Question) -> str:
        asked_before.append(question)
        return model(question) if len(asked_before) == 1 else "nothing"

    (answer,), asked = carry(discuss_long(asker, rollout(text), reach(asker, text, 700)), failing)

    assert isinstance(answer, Abstention)
    assert answer.kind is AbstentionKind.INVALID
    assert len(asked) == 3
    assert answer.usage.input_tokens == 3 * 101
    assert answer.usage.dollars == 0.75
    assert answer.raw.endswith("nothing\n\x1e\nnothing")


def test_a_window_is_mended_by_its_repair_turn() -> None:
    text = sentences(60)
    asker = Scripted()
    model = Marker([Range(1, 60, "decisive")])

    def sloppy(question: Question) -> str:
        return model(question) if len(question.turns) > 1 else "nothing"

    answers, asked = carry(discuss_long(asker, rollout(text), reach(asker, text, 700)), sloppy)

    assert len(review_of(answers).steps) == 1
    assert [len(question.turns) for question in asked] == [1, 3] * (len(asked) // 2)


def test_a_fault_in_a_later_window_keeps_the_cost_of_the_earlier_ones() -> None:
    text = sentences(80)
    asker = Scripted()
    model = Marker([Range(1, 80, "decisive")])

    def failing(question: Question) -> Any:
        if "<outline-" in question.turns[0].text:
            return ReviewerUnavailable("no reply")
        return model(question)

    (answer,), asked = carry(discuss_long(asker, rollout(text), reach(asker, text, 700)), failing)

    assert isinstance(answer, Abstention)
    assert (answer.kind, len(asked)) == (AbstentionKind.UNAVAILABLE, 2)
    assert answer.usage == COST


@pytest.mark.parametrize(
    ("text", "room", "words"),
    [
        (sentences(9), 500, "leave 0; a window needs 600"),
        (" \n ", 10_000, "no text to review"),
    ],
)
def test_what_cannot_be_asked_is_not_asked(text, room, words) -> None:
    (answer,), asked = carry(discuss_long(Scripted(), rollout(text), room), lambda _: "")

    assert asked == []
    assert isinstance(answer, Abstention)
    assert words in answer.reason


def test_a_part_without_steps_is_fine_but_a_whole_without_steps_is_not() -> None:
    text = sentences(80)
    asker = Scripted()
    room = reach(asker, text, 700)

    some = carry(discuss_long(asker, rollout(text), room), Marker([Range(1, 2, "setup")]))
    (answer,), _ = carry(discuss_long(asker, rollout(text), room), Marker([]))

    assert len(review_of(some[0]).steps) == 1
    assert isinstance(answer, Abstention)
    assert "mark no step in any part" in answer.reason


def reply_with(question: Question, **more: Any) -> str:
    low = int(fenced(question)[1:].partition("]")[0])
    step = {"n": 1, "first": low, "last": low, "reason": "r", "label": "idle", "confidence": 0.9}
    whole = {"links": [], "covered_first": 1, "covered_last": low + 1, "finding": "f", "blame": 0}
    return json.dumps({"steps": [step], **whole, **more})


def test_what_names_no_step_of_the_outline_is_set_aside() -> None:
    text = sentences(80)
    asker = Scripted()

    def model(question: Question) -> str:
        links = [{"from": 1001, "to": 1, "kind": "uses"}, {"from": 1999, "to": 1, "kind": "uses"}]
        return reply_with(question, links=links, blame=1998)

    answers, asked = carry(discuss_long(asker, rollout(text), reach(asker, text, 700)), model)
    review = review_of(answers)
    reasons = [item.reason for item in review.unplaced]

    assert review.blame is None
    assert len(review.links) == len(asked) - 1
    assert reasons.count("names step 1999, which the reply does not have") == len(asked)
    assert reasons.count("names step 1998, which the reply does not have") == len(asked)
    # "Covered from unit 1" is read from the first unit shown; two units of each window are.
    assert review.covered is not None
    assert len(cut_units(review.covered.text(text))) == 2


def test_a_step_with_the_number_of_an_earlier_one_is_repaired() -> None:
    text = sentences(80)
    asker = Scripted()

    def model(question: Question) -> str:
        if len(question.turns) > 1:
            assert "step 1001 has the number of an earlier step" in question.turns[2].text
            return reply_with(question)
        reply = json.loads(reply_with(question))
        if "<outline-" in question.turns[0].text:
            reply["steps"][0]["n"] = 1001
        return json.dumps(reply)

    answers, asked = carry(discuss_long(asker, rollout(text), reach(asker, text, 700)), model)

    review_of(answers)
    assert [len(question.turns) for question in asked[:3]] == [1, 1, 3]


def test_a_step_that_began_before_the_part_is_read_from_the_part_on() -> None:
    text = sentences(80)
    asker = Scripted()

    def model(question: Question) -> str:
        last = int(re.findall(r"(?m)^\[(\d+)\] ", fenced(question))[-1])
        step = {"n": 1, "first": 1, "last": last, "reason": "r", "label": "idle", "confidence": 1}
        return reply_with(question, steps=[step])

    answers, asked = carry(discuss_long(asker, rollout(text), reach(asker, text, 700)), model)
    review = review_of(answers)

    assert len(asked) > 2
    assert [step.span for step in review.steps] == [Span(0, len(text))]


def test_200_000_tokens_are_reviewed_in_a_128k_context() -> None:
    text = "\n".join(
        f"Step {n}: then {n} plus {n} makes {2 * n}, which the next line needs again."
        for n in range(1, 6_001)
    )
    assert len(text) > 440_000
    units = cut_units(text)
    per = 25
    ranges = [
        Range(first, min(first + per - 1, len(units)), LABELS[first // per % len(LABELS)])
        for first in range(1, len(units) + 1, per)
    ]
    model = Marker(ranges, 5)
    asker = Scripted()

    begun = time.process_time()
    answers, asked = carry(discuss_long(asker, rollout(text), 100_000), model)
    seconds = time.process_time() - begun
    review = review_of(answers)

    assert estimate_tokens(text, 3.0) > 200_000
    assert 4 <= len(asked) <= 8
    assert [step.label for step in review.steps] == [item.label for item in ranges]
    assert review.steps[4].span == Span(units[100].start, units[124].stop)
    assert review.blame == Blame(4)
    assert review.covered == Span(0, len(text))
    assert max(question_tokens(question, 3.0) for question in asked) <= 100_000
    assert seconds < 15


def test_a_part_with_a_step_that_was_set_aside_covers_nothing() -> None:
    text = sentences(80)
    asker = Scripted()
    marker = Marker([Range(1, 80, "decisive")])

    def model(question: Question) -> str:
        reply = json.loads(marker(question))
        if "Part 1 of" in question.turns[0].text:
            reply["steps"].append({"n": 9, "first": 900, "last": 901, "label": "idle"})
        return json.dumps(reply)

    answers, asked = carry(discuss_long(asker, rollout(text), reach(asker, text, 700)), model)
    review = review_of(answers)

    assert review.covered == Span(asked[1].units[0].start, len(text))
    assert [item.reason for item in review.unplaced] == [
        f"units 900 to 901 are not among 1 to {len(asked[0].units)}"
    ]
