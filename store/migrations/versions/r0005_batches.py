"""Batches at providers, and the replies of dialogues that are not at their end."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

KEY = sa.String().with_variant(sa.String(collation="C"), "postgresql")
"""Compared and ordered by bytes on every database."""


def upgrade() -> None:
    """Add both tables."""
    op.create_table(
        "batches",
        sa.Column("id", KEY, nullable=False),
        sa.Column("job", sa.Integer(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("reviewer", KEY, nullable=False),
        sa.Column("prompt", KEY, nullable=False),
        sa.Column("label_set", KEY, nullable=False),
        sa.Column("remote", sa.Text(), nullable=True),
        sa.Column("state", KEY, nullable=False),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("items", sa.LargeBinary(), nullable=False),
        sa.Column("nanodollars", sa.BigInteger(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("created", sa.Text(), nullable=False),
        sa.Column("changed", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name="fk_batches_job"),
        sa.ForeignKeyConstraint(["run"], ["jobs.id"], name="fk_batches_run"),
        sa.ForeignKeyConstraint(["reviewer"], ["reviewers.digest"], name="fk_batches_reviewer"),
        sa.PrimaryKeyConstraint("id", name="pk_batches"),
    )
    op.create_index("ix_batches_state", "batches", ["state"])
    op.create_table(
        "replies",
        sa.Column("dialogue", KEY, nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("reviewer", KEY, nullable=False),
        sa.Column("prompt", KEY, nullable=False),
        sa.Column("label_set", KEY, nullable=False),
        sa.Column("rollouts", sa.JSON(), nullable=True),
        sa.Column("question", KEY, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("fault", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("usage", sa.JSON(), nullable=True),
        sa.Column("created", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["reviewer"], ["reviewers.digest"], name="fk_replies_reviewer"),
        sa.PrimaryKeyConstraint("dialogue", "turn", name="pk_replies"),
    )
    op.create_index("ix_replies_reviewer", "replies", ["reviewer"])


def downgrade() -> None:
    """Drop both, and with the batches the claims that only they hold."""
    op.execute("DELETE FROM claims WHERE job IN (SELECT job FROM batches)")
    op.execute("UPDATE jobs SET status = 'lost' WHERE status = 'submitted'")
    op.drop_table("replies")
    op.drop_table("batches")
