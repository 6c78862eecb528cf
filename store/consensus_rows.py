"""Consensus as rows and back.

Spans, links and verdicts are compact JSON lists in one row per rollout and version:

    spans      [[start, stop, status, label, share, shares, votes, left, right], ...]
    links      [[source, target, kind, support, reviewers, dropped], ...]
    blame      [status, [start, stop] or null, share, {reviewer: [start, stop] or null}]
    soundness  [status, verdict or null, share, {reviewer: verdict}]
"""

from dataclasses import asdict
from typing import Any

from dca.domain.consensus import (
    AgreedLink,
    AgreedSpan,
    Consensus,
    ConsensusParams,
    ConsensusVersion,
    Figure,
    PanelBlame,
    PanelSoundness,
    Status,
)
from dca.domain.review import LinkKind, Soundness
from dca.domain.spans import Span
from store.tables import ConsensusRow, ConsensusVersionRow
from store.writing import Row


def version_columns(version: ConsensusVersion) -> Row:
    """Return the columns of a version but for its number, digest and time."""
    return {
        "method": version.method,
        "params": asdict(version.params),
        "label_set": version.label_set,
        "panel": list(version.panel),
        "reviewers": dict(version.reviewers),
        "weights": dict(version.weights),
        "n_eff": version.n_eff,
        "rollouts": version.rollouts,
        "shares": {status.value: share for status, share in version.shares.items()},
        "agreement": {
            name: [figure.value, figure.low, figure.high, figure.n, figure.reason]
            for name, figure in version.agreement.items()
        },
        "dca_version": version.dca_version,
    }


def to_version(row: ConsensusVersionRow) -> ConsensusVersion:
    """Return the version of a row."""
    return ConsensusVersion(
        method=row.method,
        params=ConsensusParams(**row.params),
        label_set=row.label_set,
        panel=tuple(row.panel),
        reviewers=row.reviewers,
        weights=row.weights,
        n_eff=row.n_eff,
        rollouts=row.rollouts,
        shares={Status(status): share for status, share in row.shares.items()},
        agreement={name: Figure(*figure) for name, figure in row.agreement.items()},
        dca_version=row.dca_version,
        id=row.id,
        created=row.created,
    )


def consensus_row(version_id: int, consensus: Consensus) -> Row:
    """Return the columns of one rollout's consensus."""
    shares = consensus.shares()
    return {
        "version_id": version_id,
        "rollout_id": consensus.rollout_id,
        "spans": [_span_columns(item) for item in consensus.spans],
        "links": [_link_columns(item) for item in consensus.links] or None,
        "blame": _blame_columns(consensus.blame),
        "soundness": _soundness_columns(consensus.soundness),
        **{status.value: shares[status] for status in Status},
    }


def _span_columns(item: AgreedSpan) -> list[Any]:
    return [
        item.span.start,
        item.span.stop,
        item.status.value,
        item.label,
        item.share,
        dict(item.shares),
        dict(item.votes),
        item.left,
        item.right,
    ]


def _link_columns(item: AgreedLink) -> list[Any]:
    kind = item.kind.value
    return [item.source, item.target, kind, item.support, list(item.reviewers), item.dropped]


def _ends(span: Span | None) -> list[int] | None:
    return None if span is None else [span.start, span.stop]


def _blame_columns(blame: PanelBlame | None) -> list[Any] | None:
    if blame is None:
        return None
    votes = {name: _ends(span) for name, span in blame.votes.items()}
    return [blame.status.value, _ends(blame.span), blame.share, votes]


def _soundness_columns(found: PanelSoundness | None) -> list[Any] | None:
    if found is None:
        return None
    votes = {name: verdict.value for name, verdict in found.votes.items()}
    return [found.status.value, found.verdict and found.verdict.value, found.share, votes]


def to_consensus(row: ConsensusRow) -> Consensus:
    """Return the consensus of a row."""
    return Consensus(
        rollout_id=row.rollout_id,
        spans=tuple(_span(item) for item in row.spans),
        links=tuple(_link(item) for item in row.links or ()),
        blame=None if row.blame is None else _blame(row.blame),
        soundness=None if row.soundness is None else _soundness(row.soundness),
    )


def _span(columns: list[Any]) -> AgreedSpan:
    start, stop, status, *rest = columns
    return AgreedSpan(Span(start, stop), Status(status), *rest)


def _link(columns: list[Any]) -> AgreedLink:
    source, target, kind, support, reviewers, dropped = columns
    return AgreedLink(source, target, LinkKind(kind), support, tuple(reviewers), dropped)


def _stretch(ends: list[int] | None) -> Span | None:
    return None if ends is None else Span(*ends)


def _blame(columns: list[Any]) -> PanelBlame:
    status, span, share, votes = columns
    read = {name: _stretch(ends) for name, ends in votes.items()}
    return PanelBlame(Status(status), _stretch(span), share, read)


def _soundness(columns: list[Any]) -> PanelSoundness:
    status, verdict, share, votes = columns
    read = {name: Soundness(given) for name, given in votes.items()}
    return PanelSoundness(Status(status), verdict and Soundness(verdict), share, read)
