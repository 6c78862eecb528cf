"""Consensus versions and what the panel settled in them: numbered, immutable."""

from collections.abc import Sequence

from dca.domain.consensus import Consensus, ConsensusVersion
from sqlalchemy.orm import Session


def version_digest(version: ConsensusVersion, inputs: str) -> str:
    """Return the digest of what decides a version: method, parameters, panel, weights, inputs.

    Args:
        version: Only its ``method``, ``params``, ``label_set``, ``reviewers``, ``weights`` and
            ``dca_version`` count, not its results.
        inputs: Digest of the reviews, see ``store.reviews.answers_digest``.
    """
    raise NotImplementedError


def add_version(
    session: Session, version: ConsensusVersion, *, inputs: str = ""
) -> ConsensusVersion:
    """Store a version and return it with its ``id`` and ``created``; each call gives a new number."""
    raise NotImplementedError


def find_version(
    session: Session, version: ConsensusVersion, *, inputs: str
) -> ConsensusVersion | None:
    """Return the newest stored version with the same ``version_digest``, if any."""
    raise NotImplementedError


def add_consensus(session: Session, version_id: int, results: Sequence[Consensus]) -> int:
    """Store results under a version and return how many were new; stored ones never change."""
    raise NotImplementedError


def latest_version(session: Session, label_set: str | None = None) -> ConsensusVersion | None:
    """Return the newest version, of one label set when given, or ``None``."""
    raise NotImplementedError


def get_version(session: Session, version_id: int) -> ConsensusVersion:
    """Return one version; raise ``NothingSelected`` when there is no such number."""
    raise NotImplementedError


def list_versions(session: Session) -> list[ConsensusVersion]:
    """Return all versions, newest first."""
    raise NotImplementedError


def consensus_of(
    session: Session, version_id: int, rollout_ids: Sequence[str]
) -> dict[str, Consensus]:
    """Return rollout id to its consensus, in one query; others have no entry."""
    raise NotImplementedError
