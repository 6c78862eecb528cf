"""Typed mappings of every table. Nothing outside this package sees a row.

    rollouts ─┬─< reviews >────── reviewers
              ├─< abstentions >── reviewers
              ├─< consensus >──── consensus_versions
              └─< token_scores    credit_runs        jobs    label_sets

    jobs ─┬─< claims    reviewers ─┬─< batches
          └─< batches              └─< replies

Times are UTC in ISO 8601 text, so that they sort and read the same everywhere.
"""

from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    Dialect,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from store.codecs import storable


class AnyText(TypeDecorator[str]):
    """Text from a model or a source: NUL and lone surrogates are stored as visible escapes."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Return what the database can hold."""
        return None if value is None else storable(value)


class Key(TypeDecorator[str]):
    """Text that is compared and ordered by bytes, so that pages are the same on every database."""

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:  # noqa: ANN401 - SQLAlchemy's own type
        """Return the type with byte order where the database would use a language's order."""
        plain = String(collation="C") if dialect.name == "postgresql" else String()
        return dialect.type_descriptor(plain)

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Return what the database can hold."""
        return None if value is None else storable(value)


Json = JSON(none_as_null=True)
"""JSON text, read and written by the engine's serializers. Not JSONB: that refuses NUL."""


class Base(DeclarativeBase):
    """All tables of the store."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {str: AnyText, bytes: LargeBinary}


class RolloutRow(Base):
    """One rollout; the prompt's turns lie in one searchable text."""

    __tablename__ = "rollouts"
    __table_args__ = (
        Index(None, "group_id", "id"),
        Index(None, "step"),
        Index(None, "source_key", unique=True),
    )

    id: Mapped[str] = mapped_column(Key, primary_key=True)
    group_id: Mapped[str] = mapped_column(Key)
    digest: Mapped[str] = mapped_column(Key)
    """Content hash of everything stored, to see conflicts."""
    task: Mapped[str]
    model: Mapped[str]
    step: Mapped[int | None] = mapped_column(BigInteger)
    reward: Mapped[float | None]
    truth: Mapped[str | None]
    prompt_text: Mapped[str]
    """Contents of all turns, one after the other, each closed by a line feed."""
    prompt_turns: Mapped[Any] = mapped_column(Json)
    """``[[role, code points of its content], ...]``."""
    completion: Mapped[str]
    chars: Mapped[int]
    """Code points of the completion."""
    think_start: Mapped[int | None]
    think_stop: Mapped[int | None]
    answer_start: Mapped[int | None]
    answer_stop: Mapped[int | None]
    rewards: Mapped[Any | None] = mapped_column(Json)
    sampling: Mapped[Any | None] = mapped_column(Json)
    meta: Mapped[Any | None] = mapped_column(Json)
    token_count: Mapped[int | None]
    token_ids: Mapped[bytes | None]
    """int32."""
    ids_exact: Mapped[bool | None]
    tokenizer: Mapped[str | None]
    prompt_ids: Mapped[bytes | None]
    """int32."""
    offsets: Mapped[bytes | None]
    """int32 pairs."""
    logprobs: Mapped[bytes | None]
    """float32."""
    source_key: Mapped[str | None] = mapped_column(Key)
    """``Rollout.source_key``; no two rollouts have the same."""
    created: Mapped[str]


class LabelSetRow(Base):
    """What the name of a label set stands for; written once, see ``store.label_sets``."""

    __tablename__ = "label_sets"

    name: Mapped[str] = mapped_column(Key, primary_key=True)
    digest: Mapped[str] = mapped_column(Key)
    """``LabelSet.digest``."""
    labels: Mapped[Any] = mapped_column(Json)
    """``[[key, letter, value, description], ...]`` in the order of codes."""
    created: Mapped[str]


class ReviewerRow(Base):
    """One reviewer with its settings."""

    __tablename__ = "reviewers"

    digest: Mapped[str] = mapped_column(Key, primary_key=True)
    name: Mapped[str]
    kind: Mapped[str]
    family: Mapped[str]
    model: Mapped[str]
    settings: Mapped[Any] = mapped_column(Json)
    created: Mapped[str]


