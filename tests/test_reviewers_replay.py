"""Recorded reviews answer like any reviewer."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from dca.domain.errors import FormatError, ReplyInvalid, ReviewerUnavailable
from dca.domain.review import Blame, Link, LinkKind, Review, Soundness, Step
from dca.domain.rollout import Message, Rollout
from dca.domain.spans import Span
from reviewers.protocol import Reviewer
from reviewers.replay import Replay, load_recording

ROLLOUT = Rollout(
    "r1", "g1", "", (Message("system", "Be brief."), Message("user", "2 + 2?")), "2 + 2 = 4. So 4."
)
SPANS = [
    {"start": 11, "stop": 16, "label": "decisive", "confidence": 0.9, "reason": "the\nanswer"},
    {"start": 0, "stop": 10, "label": "contributing"},
]


def write(path: Path, *records: Any) -> Path:
    file = path / "recorded.jsonl"
    file.write_text("\n\n".join(json.dumps(record) for record in records) + "\n")
    return file


def replay(path: Path, *records: Any) -> Review:
    reviewer = Replay("kim", load_recording(write(path, *records)), kind="human")
    return asyncio.run(reviewer.review(ROLLOUT))


def test_a_recorded_review_is_answered_by_id(tmp_path: Path) -> None:
    links = [
        {"source": 1, "target": 0, "kind": "uses"},
        {"source": 0, "target": 5, "kind": "uses"},
    ]
    record = {"rollout_id": "r1", "spans": SPANS, "links": links, "covered": [0, 16], "blame": 1}

    review = replay(tmp_path, {"rollout_id": "r2", "spans": []}, record | {"soundness": "sound"})

    assert review.steps == (
        Step(Span(0, 10), "contributing"),
        Step(Span(11, 16), "decisive", 0.9, "the answer"),
    )
    assert review.links == (Link(0, 1, LinkKind.USES),)
    assert review.blame == Blame(0)
    assert review.soundness is Soundness.SOUND
    assert [item.quote for item in review.unplaced] == ["link 0 to 5"]
    assert json.loads(review.raw)["blame"] == 1


@pytest.mark.parametrize(
    "prompt",
    ["2 + 2?", [{"role": "system", "content": "x"}, {"role": "user", "content": "2 + 2?"}]],
)
def test_a_recorded_review_is_answered_by_prompt_and_completion(tmp_path: Path, prompt) -> None:
    review = replay(
        tmp_path,
        {"prompt": prompt, "completion": ROLLOUT.completion, "spans": SPANS, "covered": [0, 16]},
    )

    assert len(review.steps) == 2
    assert review.covered == Span(0, 16)
    assert (review.blame, review.soundness) == (None, None)


def test_a_null_blame_says_that_no_step_is_to_blame(tmp_path: Path) -> None:
    record = {"rollout_id": "r1", "spans": SPANS, "blame": None}

    assert replay(tmp_path, record).blame == Blame(None)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ({"start": 5, "stop": 99, "label": "idle"}, "no stretch of a text of 16 code points"),
        ({"start": 5, "stop": 5, "label": "idle"}, "no stretch"),
        ({"start": -1, "stop": 5, "label": "idle"}, "no stretch"),
        ({"start": 1, "stop": 5, "label": "nice"}, "unknown label 'nice'"),
        ({"start": 1, "stop": 5, "label": "idle", "confidence": 2}, "outside 0 to 1"),
    ],
)
def test_a_span_that_does_not_fit_is_set_aside(tmp_path: Path, bad, why: str) -> None:
    record = {"rollout_id": "r1", "spans": [bad, *SPANS], "covered": [0, 16], "blame": 0}

    review = replay(tmp_path, record)

    assert len(review.steps) == 2
    assert why in review.unplaced[0].reason
    assert review.covered is None
    assert review.blame is None
    with pytest.raises(ReplyInvalid, match="no recorded span"):
        replay(tmp_path, {"rollout_id": "r1", "spans": [bad]})


def test_a_covered_range_outside_the_text_is_set_aside(tmp_path: Path) -> None:
    review = replay(tmp_path, {"rollout_id": "r1", "spans": SPANS, "covered": [0, 17]})

    assert review.covered is None
    assert review.unplaced[0].quote == "covered"


def test_a_rollout_without_a_recorded_review_is_an_abstention(tmp_path: Path) -> None:
    with pytest.raises(ReviewerUnavailable, match="recorded"):
        replay(tmp_path, {"rollout_id": "other", "spans": SPANS})


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "line 1"),
        (b'\n{"rollout_id": "a", "spans": [{"start": 1}]}', "line 2.*stop"),
        (b'{"rollout_id": "a", "spans": []}\n{"rollout_id": "a", "spans": []}', "line 2.*already"),
        (b'{"prompt": "p", "spans": []}', "line 1: neither"),
        (b'{"completion": "c", "spans": []}', "line 1: neither"),
        (b'{"rollout_id": "\xff", "spans": []}', "line 1"),
        (b'{"rollout_id": "a", "spans": [], "links": [{"source": 0}]}', "line 1"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, content: bytes, why: str) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_bytes(content)

    with pytest.raises(FormatError, match=why):
        load_recording(file)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"absent\.jsonl: No such file"):
        load_recording(tmp_path / "absent.jsonl")


def test_another_recording_is_another_reviewer(tmp_path: Path) -> None:
    first = Replay("kim", load_recording(write(tmp_path, {"rollout_id": "a", "spans": []})))
    second = Replay("kim", load_recording(write(tmp_path, {"rollout_id": "b", "spans": []})))
    reviewer: Reviewer = first

    assert first.info.digest != second.info.digest
    assert (reviewer.info.kind, reviewer.info.family) == ("replay", "kim")
    assert (reviewer.prompt_digest, reviewer.labels.name) == ("recorded", "contribution-v1")
