"""A label set keeps its meaning: the store holds what each name stands for."""

from collections.abc import Iterable

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from dca.domain.consensus import ConsensusVersion
from dca.domain.errors import ConfigError
from dca.domain.labels import LabelSet, differences
from store.engine import transaction
from store.label_sets import add_label_set, find_label_set


def keep_label_sets(session: Session, sets: Iterable[LabelSet]) -> None:
    """Write down what the names of label sets stand for, when this is their first use.

    Raises:
        ConfigError: A name stands for another set in this store.
    """
    for labels in sets:
        _check(add_label_set(session, labels), labels)


def check_labels(session: Session, version: ConsensusVersion, labels: LabelSet) -> None:
    """Refuse to read a consensus with other labels than those that it was made with.

    Raises:
        ConfigError: It is in another label set, or the store uses the name for another set.
    """
    if version.label_set != labels.name:
        raise ConfigError(
            f"consensus {version.id} is in label set {version.label_set!r}, "
            f"the project's is {labels.name!r}",
            hint=f'set [project] labels = "{version.label_set}", or run dca consensus again',
        )
    keep_label_sets(session, [labels])


def labels_to_show(engine: Engine, name: str, configured: LabelSet | None) -> LabelSet | None:
    """Return the labels that stored reviews are shown with, ``None`` when nobody knows them.

    Args:
        engine: The store.
        name: The set that the reviews name.
        configured: The set that the configuration has under that name, if any.

    Raises:
        ConfigError: The name stands for another set in this store.
    """
    with transaction(engine) as session:
        kept = find_label_set(session, name)
    if kept is not None and configured is not None:
        _check(kept, configured)
    return kept or configured


def _check(kept: LabelSet, given: LabelSet) -> None:
    """Raise ``ConfigError`` unless both sets have one meaning."""
    if kept.digest != given.digest:
        raise ConfigError(
            f"label set {given.name!r} is not the one that this store uses under that name: "
            + "; ".join(differences(kept, given)),
            hint="give the changed labels a new set name in dca.toml and in [project] labels, or "
            "change them back; stored reviews keep their own set",
        )
