"""What every reviewer is: a name, a prompt digest and one question."""

from typing import Protocol

from dca.domain.labels import LabelSet
from dca.domain.review import Review, ReviewerInfo, ReviewKey
from dca.domain.rollout import Rollout


class Answerer(Protocol):
    """Whoever can sign an answer."""

    @property
    def info(self) -> ReviewerInfo:
        """Who this is."""
        ...

    @property
    def prompt_digest(self) -> str:
        """Digest of the words that it is asked with; ``"rules"`` where there are none."""
        ...

    @property
    def labels(self) -> LabelSet:
        """The labels that it may use."""
        ...


class Reviewer(Answerer, Protocol):
    """A rule, a model or a person that reads one rollout and answers once.

    A reviewer knows nothing of panels or databases.
    """

    async def review(self, rollout: Rollout) -> Review:
        """Answer once. A fault or an unusable reply raises ``ReviewError``; nothing is guessed."""
        ...


def review_key(reviewer: Answerer, rollout: Rollout, *, round_: int = 1) -> ReviewKey:
    """Return the key under which this reviewer's answer for this rollout is stored."""
    return ReviewKey(
        rollout.id, reviewer.info.digest, reviewer.prompt_digest, reviewer.labels.name, round_
    )
