"""Credit of a store: the selected groups one after the other, and a record of the run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from dca.domain.consensus import Consensus
from dca.domain.errors import CreditError, NothingSelected
from dca.domain.labels import LabelSet
from dca.domain.rollout import SUCCESS_AT, Rollout, content_id
from dca.pipeline.group_credit import Count, Task, credit_group, reads_panel
from dca.pipeline.label_sets import check_labels
from dca.pipeline.progress import Progress, Silent
from dca.pipeline.token_views import Retokenized, choose_reading, spelled
from store.consensus import consensus_of, get_version, latest_version
from store.engine import transaction, transactions
from store.jobs import finish_job, start_job, update_job
from store.rollouts import count_rollouts, iter_groups
from store.scores import CreditRun, add_credit_run, add_scores
from store.selection import Selection
from training.credit.assigners import ASSIGNERS
from training.tokens import Tokenizer

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


@dataclass(frozen=True, slots=True)
class CreditOptions:
    """How credit is computed."""

    settings: Mapping[str, object] = field(default_factory=dict[str, object])
    """Settings of the assigners; each takes its own."""
    consensus: int | None = None
    """Number of the consensus version; ``None`` is the newest of the label set."""
    success_at: float = SUCCESS_AT
    """Smallest reward of a success, the one that the reviewers were told."""
    retokenize: bool = False
    """Set stored ids aside and credit the tokens that the tokenizer, else UTF-8 bytes, makes."""


def assign_store(
    engine: Engine,
    methods: Sequence[str],
    selection: Selection,
    *,
    labels: LabelSet,
    options: CreditOptions | None = None,
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
        options: Settings, consensus version and what a success is; the defaults when ``None``.
        tokenizer: For rollouts without ids, and to place stored ids without offsets.
        progress: Listener.

    Raises:
        NothingSelected: No rollout is selected.
        CreditError: An unknown method or a wrong setting.
        ConfigError: The consensus is in another label set, or the store uses the name of the set
            for another one.
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
        task = _plan(session, tuple(methods), options or CreditOptions(), labels, tokenizer)
        job = start_job(session, "credit", {"methods": list(methods)}, total=total)
    progress.start(None, "credit")
    counts = {method: Count() for method in methods}
    groups = 0
    with transactions(engine) as session:
        for page in iter_groups(session, selection, page=PAGE):
            settled = _settled(session, page, task)
            add_scores(
                session,
                [score for group in page for score in credit_group(group, settled, task, counts)],
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
    options: CreditOptions,
    labels: LabelSet,
    tokenizer: Tokenizer | None,
) -> Task:
    """Return what the groups share."""
    if options.consensus is None:
        version = latest_version(session, labels.name)
    else:
        version = get_version(session, options.consensus)
    if version is not None:
        check_labels(session, version, labels)
    reading = choose_reading(tokenizer, retokenize=options.retokenize)
    tokens = [spelled(reading), options.retokenize]
    number = version.id if version else None
    settings, at = options.settings, options.success_at
    sources = {
        method: content_id("credit", method, _taken(method, settings, at), number, tokens)
        for method in methods
    }
    return Task(methods, settings, at, labels, version, reading, sources)


def _taken(method: str, settings: Mapping[str, object], success_at: float) -> dict[str, object]:
    """Return everything set that the credit of a method depends on."""
    own = {n: settings[n] for n in ASSIGNERS[method].settings if n in settings}
    return {**own, "success_at": success_at} if reads_panel(method) else own


def _settled(
    session: Session, page: Sequence[Sequence[Rollout]], task: Task
) -> dict[str, Consensus] | None:
    """Return the consensus of a page of groups in one query; ``None`` without a version."""
    if task.version is None:
        return None
    return consensus_of(session, task.version.id, [r.id for group in page for r in group])


def _finish(session: Session, method: str, task: Task, count: Count) -> MethodResult:
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
    run = add_credit_run(
        session,
        CreditRun(
            method,
            {
                "settings": _taken(method, task.settings, task.success_at),
                "source": task.sources[method],
                "tokenizer": spelled(task.reading),
                "retokenize": isinstance(task.reading, Retokenized),
            },
            task.version.id if task.version and reads_panel(method) else None,
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
