"""Tables with names of the user's choice: reviewers, panels and label sets."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dca.config.check import Faults, check_table, dotted, shown_value, table_in
from dca.config.lines import KeyPath
from dca.config.models import (
    OFFLINE,
    LabelEntry,
    Panel,
    built_in_labels,
    built_in_panels,
    built_in_reviewers,
)
from dca.config.reviewers import (
    KINDS,
    OFFLINE_RULES,
    ReplayReviewer,
    Table,
    TransformersReviewer,
    VllmReviewer,
)
from dca.config.sources import Source
from dca.config.suggest import did_you_mean
from dca.domain.labels import CONTRIBUTION_V1, LabelSet

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""Names of reviewers, panels and label sets."""


@dataclass(slots=True)
class Named:
    """Everything that has a name, each from the first source that names it."""

    reviewers: dict[str, Table] = field(default_factory=lambda: {**built_in_reviewers()})
    panels: dict[str, Panel] = field(default_factory=built_in_panels)
    labels: dict[str, LabelSet] = field(default_factory=built_in_labels)
    sources: dict[KeyPath, tuple[Source, KeyPath]] = field(
        default_factory=dict[KeyPath, tuple[Source, KeyPath]]
    )
    """(table, name) to its source and its place there; nothing for what is built in."""


def read_named(sources: Sequence[Source], faults: Faults) -> Named:
    """Read the reviewers, panels and label sets of all sources."""
    named = Named()
    for source in sources:
        for path, entry in _entries("reviewers", source, OFFLINE_RULES, named, faults):
            reviewer = _reviewer(source, path, entry, faults)
            if reviewer is not None:
                named.reviewers[str(path[1])] = reviewer
        for path, entry in _entries("panels", source, (OFFLINE,), named, faults):
            panel = check_table(Panel, entry, path, source, faults)
            if panel is not None:
                named.panels[str(path[1])] = panel
        _read_labels(source, named, faults)
    return named


def _entries(
    table: str, source: Source, built_in: Sequence[str], named: Named, faults: Faults
) -> Iterator[tuple[KeyPath, dict[str, object]]]:
    """Yield the tables ``[table.NAME]`` of ``source`` whose name is free, and take the name."""
    if table not in source.values:
        return
    for name, value in table_in(source, (table,), source.values[table], faults).items():
        path: KeyPath = (table, name)
        if name in built_in:
            faults.add(f"{source.origin(path)}: {dotted(path)} is built in; choose another name")
        elif NAME.fullmatch(name) is None:
            faults.add(
                f"{source.origin(path)}: {dotted(path)}: a name is letters, digits, _ and -"
            )
        elif path not in named.sources:
            named.sources[path] = (source, path)
            yield path, table_in(source, path, value, faults)


def _reviewer(
    source: Source, path: KeyPath, entry: Mapping[str, object], faults: Faults
) -> Table | None:
    kind = entry.get("kind")
    if kind is None:
        kinds = ", ".join(KINDS)
        faults.add(f"{source.origin(path)}: {dotted(path)} lacks kind; there is {kinds}")
        return None
    if not isinstance(kind, str) or kind not in KINDS:
        here = (*path, "kind")
        value = shown_value("kind", kind)
        suggestion = did_you_mean(str(kind), KINDS)
        faults.add(f"{source.origin(here)}: {dotted(here)}{value}: unknown kind{suggestion}")
        return None
    reviewer = check_table(KINDS[kind], entry, path, source, faults)
    if isinstance(reviewer, ReplayReviewer):
        return reviewer.model_copy(update={"path": str(source.base / Path(reviewer.path))})
    if isinstance(reviewer, VllmReviewer | TransformersReviewer) and reviewer.model[0] == ".":
        # Not every name with a slash is a path: names on the hub have one too.
        return reviewer.model_copy(update={"model": str((source.base / reviewer.model).resolve())})
    return reviewer


def _read_labels(source: Source, named: Named, faults: Faults) -> None:
    entries = source.values.get("labels", [])
    if not isinstance(entries, list):
        faults.add(f"{source.origin(('labels',))}: labels must be tables: [[labels]]")
        return
    sets: dict[str, list[LabelEntry]] = {}
    first: dict[str, KeyPath] = {}
    for position, value in enumerate(entries):
        path: KeyPath = ("labels", position)
        entry = check_table(
            LabelEntry, table_in(source, path, value, faults), path, source, faults
        )
        if entry is not None:
            sets.setdefault(entry.set, []).append(entry)
            first.setdefault(entry.set, path)
    for name, members in sets.items():
        _add_label_set(name, members, (source, first[name]), named, faults)


def _add_label_set(
    name: str,
    members: Sequence[LabelEntry],
    place: tuple[Source, KeyPath],
    named: Named,
    faults: Faults,
) -> None:
    source, path = place
    if name == CONTRIBUTION_V1.name:
        faults.add(f"{source.origin(path)}: label set {name} is built in; choose another name")
        return
    if ("labels", name) in named.sources:
        return
    named.sources["labels", name] = place
    try:
        named.labels[name] = LabelSet(name, tuple(entry.label() for entry in members))
    except ValueError as error:
        faults.add(f"{source.origin(path)}: {error}")
