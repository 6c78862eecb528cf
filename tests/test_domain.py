"""The words: what they refuse, and ids that are the same everywhere."""

import copy
import pickle
from array import array
from dataclasses import FrozenInstanceError, replace

import pytest

from dca.domain import errors
from dca.domain.consensus import AgreedSpan, Consensus, Status
from dca.domain.labels import CONTRIBUTION_V1, Label, LabelSet, differences
from dca.domain.review import Blame, Link, LinkKind, Review, ReviewerInfo, ReviewKey, Step
from dca.domain.rollout import (
    Message,
    Rollout,
    Sampling,
    Tokens,
    content_id,
    group_id,
    rollout_id,
)
from dca.domain.spans import Span

KEY = ReviewKey("r", "d", "rules", "contribution-v1")


def test_a_span_is_a_half_open_range() -> None:
    assert len(Span(2, 5)) == 3
    assert Span(2, 5).text("0123456") == "234"
    assert Span(2, 5).overlap(Span(4, 9)) == 1
    assert Span(2, 5).overlap(Span(5, 9)) == 0
    assert sorted([Span(2, 5), Span(0, 9)]) == [Span(0, 9), Span(2, 5)]


def test_a_span_is_a_value() -> None:
    span = Span(2, 5)

    again = pickle.loads(pickle.dumps(span))  # noqa: S301 - written on this line
    assert span == Span(stop=5, start=2) == again == copy.copy(span)
    assert hash(span) == hash(Span(2, 5))
    assert repr(span) == "Span(start=2, stop=5)"
    assert replace(span, stop=9) == Span(2, 9)
    with pytest.raises(ValueError, match="is not a range"):
        replace(span, stop=1)
    with pytest.raises(FrozenInstanceError):
        setattr(span, "stop", 9)  # noqa: B010 - the type checker refuses the assignment
    assert not hasattr(span, "__dict__")


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (3, 2)])
def test_a_span_never_runs_backwards(start: int, stop: int) -> None:
    with pytest.raises(ValueError, match="is not a range of the text"):
        Span(start, stop)


def test_equal_label_sets_have_equal_hashes_and_a_name_alone_makes_none_equal() -> None:
    same = LabelSet(CONTRIBUTION_V1.name, CONTRIBUTION_V1.labels)
    other = LabelSet(CONTRIBUTION_V1.name, (label(),))

    assert {same: 1} == {CONTRIBUTION_V1: 1}
    assert {CONTRIBUTION_V1: 1}.get(other) is None


def test_labels_are_found_by_key_and_have_codes_in_order() -> None:
    assert CONTRIBUTION_V1.keys == (
        "decisive",
        "contributing",
        "indirect",
        "setup",
        "idle",
        "harmful",
    )
    assert [label.letter for label in CONTRIBUTION_V1] == ["D", "C", "I", "S", "R", "X"]
    assert [label.value for label in CONTRIBUTION_V1] == [1.0, 1.0, 0.5, 0.0, 0.0, -1.0]
    assert len(CONTRIBUTION_V1) == 6
    assert CONTRIBUTION_V1.code("harmful") == 5
    assert CONTRIBUTION_V1["idle"].letter == "R"
    assert "setup" in CONTRIBUTION_V1
    assert "good" not in CONTRIBUTION_V1
    with pytest.raises(KeyError):
        CONTRIBUTION_V1.code("good")