class ReviewRow(Base):
    """One review with its steps and links as compact JSON, see ``store.answer_rows``."""

    __tablename__ = "reviews"
    __table_args__ = (Index(None, "rollout_id", "label_set", "round", "reviewer", "prompt"),)

    id: Mapped[str] = mapped_column(Key, primary_key=True)
    """``ReviewKey.id``."""
    rollout_id: Mapped[str] = mapped_column(Key, ForeignKey("rollouts.id"))
    reviewer: Mapped[str] = mapped_column(Key, ForeignKey("reviewers.digest"))
    prompt: Mapped[str] = mapped_column(Key)
    label_set: Mapped[str] = mapped_column(Key)
    round: Mapped[int]
    steps: Mapped[Any] = mapped_column(Json)
    links: Mapped[Any | None] = mapped_column(Json)
    covered_start: Mapped[int | None]
    covered_stop: Mapped[int | None]
    blame: Mapped[int | None]
    """Position of the blamed step; -1: none is wrong; NULL: no verdict."""
    soundness: Mapped[str | None]
    unplaced: Mapped[Any | None] = mapped_column(Json)
    usage: Mapped[Any | None] = mapped_column(Json)
    raw: Mapped[bytes] = mapped_column(deferred=True, deferred_raiseload=True)
    """The reply in UTF-8 with surrogates passed."""
    created: Mapped[str]


class AbstentionRow(Base):
    """The latest abstention of a key; it counts only while no review has that key."""

    __tablename__ = "abstentions"
    __table_args__ = (Index(None, "rollout_id", "label_set", "round", "reviewer", "prompt"),)

    id: Mapped[str] = mapped_column(Key, primary_key=True)
    """``ReviewKey.id``."""
    rollout_id: Mapped[str] = mapped_column(Key, ForeignKey("rollouts.id"))
    reviewer: Mapped[str] = mapped_column(Key, ForeignKey("reviewers.digest"))
    prompt: Mapped[str] = mapped_column(Key)
    label_set: Mapped[str] = mapped_column(Key)
    round: Mapped[int]
    kind: Mapped[str]
    reason: Mapped[str]
    usage: Mapped[Any | None] = mapped_column(Json)
    raw: Mapped[bytes] = mapped_column(deferred=True, deferred_raiseload=True)
    created: Mapped[str]


