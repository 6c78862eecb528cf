"""What the store holds, in numbers."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts and size of one store."""

    url: str
    """Where it is; a password shows as ``***``."""
    revision: str
    """Schema revision."""
    rows: Mapping[str, int]
    """Table name to its number of rows."""
    bytes: int
    """Size on disk; of the database, not of its log."""


def stats(session: Session) -> Stats:
    """Count every table and measure the database."""
    raise NotImplementedError
