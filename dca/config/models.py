"""The settings of ``dca.toml`` as frozen models. Every key is documented under its field."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from dca.config.duration import duration
from dca.config.reviewers import OFFLINE_RULES, ReviewerConfig, RulesReviewer, Table, Word
from dca.domain.consensus import ConsensusParams
from dca.domain.labels import CONTRIBUTION_V1, Label, LabelSet
from dca.domain.rollout import SUCCESS_AT

OFFLINE = "offline"
"""The panel that exists without configuration: the four rules."""

Share = Annotated[float, Field(ge=0, le=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Method = Literal["uniform", "grpo", "deliberative"]


def distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return ``names`` when none repeats."""
    if len(set(names)) < len(names):
        raise ValueError("must not name anything twice")
    return names


class Project(Table):
    """``[project]``: what the whole directory shares."""

    store: Word = "dca.db"
    """SQLite file, relative to the directory of ``dca.toml``, or ``postgresql://...``."""
    tokenizer: Word | None = None
    """``utf8-bytes``, or a directory or file with a ``tokenizer.json``; used where rollouts bring
    no token ids."""
    labels: Word = CONTRIBUTION_V1.name
    """The label set in use: the built-in one, or the ``set`` of some ``[[labels]]``."""
    success_at: Annotated[float, Field(allow_inf_nan=False)] = SUCCESS_AT
    """Smallest reward of a success, for reviewers, veto, imitation and counts alike."""


class LabelEntry(Table):
    """``[[labels]]``: one label of a label set of your own; at most 8 share a ``set``."""

    set: Word
    """Name of the label set; changing a label means a new name."""
    key: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
    """Name in replies and exports."""
    letter: Annotated[str, Field(pattern=r"^[A-Z]$")]
    """One capital letter for score sheets."""
    value: Annotated[float, Field(ge=-1, le=1)]
    """Contribution to the outcome, in [-1, 1]."""
    description: Word
    """One clause, shown to reviewers."""

    def label(self) -> Label:
        """Return the label without its set's name."""
        return Label(self.key, self.letter, self.value, self.description)


class Panel(Table):
    """``[panels.NAME]``: who reviews together."""

    reviewers: Annotated[
        tuple[Word, ...], Field(min_length=1, strict=False), AfterValidator(distinct)
    ]
    """Names of reviewers; the four rules need no table of their own."""


class ReviewSettings(Table):
    """``[review]``: how the panel is run."""

    panel: Word = OFFLINE
    """The panel that ``dca review`` asks and ``dca consensus`` counts."""
    concurrency: Annotated[int, Field(ge=1, le=1024)] = 16
    """Most reviews in flight at once."""
    max_cost: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Most dollars that one run may spend; nothing is asked that could exceed them."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Most tokens, input and output, that one run may use."""
    max_time: Annotated[str, AfterValidator(duration)] | None = None
    """How long one run may ask anything new: ``90s``, ``45m``, ``2h30m``."""
    trace: bool | None = None
    """Whether each request is an OpenTelemetry span (extra ``otel``); not set: as OpenTelemetry's
    own variables say."""


class ConsensusSettings(Table):
    """``[consensus]``: the vote; the fields of ``dca.domain.consensus.ConsensusParams``."""

    quorum: Annotated[float, Field(gt=0.5, le=1)] = 2 / 3
    """Smallest share of the winning label, in (0.5, 1]."""
    margin: Share = 0.0
    """Smallest lead over the second label, in [0, 1]; a tie never agrees."""
    min_reviewers: Count = 2
    """Fewer voting reviewers than this make a stretch thin."""
    min_families: Count = 2
    """Fewer voting families than this make a stretch thin."""
    min_weight: Share = 0.5
    """Smallest voting share of the panel's weight, in [0, 1]."""
    unmarked: Word = "idle"
    """Label of an unmarked stretch inside a reviewer's covered range."""
    merge_support: Share = 0.4
    """A boundary with at most this support among reviewers on both sides goes, in [0, 1]."""
    family_correlation: Share = 0.5
    """Assumed error correlation inside a declared family, in [0, 1]."""
    link_overlap: PositiveShare = 0.5
    """Overlap coefficient at which a step stands for a consensus span, in (0, 1]."""
    link_support: PositiveShare = 0.5
    """Smallest support of a link, in (0, 1]."""
    link_reviewers: Count = 2
    """Fewest reviewers behind a link."""

    def params(self) -> ConsensusParams:
        """Return the settings as the consensus takes them."""
        return ConsensusParams(**self.model_dump())


class CreditSettings(Table):
    """``[credit]``: which methods, and the parts of ``deliberative``."""

    methods: Annotated[
        tuple[Method, ...], Field(min_length=1, strict=False), AfterValidator(distinct)
    ] = ("uniform", "grpo", "deliberative")
    """Methods that ``dca credit`` computes."""
    success: Literal["conserve", "mask", "uniform"] = "conserve"
    """Successes: the whole advantage on positive spans, only theirs, or everywhere."""
    failure: Literal["blame", "uniform", "drop"] = "blame"
    """Failures: the blamed step only, everywhere, or no training on them."""
    veto: bool = True
    """Give a success judged unsound neither reward nor punishment."""
    confidence: bool = False
    """Weight each span by the share of its agreed label."""
    cap: Annotated[float, Field(ge=1)] = 4.0
    """Largest factor on one token's advantage, >= 1."""
    unagreed: Literal["mask", "uniform"] = "mask"
    """Text without agreement: left out of training, or the plain advantage."""


def built_in_labels() -> dict[str, LabelSet]:
    """Return the label sets that need no configuration."""
    return {CONTRIBUTION_V1.name: CONTRIBUTION_V1}


def built_in_reviewers() -> dict[str, ReviewerConfig]:
    """Return the reviewers that need no configuration: each rule under its own name."""
    return {rule: RulesReviewer(rule=rule) for rule in OFFLINE_RULES}


def built_in_panels() -> dict[str, Panel]:
    """Return the panels that need no configuration."""
    return {OFFLINE: Panel(reviewers=OFFLINE_RULES)}


class Config(Table):
    """Everything that is configured, with defaults filled in and names resolved."""

    project: Project = Project()
    labels: dict[str, LabelSet] = Field(default_factory=built_in_labels)
    """Label sets by name; the built-in one is always there."""
    reviewers: dict[str, ReviewerConfig] = Field(default_factory=built_in_reviewers)
    """Reviewers by name; the four rules are always there."""
    panels: dict[str, Panel] = Field(default_factory=built_in_panels)
    """Panels by name; ``offline`` is always there."""
    review: ReviewSettings = ReviewSettings()
    consensus: ConsensusSettings = ConsensusSettings()
    credit: CreditSettings = CreditSettings()

    @property
    def label_set(self) -> LabelSet:
        """The label set in use."""
        return self.labels[self.project.labels]


SETTINGS: dict[str, type[Table]] = {
    "project": Project,
    "review": ReviewSettings,
    "consensus": ConsensusSettings,
    "credit": CreditSettings,
}
"""Tables whose keys can also come from the environment and from flags."""

TABLES = (*SETTINGS, "labels", "panels", "reviewers")
"""Every table that ``dca.toml`` may hold."""
