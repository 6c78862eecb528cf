"""Labels: what a step can have contributed. A label set is data, not code."""

from collections.abc import Iterator
from dataclasses import dataclass

from dca.domain.rollout import content_id

MAX_LABELS = 8
"""More labels than this cannot be told apart by reviewers, letters or colours."""


@dataclass(frozen=True, slots=True)
class Label:
    """One thing that a step can have contributed."""

    key: str
    """Name in configuration, replies and exports."""
    letter: str
    """One capital letter for score sheets."""
    value: float
    """Contribution to the outcome, in [-1, 1]."""
    description: str
    """One clause, shown to reviewers."""


@dataclass(frozen=True, slots=True)
class LabelSet:
    """The labels that one panel may use, in the order of their codes."""

    name: str
    """Stored with every review; changing a label in any field means a new name."""
    labels: tuple[Label, ...]
    """1 to 8 labels; a label's position is its integer code in arrays and neutral rows."""

    def __post_init__(self) -> None:
        """Refuse a set whose keys or letters repeat, or whose values leave [-1, 1]."""
        keys = [label.key for label in self.labels]
        letters = [label.letter for label in self.labels]
        if not 1 <= len(keys) <= MAX_LABELS:
            raise ValueError(
                f"label set {self.name!r} needs 1 to {MAX_LABELS} labels, has {len(keys)}"
            )
        if len(set(keys)) < len(keys) or len(set(letters)) < len(letters):
            raise ValueError(f"label set {self.name!r} repeats a key or a letter")
        for label in self.labels:
            if not -1 <= label.value <= 1:
                raise ValueError(f"label {label.key!r}: value {label.value} is outside [-1, 1]")
            if len(label.letter) != 1 or not label.letter.isupper():
                raise ValueError(
                    f"label {label.key!r}: letter {label.letter!r} is not one capital"
                )

    def __hash__(self) -> int:
        """Hash the name: caches are asked with label sets for every review."""
        return hash(self.name)

    def __iter__(self) -> Iterator[Label]:
        """Iterate in the order of codes."""
        return iter(self.labels)

    def __len__(self) -> int:
        """Return the number of labels."""
        return len(self.labels)

    def __contains__(self, key: object) -> bool:
        """Tell whether ``key`` names a label of this set."""
        return any(label.key == key for label in self.labels)

    @property
    def keys(self) -> tuple[str, ...]:
        """The label keys in the order of their codes."""
        return tuple(label.key for label in self.labels)

    @property
    def digest(self) -> str:
        """Digest of what the name stands for: each label in all its fields, in order.

        Descriptions count: reviewers are asked with them, and the prompt's digest covers the
        prompt file alone.
        """
        # Adding 0.0 makes 1 and -0.0 the same values as 1.0 and 0.0.
        return content_id(
            "labels",
            [[item.key, item.letter, item.value + 0.0, item.description] for item in self],
        )

    def code(self, key: str) -> int:
        """Return the integer code of ``key``; raise ``KeyError`` when it is not in the set."""
        for code, label in enumerate(self.labels):
            if label.key == key:
                return code
        raise KeyError(key)

    def __getitem__(self, key: str) -> Label:
        """Return the label named ``key``; raise ``KeyError`` when it is not in the set."""
        return self.labels[self.code(key)]


def differences(kept: LabelSet, given: LabelSet) -> tuple[str, ...]:
    """Return what ``given`` changes in ``kept``, one clause each; empty when nothing."""
    found = [f"label {key!r} is gone" for key in kept.keys if key not in given]
    found += [f"label {key!r} is new" for key in given.keys if key not in kept]
    shared = [key for key in kept.keys if key in given]
    if shared != [key for key in given.keys if key in kept]:
        found.append(f"the order is {', '.join(given.keys)}, was {', '.join(kept.keys)}")
    for before, after in ((kept[key], given[key]) for key in shared):
        if after.value != before.value:
            found.append(f"{after.key!r} has value {after.value}, had {before.value}")
        if after.letter != before.letter:
            found.append(f"{after.key!r} has letter {after.letter}, had {before.letter}")
        if after.description != before.description:
            found.append(f"{after.key!r} has another description")
    return tuple(found)


CONTRIBUTION_V1 = LabelSet(
    "contribution-v1",
    (
        Label("decisive", "D", 1.0, "solves the problem or an indispensable part of it"),
        Label("contributing", "C", 1.0, "its result is used by the answer"),
        Label("indirect", "I", 0.5, "failed or detoured, but led to a useful step"),
        Label("setup", "S", 0.0, "restates the given or the task"),
        Label("idle", "R", 0.0, "irrelevant, or repeats what is already known"),
        Label("harmful", "X", -1.0, "wrong or misleading"),
    ),
)
"""The default label set."""
