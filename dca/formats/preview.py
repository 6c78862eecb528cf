"""What an import would make of a source, and of one row of it."""

from dataclasses import dataclass

from dca.domain.errors import BadRecord
from dca.domain.rollout import Rollout
from dca.formats.build import Builder
from dca.formats.detect import Detected
from dca.formats.row import Reject, Row
from dca.formats.source import Source


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
    """The first rollout."""


def preview_source(source: Source, detected: Detected | None, builder: Builder) -> SourcePreview:
    """Return the preview of a source; ``builder`` must be a fresh one."""
    if detected is None:
        return SourcePreview(source.name, "", "no usable row", "", (), 0, (), None)
    rejected = list(detected.rejects)
    first: Rollout | None = None
    for row in detected.sample.rows:
        made = rollout_of(detected, row, builder)
        if isinstance(made, Reject):
            rejected.append(made)
        else:
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
    )


def rollout_of(detected: Detected, row: Row, builder: Builder) -> Rollout | Reject | None:
    """Return a row's rollout, or why it has none; ``None`` when the same record came before."""
    try:
        return builder.build(detected.reader(dict(row.fields)))
    except BadRecord as error:
        return Reject(detected.source.name, row.line, str(error), row.raw)
    except RecursionError:
        return Reject(detected.source.name, row.line, "nested too deeply", row.raw)
