"""The source's own id of a rollout, hashed with group and model: no two rollouts share one.

Of rollouts that share one already, the first by id gets it and the others stay as they are.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

KEY = sa.String().with_variant(sa.String(collation="C"), "postgresql")
"""Compared and ordered by bytes on every database."""
PAGE = 1000
"""Rollouts read at once."""

rollouts = sa.table(
    "rollouts",
    sa.column("id", KEY),
    sa.column("group_id", KEY),
    sa.column("model", sa.Text()),
    sa.column("meta", sa.JSON()),
    sa.column("source_key", KEY),
)


def upgrade() -> None:
    """Add the column with its index, and fill it."""
    op.add_column("rollouts", sa.Column("source_key", KEY, nullable=True))
    op.create_index("ix_rollouts_source_key", "rollouts", ["source_key"], unique=True)
    other = rollouts.alias("other")
    taken = sa.exists().where(other.c.source_key == sa.bindparam("key"))
    fill = (
        sa.update(rollouts)
        .where(rollouts.c.id == sa.bindparam("row"), ~taken)
        .values(source_key=sa.bindparam("key"))
    )
    last = ""
    while rows := _page(last):
        last = rows[-1].id
        keys = [{"row": row.id, "key": key} for row in rows if (key := _key(row)) is not None]
        if keys:
            op.get_bind().execute(fill, keys)


def _page(last: str) -> Sequence[sa.Row[Any, Any, Any, Any]]:
    """Return the next rollouts that come with further columns, by id."""
    columns = (rollouts.c.id, rollouts.c.group_id, rollouts.c.model, rollouts.c.meta)
    wanted = sa.select(*columns).where(rollouts.c.id > last, rollouts.c.meta.is_not(None))
    return op.get_bind().execute(wanted.order_by(rollouts.c.id).limit(PAGE)).all()


def _key(row: sa.Row[Any, Any, Any, Any]) -> str | None:
    """Return the hash of a source's id, as ``Rollout.source_key`` has it."""
    source_id = row.meta.get("source_id")
    if not isinstance(source_id, str):
        return None
    parts = ["source", source_id, row.group_id, row.model]
    text = json.dumps(parts, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:20]


def downgrade() -> None:
    """Drop the column."""
    op.drop_index("ix_rollouts_source_key", "rollouts")
    with op.batch_alter_table("rollouts") as table:
        table.drop_column("source_key")