def label(key: str = "a", letter: str = "A", value: float = 0.0) -> Label:
    return Label(key, letter, value, "x")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ((), "has 0"),
        (tuple(label(f"k{n}", chr(65 + n)) for n in range(9)), "has 9"),
        ((label(), label(letter="B")), "repeats a key or a letter"),
        ((label(), label(key="b")), "repeats a key or a letter"),
        ((label(value=1.5),), "outside"),
        ((label(letter="a"),), "is not one capital"),
        ((label(letter="AB"),), "is not one capital"),
    ],
)
def test_a_label_set_that_cannot_be_told_apart_is_refused(labels, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LabelSet("mine", labels)


def test_the_digest_of_a_label_set_covers_every_field_and_the_order() -> None:
    first, second = Label("a", "A", 1, "x"), Label("b", "B", 0.0, "y")
    kept = LabelSet("mine", (first, second))

    same = [LabelSet("other name", (first, Label("b", "B", -0.0, "y"))), kept]
    edits = {
        (first, Label("c", "B", 0.0, "y")): ("label 'b' is gone", "label 'c' is new"),
        (first, Label("b", "C", 0.0, "y")): ("'b' has letter C, had B",),
        (first, Label("b", "B", -0.1, "y")): ("'b' has value -0.1, had 0.0",),
        (first, Label("b", "B", 0.0, "z")): ("'b' has another description",),
        (second, first): ("the order is b, a, was a, b",),
        (first,): ("label 'b' is gone",),
    }

    assert CONTRIBUTION_V1.digest == "4ad7ea517b530bdae864"
    for given in same:
        assert given.digest == kept.digest
        assert differences(kept, given) == ()
    for labels, said in edits.items():
        given = LabelSet("mine", labels)
        assert given.digest != kept.digest
        assert differences(kept, given) == said


def test_the_problem_is_the_last_user_turn() -> None:
    turns = (Message("system", "s"), Message("user", "one"), Message("user", "two"))

    assert Rollout("r", "g", "", turns, "x").problem == "two"
    assert Rollout("r", "g", "", turns[:1], "x").problem == "s"
    assert Rollout("r", "g", "", (), "x").problem == ""


def test_a_rollout_needs_text_and_marks_inside_it() -> None:
    with pytest.raises(ValueError, match="needs a completion"):
        Rollout("r", "g", "", (), "")
    with pytest.raises(ValueError, match="think span ends at 9, the text at 3"):
        Rollout("r", "g", "", (), "abc", think=Span(0, 9))
    with pytest.raises(ValueError, match="answer span"):
        Rollout("r", "g", "", (), "abc", answer=Span(0, 4))


def test_token_arrays_have_one_length() -> None:
    ids = array("i", [1, 2])

    assert len(Tokens(ids, exact=True)) == 2
    with pytest.raises(ValueError, match="3 offsets for 2 tokens"):
        Tokens(ids, exact=True, offsets=array("i", [0, 1, 2]))
    with pytest.raises(ValueError, match="1 log-probabilities for 2 tokens"):
        Tokens(ids, exact=True, logprobs=array("f", [-1.0]))


@pytest.mark.parametrize(
    ("sampling", "cut"),
    [
        (Sampling(), False),
        (Sampling(temperature=0.7, top_p=1.0, top_k=0, min_p=0.0), False),
        (Sampling(top_k=-1), False),
        (Sampling(top_p=0.9), True),
        (Sampling(top_k=20), True),
        (Sampling(min_p=0.05), True),
    ],
)
def test_a_sampler_that_cuts_candidates_is_seen(sampling: Sampling, cut: bool) -> None:
    assert sampling.renormalised is cut


def test_ids_are_stable_and_depend_on_every_part() -> None:
    turn = (Message("user", "Wie viele Äpfel?"),)
    parts = {
        "source_id": "",
        "group": "g",
        "prompt": turn,
        "completion": "drei 🍎",
        "model": "m",
        "step": 3,
        "occurrence": 0,
    }
    first = rollout_id(**parts)

    # Known values: an id must never change between versions, machines or Pythons.
    assert content_id("a", 1, None, {"b": "ü"}) == "0aeacd4168a0ca4d54af"
    assert len(first) == 20
    changed = {
        "source_id": "7",
        "group": "h",
        "prompt": (Message("system", "Wie viele Äpfel?"),),
        "completion": "drei 🍏",
        "model": "n",
        "step": None,
        "occurrence": 1,
    }
    others = {rollout_id(**{**parts, name: value}) for name, value in changed.items()}
    assert len(others | {first}) == len(changed) + 1
    assert group_id("t", turn, "m", 1) != group_id("t", turn, "m", 2)


def test_a_reviewer_with_other_settings_is_another_reviewer() -> None:
    one = ReviewerInfo("a", "openai", "f", "m", {"temperature": 0.0})

    assert one.digest == ReviewerInfo("a", "openai", "f", "m", {"temperature": 0.0}).digest
    assert one.digest != ReviewerInfo("a", "openai", "f", "m", {"temperature": 1.0}).digest
    assert KEY.id != ReviewKey("r", "d", "rules", "contribution-v1", 2).id


def test_a_review_names_only_steps_that_it_has() -> None:
    step = Step(Span(0, 1), "idle")

    assert Review(KEY, (step,), blame=Blame(0)).blame == Blame(0)
    assert Review(KEY, (step,), blame=Blame(None)).blame == Blame(None)
    with pytest.raises(ValueError, match=r"outside 0\.\.0"):
        Review(KEY, (step,), (Link(0, 1, LinkKind.USES),))
    with pytest.raises(ValueError, match=r"outside 0\.\.0"):
        Review(KEY, (step,), blame=Blame(1))
    with pytest.raises(ValueError, match="a step holds no text"):
        Review(KEY, (Step(Span(3, 3), "idle"),))


def test_status_shares_are_by_character() -> None:
    def part(start: int, stop: int, status: Status) -> AgreedSpan:
        return AgreedSpan(Span(start, stop), status, None, 0.0, {}, {}, 1.0, 1.0)

    found = Consensus("r", (part(0, 6, Status.AGREED), part(6, 8, Status.THIN)))

    assert found.shares() == {
        Status.AGREED: 0.75,
        Status.DISPUTED: 0.0,
        Status.THIN: 0.25,
        Status.UNCOVERED: 0.0,
    }


def test_every_error_is_in_the_tree_drawn_in_the_docstring() -> None:
    classes = [
        item
        for item in vars(errors).values()
        if isinstance(item, type) and issubclass(item, errors.DcaError)
    ]
    drawn = errors.__doc__ or ""

    for item in classes:
        line = next(line for line in drawn.splitlines() if item.__name__ in line.split())
        if "exit" in line:
            assert int(line.rsplit("exit", 1)[1]) == item.exit_code
        depth = (len(line) - len(line.lstrip(" │├└─"))) // 4
        assert depth == len(item.__mro__) - 4 + 1, item  # object, BaseException, Exception


def test_an_error_carries_what_to_do_next() -> None:
    error = errors.ConfigError("no such key", hint="did you mean 'quorum'?")

    assert str(error) == "no such key"
    assert error.hint == "did you mean 'quorum'?"
    assert error.exit_code == 2
