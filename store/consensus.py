"""Consensus versions and what the panel settled in them: numbered, immutable."""

from collections.abc import Sequence
from dataclasses import asdict, replace

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from dca.domain.consensus import Consensus, ConsensusVersion
from dca.domain.errors import NothingSelected
from dca.domain.rollout import content_id
from store.consensus_rows import consensus_row, to_consensus, to_version, version_columns
from store.selection import among
from store.tables import ConsensusRow, ConsensusVersionRow
from store.writing import dialect_of, insert_new, now


def version_digest(version: ConsensusVersion, inputs: str) -> str:
    """Return the digest of what decides a version: method, parameters, panel, weights, inputs.

    Args:
        version: Its results (``n_eff``, ``rollouts``, ``shares``, ``agreement``) do not count.
        inputs: Digest of the reviews, see ``store.reviews.answers_digest``.
    """
    return content_id(
        "consensus",
        version.method,
        asdict(version.params),
        version.label_set,
        dict(version.reviewers),
        dict(version.weights),
        version.dca_version,
        inputs,
    )


def add_version(
    session: Session, version: ConsensusVersion, *, inputs: str = ""
) -> ConsensusVersion:
    """Store a version and return it with its ``id`` and ``created``.

    Each call gives a new number; ``find_version`` tells first whether it is an identical re-run.

    Args:
        session: Open session.
        version: What was run and what came of it.
        inputs: Digest of the reviews, see ``store.reviews.answers_digest``.
    """
    created = now()
    digest = version_digest(version, inputs)
    row = ConsensusVersionRow(**version_columns(version), digest=digest, created=created)
    session.add(row)
    session.flush()
    return replace(version, id=row.id, created=created)


def seal_version(session: Session, version: ConsensusVersion) -> None:
    """Write the results of a version that this transaction added; afterwards it is immutable.

    Its results (``n_eff``, ``rollouts``, ``shares``, ``agreement``) are known only when the last
    rollout is settled, but each consensus row needs the number of its version. Nobody else sees
    the version before the transaction ends.
    """
    columns = version_columns(version)
    results = {name: columns[name] for name in ("n_eff", "rollouts", "shares", "agreement")}
    session.execute(
        update(ConsensusVersionRow).where(ConsensusVersionRow.id == version.id).values(**results)
    )


def find_version(
    session: Session, version: ConsensusVersion, *, inputs: str
) -> ConsensusVersion | None:
    """Return the newest stored version with the same ``version_digest``, or ``None``."""
    digest = version_digest(version, inputs)
    statement = select(ConsensusVersionRow).where(ConsensusVersionRow.digest == digest)
    row = session.scalar(statement.order_by(ConsensusVersionRow.id.desc()).limit(1))
    return None if row is None else to_version(row)


def add_consensus(session: Session, version_id: int, results: Sequence[Consensus]) -> int:
    """Store results under a version and return how many were new; stored ones never change."""
    return insert_new(session, ConsensusRow, [consensus_row(version_id, item) for item in results])


def latest_version(session: Session, label_set: str | None = None) -> ConsensusVersion | None:
    """Return the newest version, of one label set when given, or ``None``."""
    statement = select(ConsensusVersionRow).order_by(ConsensusVersionRow.id.desc()).limit(1)
    if label_set is not None:
        statement = statement.where(ConsensusVersionRow.label_set == label_set)
    row = session.scalar(statement)
    return None if row is None else to_version(row)


def get_version(session: Session, version_id: int) -> ConsensusVersion:
    """Return one version; raise ``NothingSelected`` when there is no such number."""
    row = session.get(ConsensusVersionRow, version_id)
    if row is None:
        raise NothingSelected(f"there is no consensus version {version_id}")
    return to_version(row)


def list_versions(session: Session) -> list[ConsensusVersion]:
    """Return all versions, newest first."""
    rows = session.scalars(select(ConsensusVersionRow).order_by(ConsensusVersionRow.id.desc()))
    return [to_version(row) for row in rows]


def consensus_of(
    session: Session, version_id: int, rollout_ids: Sequence[str]
) -> dict[str, Consensus]:
    """Return rollout id to its consensus, in one query; others have no entry."""
    statement = select(ConsensusRow).where(
        ConsensusRow.version_id == version_id,
        among(ConsensusRow.rollout_id, rollout_ids, dialect_of(session)),
    )
    return {row.rollout_id: to_consensus(row) for row in session.scalars(statement)}
