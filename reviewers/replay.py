"""A reviewer that answers from a file of recorded reviews: people, or a panel elsewhere.

One JSON object a line names a rollout, by ``rollout_id`` or by ``prompt`` and ``completion``,
and says what its reviewer said::

    {"rollout_id": "0f...", "spans": [{"start": 0, "stop": 41, "label": "setup"},
      {"start": 42, "stop": 90, "label": "harmful", "confidence": 0.9, "reason": "12, not 13"}],
     "links": [{"source": 0, "target": 1, "kind": "uses"}], "covered": [0, 90], "blame": 1}

Spans are code points of the completion; links and blame name positions in ``spans``. ``blame``
null says that no step is to blame; a part that is left out is not stated. A span, link or verdict
that does not fit is set aside in ``unplaced``, as in the reply of a model.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from dca.domain.errors import FormatError, ReplyInvalid, ReviewerUnavailable
from dca.domain.labels import CONTRIBUTION_V1, LabelSet
from dca.domain.review import (
    Blame,
    Link,
    LinkKind,
    Review,
    ReviewerInfo,
    Soundness,
    Step,
    Unplaced,
)
from dca.domain.rollout import ID_DIGITS, Message, Rollout, content_id
from dca.domain.spans import Span
from reviewers.protocol import review_key
from reviewers.values import clean


class _Span(msgspec.Struct):
    start: int
    stop: int
    label: str
    confidence: float | None = None
    reason: str = ""


class _Link(msgspec.Struct):
    source: int
    target: int
    kind: LinkKind


class _Turn(msgspec.Struct):
    role: str
    content: str


class _Record(msgspec.Struct):
    spans: list[_Span]
    rollout_id: str | None = None
    prompt: str | list[_Turn] | None = None
    completion: str | None = None
    links: list[_Link] = []
    covered: tuple[int, int] | None = None
    blame: int | msgspec.UnsetType | None = msgspec.UNSET
    soundness: Soundness | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """Recorded reviews of many rollouts by one reviewer."""

    digest: str
    """First 20 hexadecimal digits of the SHA-256 of the file's bytes."""
    lines: Mapping[str, bytes]
    """Rollout id, or the content id of prompt and completion, to the record's JSON."""

    def find(self, rollout: Rollout) -> bytes | None:
        """Return the record of ``rollout``, or ``None``."""
        by_id = self.lines.get(rollout.id)
        if by_id is not None:
            return by_id
        return self.lines.get(_text_key(rollout.problem, rollout.completion))


