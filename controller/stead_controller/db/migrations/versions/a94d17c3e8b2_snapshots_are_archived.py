"""Snapshots are archived, and restored from the archive."""

import sqlalchemy as sa
from alembic import op

revision = "a94d17c3e8b2"
down_revision = "c2f70d5e918b"
branch_labels = None
depends_on = None

_USES = "EBS:SnapshotArchive"  # what an older release has no unit for


def upgrade() -> None:
    tier = sa.Column("storage_tier", sa.String(16), server_default="standard", nullable=False)
    op.add_column("snapshots", tier)
    op.create_table(
        "snapshot_tiers",
        sa.Column("snapshot_id", sa.String(40), nullable=False),
        sa.Column("operation", sa.String(24), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("detail", sa.String(512), nullable=False),
        sa.Column("operation_id", sa.String(40), nullable=False),
        sa.Column("started", sa.BigInteger(), nullable=False),
        sa.Column("progress", sa.Integer(), nullable=False),
        sa.Column("archived", sa.BigInteger()),
        sa.Column("restore_days", sa.Integer()),
        sa.Column("restore_expiry", sa.BigInteger()),
        sa.ForeignKeyConstraint(["snapshot_id"], ["snapshots.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("snapshot_id"),
    )
    op.create_index("ix_snapshot_tiers_restore_expiry", "snapshot_tiers", ["restore_expiry"])
    op.create_index("ix_snapshot_tiers_status", "snapshot_tiers", ["status"])
    op.create_table(
        "archived_pieces",
        sa.Column("snapshot_id", sa.String(40), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("segment_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("blocks", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["snapshot_id"], ["snapshots.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["segment_digest"], ["segments.digest"]),
        sa.PrimaryKeyConstraint("snapshot_id", "position"),
    )
    op.create_index("ix_archived_pieces_segment_digest", "archived_pieces", ["segment_digest"])


def downgrade() -> None:
    connection = op.get_bind()
    archived = connection.execute(sa.text("SELECT count(*) FROM snapshots WHERE storage_tier = 'archive'")).scalar_one()
    if archived:
        raise RuntimeError(f"{archived} snapshots are archived: an older release would lose them. Restore them before.")
    # Each segment of an archive is of one piece only; with no reference it is removed later.
    unused = (
        "UPDATE segments SET reference_count = 0 WHERE digest IN (SELECT segment_digest FROM archived_pieces) "
        "AND reference_count = 1"
    )
    connection.execute(sa.text(unused))
    op.drop_table("archived_pieces")
    op.drop_table("snapshot_tiers")
    op.drop_column("snapshots", "storage_tier")
    connection.execute(sa.text("DELETE FROM workflows WHERE kind IN ('archive-snapshot', 'restore-snapshot')"))
    for name in ("usage_meters", "usage_lines", "usage_amounts", "usage_days", "usage_tag_days"):
        table = sa.table(name, sa.column("usage"))
        connection.execute(sa.delete(table).where(table.c.usage.startswith(_USES)))
