"""Credit of whole groups: store and consensus in, per-token scores out.

Shapes: G = rollouts of one prompt, T = completion tokens.
"""

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from dca.domain.consensus import Consensus, ConsensusVersion
from dca.domain.errors import (
    ConfigError,
    CreditError,
    MissingInput,
    NothingSelected,
    TokenError,
)
from dca.domain.labels import LabelSet
from dca.domain.rollout import Rollout, content_id
from dca.pipeline.progress import Progress, Silent
from dca.pipeline.signals import build_group, signal
from dca.pipeline.token_views import TokenView, view_tokens
from store.consensus import consensus_of, get_version, latest_version
from store.engine import transaction, transactions
from store.jobs import finish_job, start_job, update_job
from store.rollouts import count_rollouts, iter_groups
from store.scores import CreditRun, TokenScores, add_credit_run, add_scores
from store.selection import Selection
from training.credit.assigners import ASSIGNERS, assign
from training.credit.credit import Credit
from training.tokens import Tokenizer, identity

PAGE = 200
"""Groups at a time."""


@dataclass(frozen=True, slots=True)
class MethodResult:
    """What one method made of the selection."""

    method: str
    run: int | None
    """Number of the stored credit run; ``None`` when the method could not run."""
    missing: str
    """``n/a: needs ...`` when it could not run on any group, else ``""``."""
    rollouts: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict[str, int])
    """Rollouts left out, by reason."""
    tokens: int = 0
    in_loss: int = 0
    """Tokens that take part in the loss."""
    events: Mapping[str, int] = field(default_factory=dict[str, int])
    """Rollouts by event, see ``training.credit``."""


@dataclass(frozen=True, slots=True)
class CreditResult:
    """What ``dca credit`` did."""

    consensus: int | None
    """Number of the consensus version that was read."""
    groups: int
    methods: tuple[MethodResult, ...]


@dataclass(slots=True)
class _Count:
    """A method's running figures."""

    rollouts: int = 0
    tokens: int = 0
    in_loss: int = 0
    events: Counter[str] = field(default_factory=Counter[str])
    skipped: Counter[str] = field(default_factory=Counter[str])


@dataclass(frozen=True, slots=True)
class _Task:
    """What stays the same over the groups."""

    methods: tuple[str, ...]
    settings: Mapping[str, object]
    labels: LabelSet
    version: ConsensusVersion | None
    tokenizer: Tokenizer | None
    sources: Mapping[str, str]
    """Method to the source under which its scores are stored."""


def assign_store(
    engine: Engine,
    methods: Sequence[str],
    selection: Selection,
    *,
    labels: LabelSet,
    settings: Mapping[str, object] | None = None,
    consensus: int | None = None,
    tokenizer: Tokenizer | None = None,
    progress: Progress | None = None,
) -> CreditResult:
    """Compute and store the credit of the selected groups, each method in one pass.

    A group is credited whole when any of its rollouts is selected: a baseline over part of a group
    is another number. Rollouts without a reward are left out and counted.

    Args:
        engine: The store.
        methods: Names in ``ASSIGNERS``.
        selection: Which groups.
        labels: The label set whose consensus is read.
        settings: Settings of the assigners; each takes its own.
        consensus: Number of the version; ``None`` is the newest of the label set.
        tokenizer: For rollouts without ids, and to place stored ids without offsets.
        progress: Listener.

    Raises:
        NothingSelected: No rollout is selected.
        CreditError: An unknown method or a wrong setting.
    """
    progress = progress or Silent()
    unknown = [method for method in methods if method not in ASSIGNERS]
    if unknown:
        raise CreditError(
            f"no credit method {unknown[0]!r}", hint=f"the methods are {', '.join(ASSIGNERS)}"
        )
    with transaction(engine) as session:
        total = count_rollouts(session, selection)
        if not total:
            raise NothingSelected("no rollout is selected", hint="see dca ls")
        task = _plan(session, tuple(methods), settings or {}, labels, consensus, tokenizer)
        job = start_job(session, "credit", {"methods": list(methods)}, total=total)
    progress.start(None, "credit")
    counts = {method: _Count() for method in methods}
    groups = 0
    with transactions(engine) as session:
        for page in iter_groups(session, selection, page=PAGE):
            settled = _settled(session, page, task)
            add_scores(
                session,
                [score for group in page for score in _credit(group, settled, task, counts)],
            )
            groups += len(page)
            update_job(session, job, done=groups)
            # Each page is kept: scores have content keys, so a run after a kill writes them again.
            session.commit()
            progress.advance(len(page))
        results = tuple(_finish(session, method, task, counts[method]) for method in methods)
        finish_job(session, job, "done", counts={r.method: r.rollouts for r in results})
        session.commit()
    progress.finish()
    return CreditResult(task.version.id if task.version else None, groups, results)


def _plan(
    session: Session,
    methods: tuple[str, ...],
    settings: Mapping[str, object],
    labels: LabelSet,
    consensus: int | None,
    tokenizer: Tokenizer | None,
) -> _Task:
    """Return what the groups share."""
    if consensus is None:
        version = latest_version(session, labels.name)
    else:
        version = get_version(session, consensus)
        if version.label_set != labels.name:
            raise ConfigError(
                f"consensus {consensus} is in label set {version.label_set!r}, "
                f"the project's is {labels.name!r}"
            )
    spelled = identity(tokenizer) if tokenizer else ""
    number = version.id if version else None
    sources = {
        method: content_id("credit", method, _taken(method, settings), number, spelled)
        for method in methods
    }
    return _Task(methods, settings, labels, version, tokenizer, sources)


