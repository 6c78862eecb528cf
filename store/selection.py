r"""Which rollouts a command works on: the grammar of ``--where`` and its SQL conditions.

words "a phrase"     the completion or the prompt holds them, in any case; all must match
task:x model:m       exact; several of one key: any of them
group:g id:7f3a      exact group; start of an id
step:120             training step; also step:120..200, step:120.., step:..200
reward:<1            also <=, >, >=, = or a bare number; several: all must hold
ids:exact            with the sampled token ids; also ids:approximate, ids:none
-word -task:x        not these; for words, task and model
task:"two words"     quotes keep spaces; \" is a quote inside them
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from operator import eq, ge, gt, le, lt
from typing import Any

from sqlalchemy import (
    ARRAY,
    BindParameter,
    ColumnElement,
    String,
    and_,
    any_,
    bindparam,
    func,
    not_,
    or_,
    select,
)
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.types import TypeEngine

from dca.domain.errors import SelectionError
from store.codecs import storable, to_json
from store.tables import RolloutRow

_COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {
    "<=": le,
    ">=": ge,
    "<": lt,
    ">": gt,
    "=": eq,
}
_FIELDS = {"task": "tasks", "model": "models", "group": "groups", "id": "id_starts"}
_NEGATABLE = ("task", "model")
_FORMS = {
    "task": "task:NAME",
    "model": "model:NAME",
    "group": "group:ID",
    "id": "id:START",
    "step": "step:120, step:120..200, step:120.. or step:..200",
    "reward": "reward:1, reward:<1, reward:<=1, reward:>0.5 or reward:>=0.5",
    "ids": "ids:exact, ids:approximate or ids:none",
}
_TOKEN_IDS: Mapping[str, bool | None] = {"exact": True, "approximate": False, "none": None}
"""Word to what the column ``ids_exact`` holds."""
_TERM = re.compile(
    r'(?P<minus>-?)(?>(?:(?P<key>[A-Za-z_]+):)?)(?:"(?P<quoted>(?:\\"|[^"])*)"|(?P<bare>(?:[^\s"]\S*)?))'
    r"(?=\s|$)"
)
_STEP = re.compile(r"(?P<only>\d+)|(?P<first>\d*)\.\.(?P<last>\d*)")
_REWARD = re.compile(r"(?P<op><=|>=|<|>|=|)(?P<value>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)")


@dataclass(frozen=True, slots=True)
class RewardBound:
    """A comparison that the reward must meet; rollouts without a reward never do."""

    compare: str
    """``<``, ``<=``, ``>``, ``>=`` or ``=``."""
    value: float


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rollouts; the empty selection is all of them."""

    words: tuple[str, ...] = ()
    """Each must be in the completion or the prompt, in any case."""
    not_words: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    """Any of them; empty: every task."""
    not_tasks: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    not_models: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    id_starts: tuple[str, ...] = ()
    """Any of these starts of an id."""
    first_step: int | None = None
    """Smallest training step, inclusive."""
    last_step: int | None = None
    """Largest training step, inclusive."""
    rewards: tuple[RewardBound, ...] = ()
    """All must hold."""
    token_ids: tuple[str, ...] = ()
    """Any of ``exact`` (sampled), ``approximate`` (made from the text) and ``none``."""
    ids: tuple[str, ...] | None = None
    """Only these rollouts, whole ids, any number; ``None``: no such limit."""
    limit: int | None = None
    """At most this many, the first in the order of (group, id)."""
    sample: int | None = None
    """This many at random, fixed by ``seed``; taken before ``limit``."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a negative limit or sample."""
        for name, value in (("limit", self.limit), ("sample", self.sample)):
            if value is not None and value < 0:
                raise SelectionError(f"{name} {value} is negative")


@dataclass(frozen=True, slots=True)
class _Term:
    text: str
    key: str | None
    value: str | None
    """``None`` when the term cannot be read at all."""
    negated: bool


def parse_where(where: str) -> Selection:
    """Read a ``--where`` text.

    Raises:
        SelectionError: Naming every term that cannot be read and what is allowed.
    """
    selection = Selection()
    faults: list[str] = []
    for term in _terms(where):
        try:
            selection = _with(selection, term)
        except SelectionError as error:
            faults.append(str(error))
    if faults:
        raise SelectionError(
            "; ".join(faults),
            hint='Terms are words, "phrases", ' + ", ".join(_FORMS) + ":VALUE, and -word, "
            "-task:, -model: to exclude; put text that holds a colon in quotes.",
        )
    return selection


def _terms(where: str) -> Iterator[_Term]:
    position = 0
    while position < len(where):
        if where[position].isspace():
            position += 1
            continue
        match = _TERM.match(where, position)
        if match is None:
            broken = where[position:].split(maxsplit=1)[0]
            yield _Term(broken, None, None, negated=False)
            position += len(broken)
            continue
        quoted = match["quoted"]
        value = match["bare"] if quoted is None else quoted.replace('\\"', '"')
        yield _Term(match[0], match["key"], value, negated=bool(match["minus"]))
        position = match.end()


def _with(selection: Selection, term: _Term) -> Selection:
    """Return the selection narrowed by one term."""
    if term.value is None:
        raise SelectionError(f"{term.text!r}: a quote is left open or is followed by text")
    if term.key is None:
        return _also(selection, term, "words")
    if term.key not in _FORMS:
        near = get_close_matches(term.key.lower(), _FORMS, n=1)
        guess = f", did you mean {near[0]}:?" if near else ""
        raise SelectionError(f"{term.text!r}: unknown key {term.key!r}{guess}")
    if term.negated and term.key not in _NEGATABLE:
        raise SelectionError(f"{term.text!r}: {term.key} cannot be excluded")
    if term.key == "step":
        return _with_steps(selection, term.text, term.value)
    if term.key == "reward":
        return _with_reward(selection, term.text, term.value)
    if term.key == "ids":
        return _with_token_ids(selection, term.text, term.value)
    return _also(selection, term, _FIELDS[term.key])


