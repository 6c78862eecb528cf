"""What the names of label sets stand for."""

from sqlalchemy.orm import Session

from dca.domain.labels import Label, LabelSet
from store.tables import LabelSetRow
from store.writing import insert_new, now


def add_label_set(session: Session, labels: LabelSet) -> LabelSet:
    """Store a set unless its name is taken, and return the set that the name stands for."""
    # Read first: a set is written once and asked for by every command.
    kept = find_label_set(session, labels.name)
    if kept is not None:
        return kept
    stored = [[item.key, item.letter, item.value, item.description] for item in labels]
    row = {"name": labels.name, "digest": labels.digest, "labels": stored, "created": now()}
    insert_new(session, LabelSetRow, [row])
    return find_label_set(session, labels.name) or labels


def find_label_set(session: Session, name: str) -> LabelSet | None:
    """Return the set that a name stands for, ``None`` when the store has never used it."""
    row = session.get(LabelSetRow, name)
    return None if row is None else LabelSet(name, tuple(Label(*item) for item in row.labels))