def _taken(method: str, settings: Mapping[str, object]) -> dict[str, object]:
    """Return the settings that a method takes."""
    return {n: settings[n] for n in ASSIGNERS[method].settings if n in settings}


def _settled(
    session: Session, page: Sequence[Sequence[Rollout]], task: _Task
) -> dict[str, Consensus] | None:
    """Return the consensus of a page of groups in one query; ``None`` without a version."""
    if task.version is None:
        return None
    return consensus_of(session, task.version.id, [r.id for group in page for r in group])


def _credit(
    group: Sequence[Rollout],
    settled: Mapping[str, Consensus] | None,
    task: _Task,
    counts: Mapping[str, _Count],
) -> list[TokenScores]:
    """Return the scores of one group and count them."""
    kept, skipped = _placed(group, task.tokenizer)
    for count in counts.values():
        count.skipped.update(skipped)
    if not kept:
        return []
    scores: list[TokenScores] = []
    for method in task.methods:
        try:
            credit = _assign(method, kept, settled, task)
        except MissingInput as missing:
            counts[method].skipped[str(missing)] += len(kept)
            continue
        scores += _scores(method, kept, credit, task.sources[method])
        _tally(counts[method], kept, credit)
    return scores


def _placed(
    group: Sequence[Rollout], tokenizer: Tokenizer | None
) -> tuple[list[tuple[Rollout, TokenView]], Counter[str]]:
    """Return the rollouts that can be credited, with their tokens, and why others cannot."""
    kept: list[tuple[Rollout, TokenView]] = []
    skipped: Counter[str] = Counter()
    for rollout in group:
        if rollout.reward is None:
            skipped["no reward"] += 1
            continue
        try:
            kept.append((rollout, view_tokens(rollout, tokenizer)))
        except MissingInput as missing:
            skipped[str(missing)] += 1
        except TokenError:
            skipped["its token ids do not spell its text"] += 1
    return kept, skipped


def _assign(
    method: str,
    kept: Sequence[tuple[Rollout, TokenView]],
    settled: Mapping[str, Consensus] | None,
    task: _Task,
) -> Credit:
    """Return one method's credit of one group."""
    signals = None
    if settled is not None and "consensus" in ASSIGNERS[method].needs:
        signals = [
            signal(rollout.completion, settled.get(rollout.id), tokens, task.labels)
            for rollout, tokens in kept
        ]
    rewards = [rollout.reward or 0.0 for rollout, _ in kept]
    group = build_group(rewards, [tokens.ids.size for _, tokens in kept], signals)
    return assign(method, group, task.settings)


def _scores(
    method: str, kept: Sequence[tuple[Rollout, TokenView]], credit: Credit, source: str
) -> list[TokenScores]:
    """Return advantage and weight of every rollout; a weight of ``nan`` is out of the loss."""
    weight_GT = np.where(credit.mask_GT, credit.weight_GT, np.nan)
    scores: list[TokenScores] = []
    for row, (rollout, tokens) in enumerate(kept):
        count = tokens.ids.size
        for name, values_GT in (("advantage", credit.advantage_GT), ("weight", weight_GT)):
            values = array("f", values_GT[row, :count].astype(np.float32).tobytes())
            scores.append(TokenScores(rollout.id, f"credit:{method}:{name}", source, values))
    return scores


def _tally(count: _Count, kept: Sequence[tuple[Rollout, TokenView]], credit: Credit) -> None:
    """Add one group's credit to the figures."""
    count.rollouts += len(kept)
    count.tokens += sum(tokens.ids.size for _, tokens in kept)
    count.in_loss += int(credit.mask_GT.sum())
    for name, rows_G in credit.events.items():
        count.events[name] += int(rows_G.sum())


def _finish(session: Session, method: str, task: _Task, count: _Count) -> MethodResult:
    """Store the run of one method, if it ran on anything."""
    skipped = dict(count.skipped)
    if not count.rollouts:
        reasons = ", ".join(sorted(skipped)) or "no group"
        return MethodResult(method, None, f"n/a: {reasons}", skipped=skipped)
    result = MethodResult(
        method,
        None,
        "",
        count.rollouts,
        skipped,
        count.tokens,
        count.in_loss,
        {name: n for name, n in count.events.items() if n},
    )
    reads = "consensus" in ASSIGNERS[method].needs
    run = add_credit_run(
        session,
        CreditRun(
            method,
            {
                "settings": _taken(method, task.settings),
                "source": task.sources[method],
                "tokenizer": identity(task.tokenizer) if task.tokenizer else "",
            },
            task.version.id if task.version and reads else None,
            task.labels.name,
            {
                "rollouts": count.rollouts,
                "tokens": count.tokens,
                "in_loss": count.in_loss,
                "events": dict(result.events),
                "skipped": skipped,
            },
        ),
    )
    return replace(result, run=run.id)