class ConsensusVersionRow(Base):
    """One numbered, immutable run of the vote."""

    __tablename__ = "consensus_versions"
    __table_args__ = (Index(None, "digest"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(Key)
    """``store.consensus.version_digest``: equal for an identical re-run."""
    method: Mapped[str]
    params: Mapped[Any] = mapped_column(Json)
    label_set: Mapped[str] = mapped_column(Key)
    panel: Mapped[Any] = mapped_column(Json)
    reviewers: Mapped[Any] = mapped_column(Json)
    weights: Mapped[Any] = mapped_column(Json)
    n_eff: Mapped[float]
    rollouts: Mapped[int]
    shares: Mapped[Any] = mapped_column(Json)
    agreement: Mapped[Any] = mapped_column(Json)
    dca_version: Mapped[str]
    created: Mapped[str]


class ConsensusRow(Base):
    """What the panel settled for one rollout in one version, see ``store.consensus_rows``."""

    __tablename__ = "consensus"
    __table_args__ = (Index(None, "rollout_id", "version_id"),)

    version_id: Mapped[int] = mapped_column(ForeignKey("consensus_versions.id"), primary_key=True)
    rollout_id: Mapped[str] = mapped_column(Key, ForeignKey("rollouts.id"), primary_key=True)
    spans: Mapped[Any] = mapped_column(Json)
    links: Mapped[Any | None] = mapped_column(Json)
    blame: Mapped[Any | None] = mapped_column(Json)
    soundness: Mapped[Any | None] = mapped_column(Json)
    agreed: Mapped[float]
    """Share of characters in this status, as the next three."""
    disputed: Mapped[float]
    thin: Mapped[float]
    uncovered: Mapped[float]


class TokenScoresRow(Base):
    """One number per completion token of one rollout."""

    __tablename__ = "token_scores"

    rollout_id: Mapped[str] = mapped_column(Key, ForeignKey("rollouts.id"), primary_key=True)
    name: Mapped[str] = mapped_column(Key, primary_key=True)
    source: Mapped[str] = mapped_column(Key, primary_key=True)
    typecode: Mapped[str]
    """``b``, ``i``, ``f`` or ``d`` as in ``array``."""
    values: Mapped[bytes]
    meta: Mapped[Any | None] = mapped_column(Json)


class CreditRunRow(Base):
    """One run of a credit assigner."""

    __tablename__ = "credit_runs"

    id: Mapped[int] = mapped_column(primary_key=True)
    method: Mapped[str]
    params: Mapped[Any] = mapped_column(Json)
    consensus_version: Mapped[int | None] = mapped_column(ForeignKey("consensus_versions.id"))
    label_set: Mapped[str]
    summary: Mapped[Any] = mapped_column(Json)
    created: Mapped[str]


class JobRow(Base):
    """Long work and how far it is."""

    __tablename__ = "jobs"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    params: Mapped[Any] = mapped_column(Json)
    status: Mapped[str]
    done: Mapped[int]
    total: Mapped[int | None]
    counts: Mapped[Any] = mapped_column(Json)
    message: Mapped[str]
    pid: Mapped[int]
    host: Mapped[str]
    created: Mapped[str]
    heartbeat: Mapped[str]
    finished: Mapped[str | None]
    control: Mapped[Any | None] = mapped_column(Json)
    """``{"paused": [reviewer names]}``: what a running review is told from outside."""


class ClaimRow(Base):
    """A review that a running job is asking for, see ``store.claims``."""

    __tablename__ = "claims"
    __table_args__ = (Index(None, "job"),)

    id: Mapped[str] = mapped_column(Key, primary_key=True)
    """``ReviewKey.id``."""
    job: Mapped[int] = mapped_column(ForeignKey("jobs.id"))
    created: Mapped[str]


class BatchRow(Base):
    """Requests that were given to a provider together, see ``store.batches``."""

    __tablename__ = "batches"
    __table_args__ = (Index(None, "state"),)

    id: Mapped[str] = mapped_column(Key, primary_key=True)
    job: Mapped[int] = mapped_column(ForeignKey("jobs.id"))
    """The batch's own job, which holds its claims."""
    run: Mapped[int] = mapped_column(ForeignKey("jobs.id"))
    """The job that submitted it."""
    reviewer: Mapped[str] = mapped_column(Key, ForeignKey("reviewers.digest"))
    prompt: Mapped[str] = mapped_column(Key)
    label_set: Mapped[str] = mapped_column(Key)
    remote: Mapped[str | None]
    state: Mapped[str] = mapped_column(Key)
    requests: Mapped[int]
    items: Mapped[bytes] = mapped_column(deferred=True, deferred_raiseload=True)
    """Compressed JSON, see ``store.batches``."""
    nanodollars: Mapped[int] = mapped_column(BigInteger)
    """Most that it can cost, as the next."""
    tokens: Mapped[int] = mapped_column(BigInteger)
    counts: Mapped[Any] = mapped_column(Json)
    message: Mapped[str]
    created: Mapped[str]
    changed: Mapped[str]


class ReplyRow(Base):
    """One reply of a dialogue that is not at its end, see ``store.replies``."""

    __tablename__ = "replies"
    __table_args__ = (Index(None, "reviewer"),)

    dialogue: Mapped[str] = mapped_column(Key, primary_key=True)
    """``ReviewKey.id`` of the first rollout that is asked about."""
    turn: Mapped[int] = mapped_column(primary_key=True)
    reviewer: Mapped[str] = mapped_column(Key, ForeignKey("reviewers.digest"))
    prompt: Mapped[str] = mapped_column(Key)
    label_set: Mapped[str] = mapped_column(Key)
    rollouts: Mapped[Any | None] = mapped_column(Json)
    """Ids of all rollouts where there are several."""
    question: Mapped[str] = mapped_column(Key)
    body: Mapped[bytes | None]
    fault: Mapped[str]
    tries: Mapped[int]
    usage: Mapped[Any | None] = mapped_column(Json)
    created: Mapped[str]
