"""Import: files of rollouts into the store, a thousand at a time, with nothing lost silently.

What counts as the same record is the same in one import of several files and in several imports.
A source's own id names one record of its group and model. Records without an id are the same when
group, prompt, text, model and step are; within one file each time that such a record comes counts,
because it was sampled so often, and across files it does not: a copy changes nothing.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path

from sqlalchemy import Engine

from dca.domain.errors import UsageError
from dca.domain.rollout import Rollout, Tokens
from dca.formats.build import Builder
from dca.formats.detect import HEAD, Detected, check_mapping, detect, read_rows
from dca.formats.draft import ReadOptions
from dca.formats.preview import SourcePreview, preview_source, rollout_of
from dca.formats.rejects import RejectsFile, is_rejects, rejects_file
from dca.formats.row import Reject, Row
from dca.formats.source import Source, expand_sources
from dca.formats.verify import REWARDS, Comparison, Outcome, comparison, judge
from dca.pipeline.import_order import ImportOptions, ImportProgress, ImportResult
from store.engine import transaction
from store.jobs import Outcome as JobOutcome
from store.jobs import finish_job, start_job, update_job
from store.rollouts import add_rollouts
from training.tokens import identity

BATCH = 1000
"""Rollouts in one transaction."""
BATCH_CHARS = 16_000_000
"""Code points in one transaction, so that long texts do not fill the memory."""
CONFLICT = "already stored with another reward, truth, tokens or other column"
REUSED = "the id {!r} is already stored with another text in this group"


@dataclass(slots=True)
class Prepared:
    """Sources that were looked at before any store is opened."""

    sources: list[Source]
    first: "tuple[Detected | None, Iterator[Row | Reject]] | None" = None
    """Format and rows of the first source when it is standard input, which reads only once."""


def _ignore(_: object) -> None:
    """Do nothing: nobody watches."""


def preview(sources: Sequence[str], options: ImportOptions) -> list[SourcePreview]:
    """Look at the head of every source and write nothing.

    Standard input is consumed.

    Raises:
        FormatError: A source cannot be read, or no format fits.
        UsageError: The options do not fit.
    """
    check_mapping(options.mapping)
    found = _expand(sources, options)
    with comparison(options.verify) if options.verify else nullcontext() as compare:
        verify = None if compare is None else partial(_verified, compare, options)
        previews: list[SourcePreview] = []
        for source in found:
            detected, rows = _detected(source, options)
            previews.append(
                preview_source(
                    source,
                    detected,
                    _builder(options),
                    broken=() if detected else _broken(rows)[0],
                    mapping=options.mapping,
                    verify=verify,
                )
            )
        return previews


def prepare_import(sources: Sequence[str], options: ImportOptions) -> Prepared:
    """Check options and formats, so that what cannot be imported needs no store.

    Raises:
        FormatError: A source as a whole cannot be read.
        UsageError: The options do not fit.
        MissingExtra: ``math`` verification without its package.
    """
    check_mapping(options.mapping)
    found = _expand(sources, options)
    with comparison(options.verify) if options.verify else nullcontext():
        pass
    for source in found:
        if source.path is not None:
            _detected(source, options)
    stdin_first = bool(found) and found[0].path is None
    return Prepared(found, _detected(found[0], options) if stdin_first else None)


def import_rollouts(
    engine: Engine,
    sources: Sequence[str] | Prepared,
    options: ImportOptions,
    *,
    on_progress: Callable[[ImportProgress], None] = _ignore,
    on_source: Callable[[SourcePreview], None] = _ignore,
) -> ImportResult:
    """Read every source and store its rollouts.

    Killed at any moment, a second run gives the store that one run would have given. Every file's
    format is told before the first rollout is stored; standard input's when its turn comes.

    Args:
        engine: An open store.
        sources: Paths, globs, folders and ``-`` for standard input, or what ``prepare_import``
            made of them with the same options.
        options: How to read.
        on_progress: Called after every transaction.
        on_source: Called before the first rollout of a source is stored.

    Raises:
        FormatError: A source as a whole cannot be read; what came before it is stored.
        UsageError: The options do not fit.
        MissingExtra: ``math`` verification without its package.
    """
    prepared = sources if isinstance(sources, Prepared) else prepare_import(sources, options)
    with ExitStack() as stack:
        compare = stack.enter_context(comparison(options.verify)) if options.verify else None
        rejects = stack.enter_context(rejects_file(options.rejects))
        run = _Run(engine, options, compare, rejects, on_progress, first=prepared.first)
        return run.all(prepared.sources, on_source)


def _expand(sources: Sequence[str], options: ImportOptions) -> list[Source]:
    def rejects(path: Path) -> bool:
        return is_rejects(path, options.rejects)

    found = expand_sources(sources, leave_out=rejects)
    for source in found:
        if source.path is not None and rejects(source.path):
            raise UsageError(
                f"{source.path} is a file of rejects, not of rollouts",
                hint="Leave it out, or name another file for the rejects with --rejects.",
            )
    return found


def _detected(
    source: Source, options: ImportOptions
) -> tuple[Detected | None, Iterator[Row | Reject]]:
    return detect(
        source,
        read_rows(source, options.mapping),
        forced=options.format,
        mapping=options.mapping,
        options=ReadOptions(options.think_tags),
    )


def _builder(options: ImportOptions) -> Builder:
    return Builder(options.think_tags, options.max_chars, options.task, options.model)


@dataclass(slots=True)
class _Run:
    """One import under way."""

    engine: Engine
    options: ImportOptions
    compare: Comparison | None
    rejects: RejectsFile
    on_progress: Callable[[ImportProgress], None]
    first: "tuple[Detected | None, Iterator[Row | Reject]] | None" = None
    """Format and rows of the first source when they are known already."""
    builder: Builder = field(init=False)
    """Of the source that is read."""
    job: int = 0
    rows: int = 0
    new: int = 0
    unchanged: int = 0
    approximate: int = 0
    misplaced: int = 0
    chars: int = 0
    verified: Counter[Outcome] = field(default_factory=Counter[Outcome])
    batch: dict[str, tuple[Rollout, Reject]] = field(
        default_factory=dict[str, tuple[Rollout, Reject]]
    )
    """Id to rollout and the reject that it becomes in a conflict."""

    def all(
        self, sources: Sequence[Source], on_source: Callable[[SourcePreview], None]
    ) -> ImportResult:
        """Import every source under one job."""
        with transaction(self.engine) as session:
            params = {"sources": [source.name for source in sources], **_params(self.options)}
            self.job = start_job(session, "import", params)
        status: JobOutcome = "interrupted"
        formats: dict[str, str] = {}
        try:
            for source in sources:
                formats[source.name] = self.one(source, on_source)
            status = "partial" if self.rejects.count else "done"
        except Exception:
            status = "failed"
            raise
        finally:
            self._finish(status)
        return ImportResult(
            new=self.new,
            unchanged=self.unchanged,
            rejected=self.rejects.count,
            rejects_path=self.rejects.path if self.rejects.count else None,
            formats=formats,
            verified=dict(self.verified),
            approximate=self.approximate,
            misplaced=self.misplaced,
            job=self.job,
        )

    def one(self, source: Source, on_source: Callable[[SourcePreview], None]) -> str:
        """Import one source; return the name of its format."""
        known, self.first = self.first, None
        detected, rows = known or _detected(source, self.options)
        broken: tuple[Reject, ...] = ()
        if detected is None:
            broken, rows = _broken(rows)
        look, mapping = _builder(self.options), self.options.mapping
        on_source(preview_source(source, detected, look, broken=broken, mapping=mapping))
        self.builder = _builder(self.options)
        for row in rows:
            self.rows += 1
            made = (
                row if isinstance(row, Reject) or detected is None else self._made(detected, row)
            )
            if isinstance(made, Reject):
                self.rejects.add(made)
            if len(self.batch) >= BATCH or self.chars >= BATCH_CHARS:
                self._store(source)
        self._store(source)
        self.misplaced += self.builder.misplaced
        return "" if detected is None else detected.format.name

    def _made(self, detected: Detected, row: Row) -> Reject | None:
        """Put a row's rollout into the batch, or return it as a reject."""
        made = rollout_of(detected, row, self.builder)
        if isinstance(made, Reject):
            return made
        if made is None:
            self.unchanged += 1
            return None
        rollout = self._with_tokens(self._with_reward(made))
        self.batch[rollout.id] = (
            rollout,
            Reject(detected.source.name, row.line, CONFLICT, row.raw),
        )
        self.chars += len(rollout.completion) + len(row.raw)
        return None

    def _with_reward(self, rollout: Rollout) -> Rollout:
        """Return the rollout with the verified reward; the source's own is kept by name."""
        if self.compare is None:
            return rollout
        judged, outcome = _verified(self.compare, self.options, rollout)
        self.verified[outcome] += 1
        return judged

    def _with_tokens(self, rollout: Rollout) -> Rollout:
        tokenizer = self.options.tokenizer
        if tokenizer is None or rollout.tokens is not None:
            return rollout
        self.approximate += 1
        ids = array("i", tokenizer.encode(rollout.completion).tolist())
        prompt = array("i", tokenizer.encode_prompt(rollout.prompt).tolist())
        tokens = Tokens(ids, exact=False, tokenizer=identity(tokenizer), prompt_ids=prompt)
        return replace(rollout, tokens=tokens)

    def _store(self, source: Source) -> None:
        """Write the batch, its rejects and the job's progress."""
        with transaction(self.engine) as session:
            added = add_rollouts(session, [rollout for rollout, _ in self.batch.values()])
            refused = len(added.conflicts) + len(added.reused)
            counts = self._counts(added.new, added.unchanged, refused)
            update_job(session, self.job, done=self.rows, counts=counts)
        self.new += added.new
        self.unchanged += added.unchanged
        for key in added.conflicts:
            self.rejects.add(self.batch[key][1])
        for key in added.reused:
            rollout, reject = self.batch[key]
            reason = REUSED.format(rollout.meta["source_id"])
            self.rejects.add(replace(reject, reason=reason))
        self.batch.clear()
        self.chars = 0
        self.on_progress(
            ImportProgress(source.name, self.rows, self.new, self.unchanged, self.rejects.count)
        )

    def _counts(self, new: int = 0, unchanged: int = 0, rejected: int = 0) -> dict[str, int]:
        return {
            "new": self.new + new,
            "unchanged": self.unchanged + unchanged,
            "rejected": self.rejects.count + rejected,
        }

    def _finish(self, status: JobOutcome) -> None:
        with transaction(self.engine) as session:
            why = f"rejects are in {self.rejects.path}" if self.rejects.count else ""
            counts = self._counts()
            finish_job(session, self.job, status, done=self.rows, counts=counts, message=why)


