"""Label sets by name, so that a name keeps its meaning.

Where reviews or consensus versions name the built-in set, the set that they were made with is
known and is written down. Other sets are written down when they are next used.
"""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

KEY = sa.String().with_variant(sa.String(collation="C"), "postgresql")
"""Compared and ordered by bytes on every database."""

BUILT_IN = "contribution-v1"
DIGEST = "4ad7ea517b530bdae864"
LABELS = [
    ["decisive", "D", 1.0, "solves the problem or an indispensable part of it"],
    ["contributing", "C", 1.0, "its result is used by the answer"],
    ["indirect", "I", 0.5, "failed or detoured, but led to a useful step"],
    ["setup", "S", 0.0, "restates the given or the task"],
    ["idle", "R", 0.0, "irrelevant, or repeats what is already known"],
    ["harmful", "X", -1.0, "wrong or misleading"],
]


def upgrade() -> None:
    """Add the table; write the built-in set down where it is in use."""
    table = op.create_table(
        "label_sets",
        sa.Column("name", KEY, nullable=False),
        sa.Column("digest", KEY, nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("created", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_label_sets"),
    )
    if _in_use():
        created = datetime.now(UTC).isoformat(timespec="microseconds")
        row = {"name": BUILT_IN, "digest": DIGEST, "labels": LABELS, "created": created}
        op.bulk_insert(table, [row])


def _in_use() -> bool:
    """Tell whether anything stored was made with the built-in set."""
    connection = op.get_bind()
    for name in ("reviews", "abstentions", "consensus_versions"):
        column = sa.table(name, sa.column("label_set")).c.label_set
        if connection.scalar(sa.select(column).where(column == BUILT_IN).limit(1)) is not None:
            return True
    return False


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("label_sets")
