"""Ingest: take answers that were made elsewhere to the requests of ``dca review --emit``.

An answer finds its review by the ``custom_id``. Taking the same file again changes nothing.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from dca.domain.review import Review, ReviewKey
from dca.formats.rejects import RejectsFile, rejects_file
from dca.formats.row import Reject
from dca.formats.source import Source
from dca.pipeline.answer_file import AnswerFile, Line, answer_file
from dca.pipeline.dialogues import Arrival, Became, Taken, take
from dca.pipeline.label_sets import keep_label_sets
from dca.pipeline.progress import Progress, Silent
from reviewers.batches.lines import outcome_of, without
from reviewers.exchange import Cause, Reply
from reviewers.model_reviewer import ModelReviewer
from reviewers.protocol import Reviewer
from store.engine import transaction, transactions
from store.jobs import finish_job, start_job
from store.replies import drop_answered
from store.reviews import add_reviewers, answered, pending_ids
from store.selection import Selection

PART = 200
"""Dialogues that are taken in one transaction."""
LOOKED_UP = 1_000
"""Reviews that are looked up in the file at once."""
FINAL = "no further turn was asked for (--final)"


@dataclass(slots=True)
class Ingested:
    """The answers to one reviewer's requests."""

    name: str
    reviews: int = 0
    abstentions: Counter[str] = field(default_factory=Counter[str])
    """By kind."""
    further: int = 0
    """Dialogues that ask another question: ``dca review --emit`` writes it."""
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class IngestResult:
    """What ``dca review --ingest`` did."""

    job: int
    answers: int
    """Lines of the file that name a request."""
    reviewers: tuple[Ingested, ...]
    before: int
    """Answers that were taken before, or whose review was answered otherwise."""
    rejected: Mapping[str, int]
    """Kind of reject to its number: ``broken``, ``unknown``, ``duplicate``, ``early``, ``failed``,
    ``strange``."""
    rejects_path: str | None
    """Where they are listed; ``None``: there are none."""
    seconds: float

    @property
    def complete(self) -> bool:
        """True when every answer became a review."""
        lacking = any(row.abstentions or row.further for row in self.reviewers)
        return not (lacking or self.rejected)


def ingest(
    engine: Engine,
    panel: Sequence[Reviewer],
    source: Source,
    rejects: Path,
    *,
    final: bool = False,
    retry_failed: bool = False,
    progress: Progress | None = None,
) -> IngestResult:
    """Take the answers of a file and store what follows.

    A valid answer becomes a review. One that is not valid is kept, and its dialogue goes on with
    the next file of requests, or becomes an abstention if this is final.

    Args:
        engine: The store.
        panel: Whose requests were answered.
        source: The answers: lines of OpenAI's or Anthropic's batches, or bare bodies.
        rejects: Where to list the answers that could not be used; made when there are any.
        final: Whether to end dialogues that would go on.
        retry_failed: Whether an answer may take the place of an abstention.
        progress: Listener.

    Raises:
        FormatError: The file cannot be read.
        ConfigError: The store uses the name of the label set for another one.
    """
    started = time.monotonic()
    models = [reviewer for reviewer in panel if isinstance(reviewer, ModelReviewer)]
    with rejects_file(rejects) as file, answer_file(source) as (answers, broken):
        work = _Work(engine, answers, file, FINAL if final else "", retry_failed)
        for reject in broken:
            work.reject("broken", reject)
        job = work.begin(models, str(rejects))
        progress = progress or Silent()
        progress.start(len(answers.keys), "answers")
        outcome = "failed"
        try:
            rows = tuple(work.take_all(reviewer, progress) for reviewer in models)
            work.leave_unknown()
            outcome = "done" if not work.rejected else "partial"
        finally:
            progress.finish()
            with transaction(engine) as session:
                finish_job(session, job, outcome, done=sum(answers.used))
        path = str(file.path) if file.count else None
    return IngestResult(
        job,
        len(answers.keys),
        rows,
        work.before,
        dict(work.rejected),
        path,
        time.monotonic() - started,
    )