def load_recording(path: Path) -> Recording:
    """Read a file of recorded reviews.

    Raises:
        FormatError: The file cannot be read, or a line is no record, names no rollout, or names
            one that an earlier line named; the message says which line.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FormatError(f"{path}: {error.strerror}") from error
    lines: dict[str, bytes] = {}
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        key = _line_key(path, number, line)
        if key in lines:
            raise FormatError(f"{path}, line {number}: this rollout has a review already")
        lines[key] = line
    return Recording(hashlib.sha256(content).hexdigest()[:ID_DIGITS], lines)


def _line_key(path: Path, number: int, line: bytes) -> str:
    """Check one line and return the key of the rollout that it names."""
    try:
        record = _DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"{path}, line {number}: {error}") from error
    if record.rollout_id is not None:
        return record.rollout_id
    if record.prompt is None or record.completion is None:
        raise FormatError(
            f"{path}, line {number}: neither rollout_id nor both prompt and completion"
        )
    return _text_key(_problem(record.prompt), record.completion)


class Replay:
    """A reviewer that answers what was recorded, and abstains on every other rollout."""

    def __init__(
        self,
        name: str,
        recording: Recording,
        *,
        family: str = "",
        labels: LabelSet = CONTRIBUTION_V1,
        kind: Literal["replay", "human"] = "replay",
    ) -> None:
        """Describe the reviewer.

        Args:
            name: Name in the configuration, unique in a panel.
            recording: What it says.
            family: Base model or provider of whoever was recorded; by default the name.
            labels: The labels that the recording uses.
            kind: ``human`` when people were recorded.
        """
        self._recording = recording
        self._labels = labels
        settings = {"recording": recording.digest}
        self._info = ReviewerInfo(name, kind, family or name, "recorded", settings)

    @property
    def info(self) -> ReviewerInfo:
        """Who this is; another recording is another reviewer."""
        return self._info

    @property
    def prompt_digest(self) -> str:
        """``recorded``: how the recorded reviewer was asked is not known here."""
        return "recorded"

    @property
    def labels(self) -> LabelSet:
        """The labels that the recording uses."""
        return self._labels

    async def review(self, rollout: Rollout) -> Review:
        """Return the recorded review of ``rollout``.

        Raises:
            ReviewerUnavailable: Nothing was recorded for this rollout.
            ReplyInvalid: No recorded span fits the text.
        """
        line = self._recording.find(rollout)
        if line is None:
            raise ReviewerUnavailable("no review of this rollout was recorded")
        return self._read(rollout, line)

    def _read(self, rollout: Rollout, line: bytes) -> Review:
        """Return the review that one line holds."""
        record = _DECODER.decode(line)
        raw = line.decode()
        unplaced: list[Unplaced] = []
        placed: list[tuple[int, Step]] = []
        for position, said in enumerate(record.spans):
            fault = _span_fault(said, len(rollout.completion), self._labels)
            if fault:
                unplaced.append(Unplaced(f"span {position}", fault))
            else:
                span = Span(said.start, said.stop)
                step = Step(span, said.label, said.confidence, clean(said.reason))
                placed.append((position, step))
        if not placed:
            raise ReplyInvalid("no recorded span fits the text", raw=raw)
        placed.sort(key=lambda item: (item[1].span, item[0]))
        order = {position: place for place, (position, _) in enumerate(placed)}
        return Review(
            review_key(self, rollout),
            tuple(step for _, step in placed),
            _links(record.links, order, unplaced),
            _covered(record.covered, len(rollout.completion), unplaced),
            _blame(record.blame, order, unplaced),
            record.soundness,
            tuple(unplaced),
            raw=raw,
        )


_DECODER = msgspec.json.Decoder(_Record)


def _span_fault(said: _Span, length: int, labels: LabelSet) -> str:
    """Return why a recorded span cannot be a step, ``""`` when it can."""
    if not 0 <= said.start < said.stop <= length:
        return f"[{said.start}, {said.stop}) is no stretch of a text of {length} code points"
    if said.label not in labels:
        return f"unknown label {clean(said.label)[:40]!r}"
    if said.confidence is not None and not 0 <= said.confidence <= 1:
        return f"confidence {said.confidence:g} is outside 0 to 1"
    return ""


def _links(
    said: Sequence[_Link], order: Mapping[int, int], unplaced: list[Unplaced]
) -> tuple[Link, ...]:
    """Return the links whose ends are two steps."""
    links: dict[Link, None] = {}
    for link in said:
        source, target = order.get(link.source), order.get(link.target)
        if source is None or target is None or source == target:
            name = f"link {link.source} to {link.target}"
            unplaced.append(Unplaced(name, "its ends are not two spans of this review"))
        else:
            links[Link(source, target, link.kind)] = None
    return tuple(links)


def _covered(said: tuple[int, int] | None, length: int, unplaced: list[Unplaced]) -> Span | None:
    """Return the covered range; none where a span was set aside, whose text was not idle."""
    if said is None or unplaced:
        return None
    if not 0 <= said[0] < said[1] <= length:
        unplaced.append(Unplaced("covered", f"[{said[0]}, {said[1]}) is no stretch of the text"))
        return None
    return Span(*said)


def _blame(
    said: int | msgspec.UnsetType | None, order: Mapping[int, int], unplaced: list[Unplaced]
) -> Blame | None:
    """Return the blame, ``None`` when there is no verdict."""
    if said is msgspec.UNSET:
        return None
    if said is None:
        return Blame(None)
    if said not in order:
        unplaced.append(Unplaced(f"blame {said}", "names no span of this review"))
        return None
    return Blame(order[said])


def _problem(prompt: str | list[_Turn]) -> str:
    """Return the text of a recorded prompt that identifies the problem, as a rollout does."""
    if isinstance(prompt, str):
        return prompt
    turns = tuple(Message(turn.role, turn.content) for turn in prompt)
    return Rollout("", "", "", turns, "-").problem


def _text_key(problem: str, completion: str) -> str:
    """Return the key of a rollout that is named by its text."""
    return content_id("recorded", problem, completion)
