"""Sheets of a person: written for the rollouts that wait, taken back when they are filled in."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from dca.domain.errors import NothingSelected, ReplyInvalid
from dca.domain.review import Review
from dca.domain.rollout import Rollout
from dca.formats.jsonl import jsonl_rows
from dca.formats.outputs import new_file
from dca.formats.row import Reject, Row
from dca.formats.source import Source, open_source
from dca.pipeline.label_sets import keep_label_sets
from reviewers.human import Human
from reviewers.protocol import review_key
from store.engine import transaction, transactions
from store.reviews import add_answers, add_reviewers, answered, pending
from store.rollouts import count_rollouts, iter_rollouts
from store.selection import Selection

PAGE = 200
"""Sheets in memory at once."""


@dataclass(frozen=True, slots=True)
class Written:
    """What ``dca panel sheet`` did."""

    reviewer: str
    path: str | None
    """``None``: nothing waits, and no file was written."""
    sheets: int


@dataclass(frozen=True, slots=True)
class WrongSheet:
    """A sheet that was not taken."""

    line: int
    """Of the file, from 1."""
    rollout_id: str
    """``""`` where the sheet names none."""
    reason: str


@dataclass(slots=True)
class Taken:
    """What ``dca panel take`` did."""

    reviewer: str
    taken: int = 0
    """Reviews that were stored."""
    before: int = 0
    """Sheets of rollouts that this person had reviewed before; a review never changes."""
    blank: int = 0
    """Sheets that are not filled in."""
    wrong: list[WrongSheet] = field(default_factory=list[WrongSheet])


def write_sheets(engine: Engine, human: Human, selection: Selection, path: Path) -> Written:
    """Write a sheet for each selected rollout that a person has not reviewed.

    Args:
        engine: The store.
        human: Who fills the sheets in.
        selection: Of which rollouts.
        path: A new file of JSON Lines.

    Raises:
        NothingSelected: No rollout is selected.
        UsageError: The file exists.
        FormatError: It cannot be written.
    """
    info, count = human.info, 0
    key = info.digest, human.prompt_digest, human.labels.name, 1
    with transactions(engine) as session:
        if not count_rollouts(session, selection):
            raise NothingSelected("no rollout is selected", hint="see dca ls")
        pages = pending(session, *key, selection, page=PAGE)
        first = next(pages, None)
        if first is None:
            return Written(info.name, None, 0)
        with new_file(path) as stream:
            for page in (first, *pages):
                for rollout in page:
                    stream.write(_line(human.sheet(rollout)))
                    count += 1
    return Written(info.name, str(path), count)


def _line(sheet: Mapping[str, object]) -> bytes:
    """Return a sheet as a line that people can read."""
    return json.dumps(sheet, ensure_ascii=False).encode() + b"\n"


def take_sheets(engine: Engine, human: Human, source: Source) -> Taken:
    """Store the reviews of the sheets that are filled in; taking them again changes nothing.

    A wrong sheet is left out and named with its line; the others are stored.

    Raises:
        FormatError: The file cannot be read.
        ConfigError: The store uses the name of the label set for another one.
    """
    result = Taken(human.info.name)
    with open_source(source) as stream:
        rows = jsonl_rows(source.name, stream)
        while page := list(islice(rows, PAGE)):
            with transaction(engine) as session:
                keep_label_sets(session, [human.labels])
                add_reviewers(session, [human.info])
                add_answers(session, list(_read_page(session, human, page, result)))
    return result


def _read_page(
    session: Session, human: Human, page: Sequence[Row | Reject], result: Taken
) -> Iterator[Review]:
    """Yield the new reviews of some sheets; count everything."""
    ids = {_named(item) for item in page if isinstance(item, Row)}
    rollouts = _rollouts(session, ids)
    keys = {key: review_key(human, rollout).id for key, rollout in rollouts.items()}
    done = set(answered(session, list(keys.values()), again=True))
    for item in page:
        name = _named(item) if isinstance(item, Row) else ""
        try:
            review = _read(human, item, rollouts.get(name))
        except ReplyInvalid as error:
            result.wrong.append(WrongSheet(item.line, name, str(error)))
            continue
        if review is None:
            result.blank += 1
        elif review.key.id in done:
            result.before += 1
        else:
            done.add(review.key.id)
            result.taken += 1
            yield review


def _named(row: Row) -> str:
    """Return the id of the rollout that a sheet names."""
    return str(row.fields.get("rollout_id") or "")


def _rollouts(session: Session, ids: set[str]) -> dict[str, Rollout]:
    """Return the rollouts that sheets name and the store holds."""
    named = tuple(sorted(ids - {""}))
    if not named:
        return {}
    pages = iter_rollouts(session, Selection(ids=named), arrays=False)
    return {rollout.id: rollout for page in pages for rollout in page}


def _read(human: Human, item: Row | Reject, rollout: Rollout | None) -> Review | None:
    """Return what one sheet says.

    Raises:
        ReplyInvalid: It cannot be taken.
    """
    if isinstance(item, Reject):
        raise ReplyInvalid(item.reason)
    if rollout is None:
        raise ReplyInvalid("its rollout_id names no rollout of the store")
    return human.read(rollout, item.fields, item.raw.decode("utf-8", "surrogatepass"))
