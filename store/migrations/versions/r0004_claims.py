"""Claims of running reviews, and what a running job is told from outside."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

KEY = sa.String().with_variant(sa.String(collation="C"), "postgresql")
"""Compared and ordered by bytes on every database."""


def upgrade() -> None:
    """Add the table and the column."""
    op.create_table(
        "claims",
        sa.Column("id", KEY, nullable=False),
        sa.Column("job", sa.Integer(), nullable=False),
        sa.Column("created", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name="fk_claims_job"),
        sa.PrimaryKeyConstraint("id", name="pk_claims"),
    )
    op.create_index("ix_claims_job", "claims", ["job"])
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("control", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Drop both."""
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_column("control")
    op.drop_table("claims")
