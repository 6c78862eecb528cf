import asyncio
import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dca.domain.rollout import Message, Rollout
from reviewers.rules import RULES, offline_panel

PIECES = [
    *"0123456789",
    *" .,;:!?()[]{}+-*/=%$^_&#\\\n\t'\"<>|~√²½",
    *["3 + 4 = 7", "3 * 4 = 13", " x ", "<<3+4=7>>7", "20% of 50 is 10", "Wait, ", "no, "],
    *[
        "that's wrong. ",
        "Let me check: ",
        "Hmm, ",
        "A: 7",
        "The answer is 12.",
        "\\boxed{",
        "#### ",
    ],
    *[
        "\\frac{1}{2}",
        "\\times",
        "half of ",
        "twice the ",
        "a third ",
        "twenty-",
        "five ",
        "million ",
    ],
    *[
        "apples ",
        "so ",
        "because ",
        "x = 5",
        "2x",
        "３＋４＝８ ",
        "，０００",
        "| 3 + 4 = 8 |\n",
        "<b>",
        "</td>",
        "<x y='",
        "<think>",
        "</think>",
        "😀",
        "שלום",
        "好。",
        "e\u0301",
    ],
    *["1,000", "1,2", "3:30", ".5", "1e9", "1e999", "7!", "**", "is ", "equals ", "therefore "],
]
HOSTILE = {
    "spaces": " ",
    "digits": "9",
    "digits apart": "9 ",
    "brackets": "(",
    "closing brackets": "1)",
    "open sums": "(1+",
    "equalities": "1=",
    "words and equalities": "a b = ",
    "sums": "1+",
    "chains": "1+1=",
    "dots": ".",
    "exclamations": "!",
    "quotes": '."',
    "marks": "<<",
    "fractions": "\\frac{",
    "boxes": "\\boxed{",
    "answers": "the answer is ",
    "cues": "wait, ",
    "retractions": "no, that's wrong. ",
    "shares": "half of ",
    "units": "1 a a a a ",
    "algebra": "2x=3y+",
    "algebra in words": "x + 3 is 2x ",
    "marks in a row": "<<1+1=2>>=",
    "number words": "two holes * ",
    "conclusions": "so then ",
    "emoji": "😀",
    "right to left": "שלום 3 + 4 = 7. ",
    "line ends": "\n",
    "open tags": "<a b=",
    "tags with values": "<a b=1 c='2' d=\"3\">4+",
    "tags without end": "<a b=1 b=1 b=1 b=1 b=1 b=1 b=1 ",
    "bars": "|",
    "bars and equalities": "| 1+1=2 ",
    "rows": "| 1 + 1 = 2 |\n",
    "bars after line breaks of LaTeX": "\\\\| ",
    "full-width digits": "９",
    "full-width sums": "１，０００＋１＝",
    "lone links": "1+1=2=2=",
    "json": '{"a": 1, ',
}


def rollout(completion, problem="Tom has 3 pens.", reward=0.0):
    return Rollout("r", "g", "t", (Message("user", problem),), completion, reward=reward)


def check(name, item):
    found = RULES[name]().read(item)
    spans = [step.span for step in found.steps]
    assert all(0 <= span.start < span.stop <= len(item.completion) for span in spans)
    assert all(a.stop <= b.start for a, b in pairwise(spans))
    assert all(step.label in RULES[name].needs for step in found.steps)
    assert all(0 <= (step.confidence or 0) <= 1 for step in found.steps)
    assert all(link.source < link.target < len(spans) for link in found.links)
    assert RULES[name]().read(item) == found


TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=40).map("".join),
)


@pytest.mark.parametrize("name", list(RULES))
@settings(max_examples=150, deadline=None)
@given(text=TEXTS, problem=TEXTS, reward=st.sampled_from([None, 0.0, 1.0]))
def test_every_rule_survives_any_text(name, text, problem, reward):
    check(name, rollout(text, problem, reward))


@pytest.mark.parametrize("unit", HOSTILE.values(), ids=HOSTILE)
def test_time_grows_no_faster_than_the_text(unit):
    def seconds(size):
        item = rollout((unit * (size // len(unit) + 1))[:size])
        start = time.process_time()
        for name in RULES:
            RULES[name]().read(item)
        return time.process_time() - start

    # The best of some runs: a machine that stalls for a moment is not what is measured.
    small, large = (min(seconds(size) for _ in range(3)) for size in (2_000, 16_000))

    # Eight times the text: quadratic work would take 64 times as long.
    assert large < 30 * small + 0.3


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("arithmetic", "("),
        ("dataflow", " "),
        ("dataflow", "9"),
        ("revision", "no digits here. "),
        ("novelty", "wait, "),
    ],
)
def test_a_megabyte_is_survived(name, unit):
    text = (unit * (1_000_000 // len(unit) + 1))[:1_000_000]

    found = RULES[name]().read(rollout(text))

    assert all(step.span.stop <= len(text) for step in found.steps)


def test_the_panel_answers_for_an_ordinary_chain():
    item = rollout("He has 3 * 4 = 12 pens.\nA: 12", "Tom has 3 boxes of 4 pens.", 1.0)

    async def ask():
        return [await reviewer.review(item) for reviewer in offline_panel()]

    reviews = asyncio.run(ask())

    assert [[step.label for step in review.steps] for review in reviews] == [
        ["decisive"],
        ["decisive", "idle"],
        [],
        ["decisive", "idle"],
    ]
    assert len({review.key.id for review in reviews}) == 4
