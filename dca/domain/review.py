"""Reviews: what one reviewer said of one rollout, or why it could not."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from dca.domain.rollout import content_id
from dca.domain.spans import Span


class LinkKind(StrEnum):
    """How one step led to another."""

    USES = "uses"
    """The later step uses the result of the earlier one."""
    SUGGESTS = "suggests"
    """A failure or an idea that led on."""
    REPAIRS = "repairs"
    """The later step corrects the earlier one."""


class Soundness(StrEnum):
    """Whether the stated steps, as stated, support the answer."""

    SOUND = "sound"
    UNSOUND = "unsound"
    """Right by luck, by cancelling errors, or not derived."""
    UNSURE = "unsure"
    """No vote."""


class AbstentionKind(StrEnum):
    """Why a reviewer gave no answer."""

    UNAVAILABLE = "unavailable"
    REFUSED = "refused"
    TRUNCATED = "truncated"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class ReviewerInfo:
    """Who reviews: everything that makes two reviewers answer differently, but no secret."""

    name: str
    """Name in the configuration, unique in a panel."""
    kind: str
    """``rules``, ``openai``, ``anthropic``, ``openai-compatible``, ``vllm``, ``transformers``,
    ``replay`` or ``human``."""
    family: str
    """Reviewers that share a base model or provider share a family."""
    model: str
    """Model name, or the version of the rules."""
    settings: Mapping[str, object] = field(default_factory=dict[str, object])
    """Protocol, sampling and other settings, JSON values only."""
    digest: str = field(init=False, repr=False, compare=False)
    """Content hash: a reviewer with other settings is another reviewer."""

    def __post_init__(self) -> None:
        """Hash what makes this reviewer, once: every review asks for it."""
        parts = (self.name, self.kind, self.family, self.model, dict(self.settings))
        object.__setattr__(self, "digest", content_id("reviewer", *parts))


@dataclass(frozen=True, slots=True)
class ReviewKey:
    """What makes a review the same review; asking again for a stored key is never needed."""

    rollout_id: str
    reviewer: str
    """Reviewer digest."""
    prompt: str
    """Prompt digest; ``"rules"`` where there is no prompt."""
    label_set: str
    """Name of the label set."""
    round: int = 1
    """1 is blind; later rounds saw other reviewers' reasons."""

    @property
    def id(self) -> str:
        """Content hash of the key."""
        return content_id(
            "review", self.rollout_id, self.reviewer, self.prompt, self.label_set, self.round
        )


@dataclass(frozen=True, slots=True)
class Step:
    """A stretch that a reviewer marked."""

    span: Span
    """Where, not empty."""
    label: str
    """Key of a label in the review's label set."""
    confidence: float | None = None
    """The reviewer's own confidence in [0, 1]; ``None`` when it gave none."""
    reason: str = ""
    """Why, in the reviewer's words."""


@dataclass(frozen=True, slots=True)
class Link:
    """Step ``source`` led to step ``target``; both are positions in ``Review.steps``."""

    source: int
    target: int
    kind: LinkKind


@dataclass(frozen=True, slots=True)
class Blame:
    """A verdict on the first wrong step on which a wrong answer rests."""

    step: int | None
    """Position in ``Review.steps``; ``None`` says "looked at every step and found none wrong"."""


@dataclass(frozen=True, slots=True)
class Unplaced:
    """A part of a reply that could not be placed in the text."""

    quote: str
    """What the reviewer said."""
    reason: str
    """Why it was not used."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a call cost; ``None`` where the provider did not say."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    """Including reasoning tokens."""
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    """Input tokens served from the provider's cache; part of ``input_tokens``."""
    seconds: float | None = None
    """Wall time of the call."""
    cache_write_tokens: int | None = None
    """Input tokens written to the provider's cache; part of ``input_tokens``."""
    dollars: float | None = None
    """What it cost, by the price known at the time; ``None`` where no price was known."""


@dataclass(frozen=True, slots=True)
class Review:
    """One reviewer's answer for one rollout."""

    key: ReviewKey
    steps: tuple[Step, ...]
    """Sorted by span."""
    links: tuple[Link, ...] = ()
    covered: Span | None = None
    """Range in which an unmarked stretch is a vote for "idle"; ``None``: unmarked is no vote."""
    blame: Blame | None = None
    """``None`` when the reviewer gave no verdict."""
    soundness: Soundness | None = None
    """``None`` when the reviewer gave no verdict."""
    unplaced: tuple[Unplaced, ...] = ()
    usage: Usage = Usage()
    raw: str = ""
    """The reply as it came, kept for ever."""

    def __post_init__(self) -> None:
        """Refuse links and blame that name no step, and empty steps."""
        count = len(self.steps)
        ends = [end for link in self.links for end in (link.source, link.target)]
        if self.blame is not None and self.blame.step is not None:
            ends.append(self.blame.step)
        if any(not 0 <= end < count for end in ends):
            raise ValueError(f"a link or the blame names a step outside 0..{count - 1}")
        if any(len(step.span) == 0 for step in self.steps):
            raise ValueError("a step holds no text")


@dataclass(frozen=True, slots=True)
class Abstention:
    """A reviewer that could not answer: no vote, never a zero."""

    key: ReviewKey
    kind: AbstentionKind
    reason: str
    """One sentence, no secrets."""
    usage: Usage = Usage()
    """Kept even when the reply was useless, because it was billed."""
    raw: str = ""
    """The reply as it came, ``""`` when there was none."""


Answer = Review | Abstention
"""What one reviewer said of one rollout, or why it could not."""
