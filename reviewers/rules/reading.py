"""What every rule has in common: a pure reading of a rollout, and the reviewer around it."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from dca.domain.errors import ConfigError
from dca.domain.labels import CONTRIBUTION_V1, LabelSet
from dca.domain.review import Blame, Link, Review, ReviewerInfo, Soundness, Step
from dca.domain.rollout import SUCCESS_AT, Rollout
from dca.domain.spans import Span
from reviewers.protocol import review_key

VERSION = "3"
"""Version of the rules: a rule that answers differently is another reviewer."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a rule found in one rollout; the fields are those of ``Review``."""

    steps: tuple[Step, ...] = ()
    links: tuple[Link, ...] = ()
    covered: Span | None = None
    blame: Blame | None = None
    soundness: Soundness | None = None


@dataclass(frozen=True, slots=True)
class RuleReviewer:
    """A reviewer that follows a written rule: no model, no network, no randomness."""

    labels: LabelSet = CONTRIBUTION_V1
    """The labels that it may use; every key in ``needs`` must be among them."""
    title: str = ""
    """Name in the configuration; ``""`` is the rule's own."""
    success_at: float = SUCCESS_AT
    """Smallest reward of a success: blame is said of failures, soundness of successes."""

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]

    def __post_init__(self) -> None:
        """Refuse a label set that lacks a label which the rule gives."""
        missing = [key for key in self.needs if key not in self.labels]
        if missing:
            raise ConfigError(
                f"the rule {self.name!r} gives the labels {', '.join(missing)}, which the label "
                f"set {self.labels.name!r} lacks",
                hint="Add the labels to the set or leave the rule out of the panel.",
            )

    @property
    def info(self) -> ReviewerInfo:
        """Who this is: each rule is a family of its own."""
        name, family = self.title or self.name, f"rules-{self.name}"
        return ReviewerInfo(name, "rules", family, VERSION, {"success_at": self.success_at})

    @property
    def prompt_digest(self) -> str:
        """Rules are not asked in words."""
        return "rules"

    @abstractmethod
    def read(self, rollout: Rollout) -> Reading:
        """Return what the rule finds. Pure: the same rollout always reads the same."""

    async def review(self, rollout: Rollout) -> Review:
        """Answer at once; a rule never fails and never waits."""
        found = self.read(rollout)
        return Review(
            review_key(self, rollout),
            found.steps,
            found.links,
            covered=found.covered,
            blame=found.blame,
            soundness=found.soundness,
        )