def _broken(rows: Iterator[Row | Reject]) -> tuple[tuple[Reject, ...], Iterator[Row | Reject]]:
    """Return the first rejects of a source without a usable row, and all its rows again."""
    head = list(islice(rows, HEAD))
    return tuple(row for row in head if isinstance(row, Reject)), chain(head, rows)


def _verified(
    compare: Comparison, options: ImportOptions, rollout: Rollout
) -> tuple[Rollout, Outcome]:
    """Return the rollout with its verified reward and the outcome."""
    outcome = judge(
        compare,
        rollout.completion,
        rollout.truth,
        tags=options.think_tags,
        truncated=bool(rollout.sampling.truncated),
    )
    kept = {} if rollout.reward is None else {"source": rollout.reward}
    judged = replace(
        rollout,
        reward=REWARDS[outcome],
        rewards={**rollout.rewards, **kept},
        meta={**rollout.meta, "verify": f"{options.verify}:{outcome.value}"},
    )
    return judged, outcome


def _params(options: ImportOptions) -> dict[str, object]:
    """Return the options as the job keeps them."""
    return {
        "format": options.format,
        "mapping": dict(options.mapping),
        "verify": options.verify,
        "think_tags": list(options.think_tags),
        "max_chars": options.max_chars,
        "rejects": str(options.rejects),
        "tokenizer": None if options.tokenizer is None else identity(options.tokenizer),
        "task": options.task,
        "model": options.model,
    }