@dataclass(slots=True)
class _Work:
    """One run of ingest."""

    engine: Engine
    answers: AnswerFile
    rejects: RejectsFile
    final: str
    again: bool
    before: int = 0
    rejected: Counter[str] = field(default_factory=Counter[str])
    open: set[str] = field(default_factory=set[str])
    """Dialogues of the reviewer at hand that go on."""

    def begin(self, models: Sequence[ModelReviewer], rejects: str) -> int:
        """Store who was asked; return the job's number."""
        with transaction(self.engine) as session:
            keep_label_sets(session, (reviewer.labels for reviewer in models))
            add_reviewers(session, [reviewer.info for reviewer in models])
            drop_answered(session)
            params = {"ingest": self.answers.name, "rejects": rejects}
            return start_job(session, "review", params, total=len(self.answers.keys))

    def reject(self, kind: str, reject: Reject) -> None:
        """List one line that could not be used."""
        self.rejected[kind] += 1
        self.rejects.add(reject)

    def _reject(self, kind: str, line: Line, reason: str) -> None:
        self.reject(kind, Reject(self.answers.name, line.number, reason, line.raw))

    def take_all(self, reviewer: ModelReviewer, progress: Progress) -> Ingested:
        """Take every answer to one reviewer's requests."""
        row = Ingested(reviewer.info.name)
        with transactions(self.engine) as session:
            for found in self._matched(session, reviewer):
                for part in _parts(found, PART):
                    self._take_part(session, reviewer, part, row)
                    progress.advance(sum(len(lines) for _, lines in part))
        row.further = len(self.open)
        self.open.clear()
        return row

    def _matched(
        self, session: Session, reviewer: ModelReviewer
    ) -> Iterator[list[tuple[str, list[Line]]]]:
        """Yield rollout id and lines of pending reviews that the file answers."""
        info, labels = reviewer.info, reviewer.labels.name
        key = info.digest, reviewer.prompt_digest, labels, 1
        ids = pending_ids(session, *key, Selection(), retry_failed=self.again)
        while some := list(islice(ids, LOOKED_UP)):
            dialogues = {ReviewKey(id_, *key).id: id_ for id_ in some}
            lines = self.answers.lines_of(list(dialogues))
            yield [(dialogues[dialogue], mine) for dialogue, mine in lines.items()]

    def _take_part(
        self,
        session: Session,
        reviewer: ModelReviewer,
        part: Sequence[tuple[str, list[Line]]],
        row: Ingested,
    ) -> None:
        """Take the lines of some dialogues, those of one dialogue one after the other."""
        longest = max(len(lines) for _, lines in part)
        for place in range(longest):
            turn = [(id_, lines[: place + 1]) for id_, lines in part if place < len(lines)]
            usable = [
                (arrival, lines[-1])
                for id_, lines in turn
                if (arrival := self._arrival(reviewer, id_, lines)) is not None
            ]
            taken = take(session, reviewer, [arrival for arrival, _ in usable], final=self.final)
            session.commit()
            for each, (_, line) in zip(taken, usable, strict=True):
                self._count(each, line, row)

    def _arrival(
        self, reviewer: ModelReviewer, rollout_id: str, lines: Sequence[Line]
    ) -> Arrival | None:
        """Return what the last line brings, ``None`` when it cannot be used."""
        line, custom_id = lines[-1], lines[-1].custom_id
        twins = (other for other in lines[:-1] if other.custom_id.turn == custom_id.turn)
        if any(twin.result.status == 200 for twin in twins):
            self._reject("duplicate", line, f"a second answer to {custom_id}")
            return None
        secret = os.environ.get(reviewer.endpoint.api_key_env or "", "")
        outcome = outcome_of(line.result, reviewer.dialect, secret=secret)
        body = b""
        if isinstance(outcome, Reply):
            body = without(line.result.body, secret)
        elif outcome.cause is Cause.STRANGE or not self.final:
            kind = "strange" if outcome.cause is Cause.STRANGE else "failed"
            self._reject(kind, line, f"{reviewer.info.name}: {outcome.message}")
            return None
        return Arrival(custom_id.dialogue, custom_id.turn, 0, (rollout_id,), outcome, body)

    def _count(self, taken: Taken, line: Line, row: Ingested) -> None:
        """Count what became of a line."""
        if taken.became is Became.BEFORE:
            self.before += 1
        elif taken.became is Became.EARLY:
            turn = line.custom_id.turn
            self._reject("early", line, f"answers turn {turn}, and an earlier one has no answer")
        elif taken.became is Became.AGAIN:
            self.open.add(taken.arrival.dialogue)
        elif taken.became is Became.ANSWERED:
            self.open.discard(taken.arrival.dialogue)
        for answer in taken.answers:
            if isinstance(answer, Review):
                row.reviews += 1
            else:
                row.abstentions[answer.kind.value] += 1
            row.input_tokens += answer.usage.input_tokens or 0
            row.output_tokens += answer.usage.output_tokens or 0

    def leave_unknown(self) -> None:
        """List the lines that belong to no pending review of the panel."""
        lines = self.answers.unused()
        with transactions(self.engine) as session:
            while some := list(islice(lines, LOOKED_UP)):
                done = answered(session, [line.custom_id.dialogue for line in some])
                session.commit()
                for line in some:
                    if line.custom_id.dialogue in done:
                        self.before += 1
                    else:
                        why = "no rollout of the store and reviewer of the panel has this review"
                        self._reject("unknown", line, f"{line.custom_id}: {why}")


def _parts(
    items: Sequence[tuple[str, list[Line]]], size: int
) -> Iterator[Sequence[tuple[str, list[Line]]]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