def _also(selection: Selection, term: _Term, field: str) -> Selection:
    if not term.value:
        raise SelectionError(f"{term.text!r} has no value")
    field = f"not_{field}" if term.negated else field
    return replace(selection, **{field: (*getattr(selection, field), term.value)})


def _with_steps(selection: Selection, text: str, value: str) -> Selection:
    match = _STEP.fullmatch(value)
    if match is None or value == "..":
        raise SelectionError(f"{text!r}: wanted {_FORMS['step']}")
    first, last = (value, value) if match["only"] else (match["first"], match["last"])
    if first and last and int(first) > int(last):
        raise SelectionError(f"{text!r} runs backwards")
    lows = [int(first)] if first else []
    highs = [int(last)] if last else []
    lows += [] if selection.first_step is None else [selection.first_step]
    highs += [] if selection.last_step is None else [selection.last_step]
    return replace(
        selection, first_step=max(lows, default=None), last_step=min(highs, default=None)
    )


def _with_reward(selection: Selection, text: str, value: str) -> Selection:
    match = _REWARD.fullmatch(value)
    if match is None:
        raise SelectionError(f"{text!r}: wanted {_FORMS['reward']}")
    bound = RewardBound(match["op"] or "=", float(match["value"]))
    return replace(selection, rewards=(*selection.rewards, bound))


def _with_token_ids(selection: Selection, text: str, value: str) -> Selection:
    if value not in _TOKEN_IDS:
        raise SelectionError(f"{text!r}: wanted {_FORMS['ids']}")
    return replace(selection, token_ids=(*selection.token_ids, value))


def conditions(selection: Selection, dialect: str) -> list[ColumnElement[bool]]:
    """Return what a row of ``rollouts`` must meet; ``limit`` and ``sample`` are not among it.

    Args:
        selection: What to keep.
        dialect: ``sqlite`` or ``postgresql``.
    """
    row = RolloutRow
    found = [_holds(word) for word in selection.words]
    found += [not_(_holds(word)) for word in selection.not_words]
    for column, wanted, unwanted in (
        (row.task, selection.tasks, selection.not_tasks),
        (row.model, selection.models, selection.not_models),
        (row.group_id, selection.groups, ()),
    ):
        if wanted:
            found.append(among(column, wanted, dialect))
        if unwanted:
            found.append(not_(among(column, unwanted, dialect)))
    if selection.id_starts:
        found.append(or_(*[starts_with(row.id, start) for start in selection.id_starts]))
    if selection.ids is not None:
        found.append(among(row.id, selection.ids, dialect))
    return found + _figures(selection)


def _figures(selection: Selection) -> list[ColumnElement[bool]]:
    row = RolloutRow
    found: list[ColumnElement[bool]] = []
    if selection.first_step is not None:
        found.append(row.step >= selection.first_step)
    if selection.last_step is not None:
        found.append(row.step <= selection.last_step)
    found += [_COMPARE[bound.compare](row.reward, bound.value) for bound in selection.rewards]
    if selection.token_ids:
        found.append(or_(*[row.ids_exact.is_(_TOKEN_IDS[word]) for word in selection.token_ids]))
    return found


def _holds(word: str) -> ColumnElement[bool]:
    row = RolloutRow
    return or_(
        row.completion.icontains(word, autoescape=True),
        row.prompt_text.icontains(word, autoescape=True),
    )


def starts_with(column: InstrumentedAttribute[str], start: str) -> ColumnElement[bool]:
    """Return the condition that a byte-ordered column starts with ``start``, by its index."""
    return and_(column >= start, column < start + chr(sys.maxunicode))


def among(
    column: InstrumentedAttribute[str], values: Sequence[str], dialect: str
) -> ColumnElement[bool]:
    """Return ``column IN values`` for any number of values.

    They travel as one parameter, an array or a JSON list: an IN list would be a new statement for
    every length, and ends at 32,766 values on SQLite.
    """
    return _among(column, bindparam(None, given(values, dialect), _GIVEN[dialect]), dialect)


def among_given(column: ColumnElement[str], dialect: str) -> ColumnElement[bool]:
    """Return ``column IN :given``, for a statement that is built once.

    It is executed with ``{"given": given(values, dialect)}``: building a statement anew costs
    more than a small database call.
    """
    return _among(column, bindparam("given", type_=_GIVEN[dialect]), dialect)


def each_given(dialect: str) -> ColumnElement[str]:
    """Return the column of values in ``:given``, see ``among_given``."""
    parameter = bindparam("given", type_=_GIVEN[dialect])
    if dialect == "postgresql":
        return func.unnest(parameter)
    return func.json_each(parameter).table_valued("value").c.value


def given(values: Sequence[str], dialect: str) -> list[str] | str:
    """Return values as the one parameter that they travel in."""
    stored = [storable(value) for value in values]
    return stored if dialect == "postgresql" else to_json(stored)


_GIVEN: Mapping[str, TypeEngine[Any]] = {"postgresql": ARRAY(String), "sqlite": String()}
"""Type of the parameter."""


def _among(
    column: ColumnElement[str] | InstrumentedAttribute[str],
    parameter: BindParameter[Any],
    dialect: str,
) -> ColumnElement[bool]:
    if dialect == "postgresql":
        return column == any_(parameter)
    each = func.json_each(parameter).table_valued("value")
    return column.in_(select(each.c.value))
