"""Emit: write the requests of a review to files, for whoever answers them elsewhere.

Nothing is called, no key is read and the store stays as it is. Each request is about one rollout,
so that every answer stands for itself, and each model gets a file of its own, because that is
what servers and batch APIs take: one model a file.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from dca.domain.errors import NothingSelected
from dca.domain.rollout import Rollout
from dca.formats.outputs import new_file, with_word
from dca.pipeline.dialogues import Ask, ask_of, resume
from dca.pipeline.progress import Progress, Silent
from reviewers.batches.lines import CustomId, request_line
from reviewers.model_reviewer import ModelReviewer
from reviewers.protocol import Reviewer, review_key
from store.claims import claimed
from store.engine import transactions
from store.replies import replies_of
from store.reviews import count_pending, pending
from store.rollouts import count_rollouts
from store.selection import Selection

PAGE = 64
"""Rollouts in memory at once."""


@dataclass(slots=True)
class Emitted:
    """The requests of one reviewer."""

    name: str
    model: str
    path: str | None = None
    """``None``: there was nothing to write."""
    requests: int = 0
    further: int = 0
    """Of these, requests that go on with a dialogue whose earlier replies are kept."""
    held: int = 0
    """Reviews left out because another run or a batch is asking for them."""
    empty: int = 0
    """Rollouts left out because there is nothing to ask about them."""
    bytes: int = 0
    """Of all lines, not compressed."""


@dataclass(frozen=True, slots=True)
class EmitResult:
    """What ``dca review --emit`` did."""

    selected: int
    """Rollouts."""
    reviewers: tuple[Emitted, ...]
    """The models of the panel."""
    others: tuple[str, ...]
    """Members of the panel that ask no model: nothing is written for them."""


def emit(
    engine: Engine,
    panel: Sequence[Reviewer],
    selection: Selection,
    path: Path,
    *,
    retry_failed: bool = False,
    progress: Progress | None = None,
) -> EmitResult:
    """Write one request for each pending review of each model.

    Args:
        engine: The store.
        panel: Whose reviews.
        selection: Of which rollouts.
        path: The file; with several models each gets its name before the ending.
        retry_failed: Whether abstentions are pending.
        progress: Listener.

    Raises:
        NothingSelected: No rollout is selected.
        UsageError: A file exists.
    """
    progress = progress or Silent()
    models = [reviewer for reviewer in panel if isinstance(reviewer, ModelReviewer)]
    others = tuple(item.info.name for item in panel if not isinstance(item, ModelReviewer))
    with transactions(engine) as session, ExitStack() as files:
        selected = count_rollouts(session, selection)
        if not selected:
            raise NothingSelected("no rollout is selected", hint="see dca ls")
        done: list[Emitted] = []
        for reviewer in models:
            key = reviewer.info.digest, reviewer.prompt_digest, reviewer.labels.name, 1
            todo = count_pending(session, *key, selection, retry_failed=retry_failed)
            progress.start(todo, f"requests for {reviewer.info.name}")
            own = with_word(path, reviewer.info.name) if len(models) > 1 else path
            stream = files.enter_context(new_file(own)) if todo else None
            row = Emitted(reviewer.info.name, reviewer.info.model)
            done.append(row)
            if stream is not None:
                row.path = str(own)
                pages = pending(session, *key, selection, page=PAGE, retry_failed=retry_failed)
                for page in pages:
                    _write_page(session, reviewer, page, row, stream)
                    session.commit()
                    progress.advance(len(page))
            progress.finish()
    for row in done:
        if row.path is not None and not row.requests:
            Path(row.path).unlink()
            row.path = None
    return EmitResult(selected, tuple(done), others)


def _write_page(
    session: Session,
    reviewer: ModelReviewer,
    page: Sequence[Rollout],
    row: Emitted,
    stream: BinaryIO,
) -> None:
    """Write the requests about some rollouts."""
    keys = [review_key(reviewer, rollout).id for rollout in page]
    held = claimed(session, keys)
    kept = replies_of(session, keys)
    for key, rollout in zip(keys, page, strict=True):
        if key in held:
            row.held += 1
            continue
        standing = resume(reviewer, (rollout,), kept.get(key, ()))
        if standing.course.ended:
            row.empty += 1
            continue
        line = _line(reviewer, ask_of(reviewer, (rollout,), standing))
        stream.write(line)
        row.requests += 1
        row.further += standing.course.turn > 1
        row.bytes += len(line)


def _line(reviewer: ModelReviewer, ask: Ask) -> bytes:
    return request_line(reviewer.dialect, CustomId(ask.dialogue, ask.turn), ask.body) + b"\n"
