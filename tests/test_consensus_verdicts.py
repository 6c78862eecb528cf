"""Blame and soundness of toy panels whose votes are counted by hand."""

import pytest

from dca.domain.consensus import ConsensusParams, Status
from dca.domain.review import Blame, Review, Soundness
from dca.domain.spans import Span
from tests.toy_panels import agree, review


def blaming(start: int, stop: int) -> Review:
    return review((start, stop, "harmful"), blame=Blame(0))


def test_the_blamed_step_is_what_a_quorum_blames() -> None:
    found = agree(
        "0123456789",
        {"a": blaming(2, 6), "b": blaming(4, 9), "c": blaming(3, 6)},
    )

    # 3-4: a, c; 4-6: a, b, c. Mean share (1 * 2/3 + 2 * 1) / 3 = 8/9.
    assert found.blame is not None
    assert (found.blame.status, found.blame.span) == (Status.AGREED, Span(3, 6))
    assert found.blame.share == pytest.approx(8 / 9)
    assert found.blame.votes["b"] == Span(4, 9)


def test_only_the_first_blamed_stretch_counts() -> None:
    twice = {"a": blaming(0, 2), "b": blaming(0, 2), "c": blaming(5, 7), "d": blaming(5, 7)}

    found = agree("0123456789", twice, panel="abcd")

    assert found.blame is not None
    assert (found.blame.status, found.blame.span, found.blame.share) == (
        Status.DISPUTED,
        None,
        0.5,
    )
    low = agree("0123456789", twice, panel="abcd", params=ConsensusParams(quorum=0.5))
    assert low.blame is not None
    assert low.blame.span == Span(0, 2)


def test_a_panel_can_agree_that_no_step_is_wrong() -> None:
    none = review((0, 2, "idle"), blame=Blame(None))

    found = agree("0123456789", {"a": none, "b": none, "c": blaming(0, 2)})

    assert found.blame is not None
    assert (found.blame.status, found.blame.span) == (Status.AGREED, None)
    assert found.blame.share == pytest.approx(2 / 3)


def test_one_verdict_alone_is_thin() -> None:
    found = agree("0123456789", {"a": blaming(0, 2), "b": review((0, 2, "harmful"))})

    assert found.blame is not None
    assert (found.blame.status, found.blame.span, found.blame.share) == (Status.THIN, None, 1.0)


@pytest.mark.parametrize(
    ("verdicts", "status", "verdict", "share"),
    [
        (("unsound", "unsound", "sound"), Status.AGREED, Soundness.UNSOUND, 2 / 3),
        (("sound", "sound", "unsure"), Status.AGREED, Soundness.SOUND, 1.0),
        (("sound", "unsound", "unsure"), Status.DISPUTED, None, 0.5),
        (("unsound", "unsure", "unsure"), Status.THIN, None, 1.0),
        (("unsure", "unsure", "unsure"), Status.UNCOVERED, None, 0.0),
    ],
)
def test_soundness_is_voted_on_and_unsure_is_no_vote(
    verdicts: tuple[str, ...], status: Status, verdict: Soundness | None, share: float
) -> None:
    said = {
        name: review((0, 4, "idle"), soundness=Soundness(word))
        for name, word in zip("abc", verdicts, strict=True)
    }

    found = agree("word", said).soundness

    assert found is not None
    assert (found.status, found.verdict) == (status, verdict)
    assert found.share == pytest.approx(share)
    assert found.votes["a"] == verdicts[0]
