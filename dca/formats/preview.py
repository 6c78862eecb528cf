"""What an import would make of a source, and of one row of it."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from dca.domain.errors import BadRecord
from dca.domain.rollout import Rollout
from dca.formats.build import Builder
from dca.formats.detect import Detected
from dca.formats.row import Reject, Row
from dca.formats.source import Source
from dca.formats.verify import Outcome


@dataclass(frozen=True, slots=True)
class SourcePreview:
    """What an import would make of one source."""

    source: str
    format: str
    """``""`` when the source has no usable row."""
    reason: str
    """Why this format."""
    note: str
    """What the user must know about this format, ``""`` when nothing."""
    columns: tuple[str, ...]
    """Columns of the sampled rows, after ``--map``."""
    sampled: int
    """Rows looked at."""
    rejected: tuple[Reject, ...]
    """Those of them that would not be imported."""
    sample: Rollout | None
    """The first rollout, with the verified reward when there is one."""
    facts: Mapping[str, str] = field(default_factory=dict[str, str])
    """``reward``, ``truth``, ``task`` and ``group`` to the source's own column, before ``--map``;
    a fact without a column is left out."""
    verified: Mapping[Outcome, int] = field(default_factory=dict[Outcome, int])
    """Outcomes of the verification among the sampled rows; empty without one."""

    @property
    def unusable(self) -> bool:
        """Whether rows were looked at and none of them can be imported."""
        return 0 < self.sampled == len(self.rejected)


def preview_source(
    source: Source,
    detected: Detected | None,
    builder: Builder,
    *,
    broken: Sequence[Reject] = (),
    mapping: Mapping[str, str] | None = None,
    verify: Callable[[Rollout], tuple[Rollout, Outcome]] | None = None,
) -> SourcePreview:
    """Return the preview of a source.

    Args:
        source: What is read.
        detected: Its format; ``None`` when it has no usable row.
        builder: A fresh one.
        broken: The first rejects of a source without a usable row.
        mapping: The renaming of ``--map``, undone in what is shown.
        verify: Gives a rollout its verified reward.
    """
    if detected is None:
        found = tuple(broken)
        return SourcePreview(source.name, "", "no usable row", "", (), len(found), found, None)
    rejected = list(detected.rejects)
    first: Rollout | None = None
    outcomes: Counter[Outcome] = Counter()
    for row in detected.sample.rows:
        made = rollout_of(detected, row, builder)
        if isinstance(made, Reject):
            rejected.append(made)
            continue
        if verify is not None and made is not None:
            made, outcome = verify(made)
            outcomes[outcome] += 1
        first = first or made
    return SourcePreview(
        source=source.name,
        format=detected.format.name,
        reason=detected.reason,
        note=detected.format.note,
        columns=detected.sample.columns,
        sampled=len(detected.sample.rows) + len(detected.rejects),
        rejected=tuple(rejected),
        sample=first,
        facts=_source_facts(detected, mapping or {}),
        verified=dict(outcomes),
    )


def _source_facts(detected: Detected, mapping: Mapping[str, str]) -> dict[str, str]:
    """Return which of the source's own columns hold the facts that the user should check."""
    found = detected.format.facts(detected.sample)
    return {
        fact: mapping.get(found[fact], found[fact].removeprefix("source."))
        for fact in ("reward", "truth", "task", "group")
        if found.get(fact)
    }


def rollout_of(detected: Detected, row: Row, builder: Builder) -> Rollout | Reject | None:
    """Return a row's rollout, or why it has none; ``None`` when the same record came before."""
    try:
        return builder.build(detected.reader(dict(row.fields)))
    except BadRecord as error:
        return Reject(detected.source.name, row.line, str(error), row.raw)
    except RecursionError:
        return Reject(detected.source.name, row.line, "nested too deeply", row.raw)
