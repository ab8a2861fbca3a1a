"""Snapshots are billed: meters of those that there are."""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "7a2fd15c9e06"
down_revision = "e40b96d2713c"
branch_labels = None
depends_on = None

_BLOCK_BYTES = 512 * 1024


def upgrade() -> None:
    """Bill each snapshot that is complete, or was, since its completion, by the blocks that its parent has not."""
    connection = op.get_bind()
    op.add_column("snapshots", sa.Column("counted_after", sa.String(length=40), nullable=True))
    op.create_index("ix_snapshots_counted_after", "snapshots", ["counted_after"], unique=False)
    make_accounts_indexes_last("snapshots")
    connection.execute(
        sa.text(
            "UPDATE snapshots SET counted_after = parent_id "
            "WHERE completed IS NOT NULL AND state <> 'deleting' AND EXISTS (SELECT 1 FROM snapshots AS parent "
            "WHERE parent.id = snapshots.parent_id AND parent.account_id = snapshots.account_id "
            "AND parent.completed IS NOT NULL AND parent.state <> 'deleting')"
        )
    )
    meters = sa.table(
        "usage_meters",
        *(sa.column(name) for name in ("resource_id", "usage", "account_id", "operation", "zone")),
        *(sa.column(name, sa.BigInteger()) for name in ("quantity", "least", "began")),
    )
    found = connection.execute(
        sa.text(
            "SELECT id, account_id, stored_size, counted_after, completed FROM snapshots "
            "WHERE completed IS NOT NULL AND state <> 'deleting' AND account_id <> :cloud"
        ),
        {"cloud": "000000000000"},
    ).all()
    for row in found:
        blocks = row.stored_size // _BLOCK_BYTES
        if row.counted_after is not None:
            blocks = _own_blocks(connection, row.id, row.counted_after)
        if blocks:
            connection.execute(sa.insert(meters), _meter(row, blocks))


def downgrade() -> None:
    op.execute("DELETE FROM usage_meters WHERE usage = 'EBS:SnapshotUsage'")
    op.drop_index("ix_snapshots_counted_after", table_name="snapshots")
    op.drop_column("snapshots", "counted_after")


def make_accounts_indexes_last(table: str) -> None:
    """Make all indexes but the new one anew, in their order: of two SQLite takes the one made later."""
    bind = op.get_bind()
    if bind.dialect.name != "sqlite":
        return
    query = (
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = :table AND sql IS NOT NULL "
        "AND name <> 'ix_snapshots_counted_after' ORDER BY rowid"
    )
    for name, statement in bind.execute(sa.text(query), {"table": table}).all():
        op.drop_index(name, table_name=table)
        op.execute(statement)


def _own_blocks(connection: Any, snapshot_id: str, parent_id: str) -> int:
    rows = connection.execute(
        sa.text(
            "SELECT mine.slots, mine.digests, theirs.slots, theirs.digests FROM snapshot_segments AS own "
            "JOIN segments AS mine ON mine.digest = own.segment_digest "
            "LEFT JOIN snapshot_segments AS other ON other.snapshot_id = :parent AND other.position = own.position "
            "LEFT JOIN segments AS theirs ON theirs.digest = other.segment_digest "
            "WHERE own.snapshot_id = :own AND (other.segment_digest IS NULL OR other.segment_digest <> own.segment_digest)"
        ),
        {"own": snapshot_id, "parent": parent_id},
    )
    return sum(
        len(set(_blocks(slots, digests)) - set(_blocks(before or b"", had or b"")))
        for slots, digests, before, had in rows
    )


def _blocks(slots: bytes, digests: bytes) -> Iterator[tuple[bytes, bytes]]:
    for number in range(len(slots) // 2):
        yield bytes(slots[2 * number : 2 * number + 2]), bytes(digests[32 * number : 32 * number + 32])


def _meter(row: Any, blocks: int) -> dict[str, Any]:
    return {
        "resource_id": row.id,
        "usage": "EBS:SnapshotUsage",
        "account_id": row.account_id,
        "operation": "CreateSnapshot",
        "zone": "",
        "quantity": blocks,
        "least": 0,
        "began": row.completed // 1000,
    }
