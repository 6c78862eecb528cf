"""The first schema: rollouts, reviews, consensus, scores and jobs.

Migrations spell their types out: the mappings of ``store.tables`` move on, a revision does not.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

KEY = sa.String().with_variant(sa.String(collation="C"), "postgresql")
"""Compared and ordered by bytes on every database."""


def upgrade() -> None:
    """Build every table."""
    op.create_table(
        "rollouts",
        sa.Column("id", KEY, nullable=False),
        sa.Column("group_id", KEY, nullable=False),
        sa.Column("digest", KEY, nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=True),
        sa.Column("reward", sa.Double(), nullable=True),
        sa.Column("truth", sa.Text(), nullable=True),
        sa.Column("prompt_text", sa.Text(), nullable=False),
        sa.Column("prompt_turns", sa.JSON(), nullable=False),
        sa.Column("completion", sa.Text(), nullable=False),
        sa.Column("chars", sa.Integer(), nullable=False),
        sa.Column("think_start", sa.Integer(), nullable=True),
        sa.Column("think_stop", sa.Integer(), nullable=True),
        sa.Column("answer_start", sa.Integer(), nullable=True),
        sa.Column("answer_stop", sa.Integer(), nullable=True),
        sa.Column("rewards", sa.JSON(), nullable=True),
        sa.Column("sampling", sa.JSON(), nullable=True),
        sa.Column("meta", sa.JSON(), nullable=True),
        sa.Column("token_count", sa.Integer(), nullable=True),
        sa.Column("token_ids", sa.LargeBinary(), nullable=True),
        sa.Column("ids_exact", sa.Boolean(), nullable=True),
        sa.Column("tokenizer", sa.Text(), nullable=True),
        sa.Column("prompt_ids", sa.LargeBinary(), nullable=True),
        sa.Column("offsets", sa.LargeBinary(), nullable=True),
        sa.Column("logprobs", sa.LargeBinary(), nullable=True),
        sa.Column("created", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_rollouts"),
    )
    op.create_index("ix_rollouts_group_id_id", "rollouts", ["group_id", "id"])
    op.create_index("ix_rollouts_step", "rollouts", ["step"])
    op.create_table(
        "reviewers",
        sa.Column("digest", KEY, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("family", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("created", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_reviewers"),
    )
    op.create_table(
        "reviews",
        sa.Column("id", KEY, nullable=False),
        sa.Column("rollout_id", KEY, nullable=False),
        sa.Column("reviewer", KEY, nullable=False),
        sa.Column("prompt", KEY, nullable=False),
        sa.Column("label_set", KEY, nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("steps", sa.JSON(), nullable=False),
        sa.Column("links", sa.JSON(), nullable=True),
        sa.Column("covered_start", sa.Integer(), nullable=True),
        sa.Column("covered_stop", sa.Integer(), nullable=True),
        sa.Column("blame", sa.Integer(), nullable=True),
        sa.Column("soundness", sa.Text(), nullable=True),
        sa.Column("unplaced", sa.JSON(), nullable=True),
        sa.Column("usage", sa.JSON(), nullable=True),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("created", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["reviewer"], ["reviewers.digest"], name="fk_reviews_reviewer"),
        sa.ForeignKeyConstraint(["rollout_id"], ["rollouts.id"], name="fk_reviews_rollout_id"),
        sa.PrimaryKeyConstraint("id", name="pk_reviews"),
    )
    op.create_index(
        "ix_reviews_rollout_id_label_set_round_reviewer_prompt",
        "reviews",
        ["rollout_id", "label_set", "round", "reviewer", "prompt"],
    )
    op.create_table(
        "abstentions",
        sa.Column("id", KEY, nullable=False),
        sa.Column("rollout_id", KEY, nullable=False),
        sa.Column("reviewer", KEY, nullable=False),
        sa.Column("prompt", KEY, nullable=False),
        sa.Column("label_set", KEY, nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("usage", sa.JSON(), nullable=True),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("created", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["reviewer"], ["reviewers.digest"], name="fk_abstentions_reviewer"
        ),
        sa.ForeignKeyConstraint(["rollout_id"], ["rollouts.id"], name="fk_abstentions_rollout_id"),
        sa.PrimaryKeyConstraint("id", name="pk_abstentions"),
    )
    op.create_index(
        "ix_abstentions_rollout_id_label_set_round_reviewer_prompt",
        "abstentions",
        ["rollout_id", "label_set", "round", "reviewer", "prompt"],
    )
    op.create_table(
        "consensus_versions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", KEY, nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("params", sa.JSON(), nullable=False),
        sa.Column("label_set", KEY, nullable=False),
        sa.Column("panel", sa.JSON(), nullable=False),
        sa.Column("reviewers", sa.JSON(), nullable=False),
        sa.Column("weights", sa.JSON(), nullable=False),
        sa.Column("n_eff", sa.Double(), nullable=False),
        sa.Column("rollouts", sa.Integer(), nullable=False),
        sa.Column("shares", sa.JSON(), nullable=False),
        sa.Column("agreement", sa.JSON(), nullable=False),
        sa.Column("dca_version", sa.Text(), nullable=False),
        sa.Column("created", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_consensus_versions"),
    )
    op.create_index("ix_consensus_versions_digest", "consensus_versions", ["digest"])
    op.create_table(
        "consensus",
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("rollout_id", KEY, nullable=False),
        sa.Column("spans", sa.JSON(), nullable=False),
        sa.Column("links", sa.JSON(), nullable=True),
        sa.Column("blame", sa.JSON(), nullable=True),
        sa.Column("soundness", sa.JSON(), nullable=True),
        sa.Column("agreed", sa.Double(), nullable=False),
        sa.Column("disputed", sa.Double(), nullable=False),
        sa.Column("thin", sa.Double(), nullable=False),
        sa.Column("uncovered", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["rollout_id"], ["rollouts.id"], name="fk_consensus_rollout_id"),
        sa.ForeignKeyConstraint(
            ["version_id"], ["consensus_versions.id"], name="fk_consensus_version_id"
        ),
        sa.PrimaryKeyConstraint("version_id", "rollout_id", name="pk_consensus"),
    )
    op.create_index(
        "ix_consensus_rollout_id_version_id", "consensus", ["rollout_id", "version_id"]
    )
    op.create_table(
        "token_scores",
        sa.Column("rollout_id", KEY, nullable=False),
        sa.Column("name", KEY, nullable=False),
        sa.Column("source", KEY, nullable=False),
        sa.Column("typecode", sa.Text(), nullable=False),
        sa.Column("values", sa.LargeBinary(), nullable=False),
        sa.Column("meta", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(
            ["rollout_id"], ["rollouts.id"], name="fk_token_scores_rollout_id"
        ),
        sa.PrimaryKeyConstraint("rollout_id", "name", "source", name="pk_token_scores"),
    )
    op.create_table(
        "credit_runs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("params", sa.JSON(), nullable=False),
        sa.Column("consensus_version", sa.Integer(), nullable=True),
        sa.Column("label_set", sa.Text(), nullable=False),
        sa.Column("summary", sa.JSON(), nullable=False),
        sa.Column("created", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["consensus_version"],
            ["consensus_versions.id"],
            name="fk_credit_runs_consensus_version",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_credit_runs"),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("params", sa.JSON(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=True),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("created", sa.Text(), nullable=False),
        sa.Column("heartbeat", sa.Text(), nullable=False),
        sa.Column("finished", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
    )


def downgrade() -> None:
    """Drop every table."""
    for table in (
        "jobs",
        "credit_runs",
        "token_scores",
        "consensus",
        "consensus_versions",
        "abstentions",
        "reviews",
        "reviewers",
        "rollouts",
    ):
        op.drop_table(table)
