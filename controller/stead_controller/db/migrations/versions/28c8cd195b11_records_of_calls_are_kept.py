"""records of calls are kept."""

import sqlalchemy as sa
from alembic import op

revision = "28c8cd195b11"
down_revision = "d77062715930"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_event_resources",
        sa.Column("event", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=2048), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("event", "place", name=op.f("pk_audit_event_resources")),
    )
    with op.batch_alter_table("audit_event_resources", schema=None) as batch_op:
        batch_op.create_index("ix_audit_event_resources_name", ["account_id", "name", "time", "event"], unique=False)
        batch_op.create_index("ix_audit_event_resources_type", ["account_id", "type", "time", "event"], unique=False)

    op.create_table(
        "audit_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("user_name", sa.String(length=128), nullable=False),
        sa.Column("access_key_id", sa.String(length=128), nullable=False),
        sa.Column("read_only", sa.Boolean(), nullable=False),
        sa.Column("event", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_events")),
    )
    with op.batch_alter_table("audit_events", schema=None) as batch_op:
        batch_op.create_index(
            "ix_audit_events_account_key", ["account_id", "access_key_id", "time", "id"], unique=False
        )
        batch_op.create_index("ix_audit_events_account_name", ["account_id", "name", "time", "id"], unique=False)
        batch_op.create_index(
            "ix_audit_events_account_read_only", ["account_id", "read_only", "time", "id"], unique=False
        )
        batch_op.create_index("ix_audit_events_account_source", ["account_id", "source", "time", "id"], unique=False)
        batch_op.create_index("ix_audit_events_account_time", ["account_id", "time", "id"], unique=False)
        batch_op.create_index("ix_audit_events_account_user", ["account_id", "user_name", "time", "id"], unique=False)
        batch_op.create_index("ix_audit_events_event_id", ["event_id"], unique=False)
        batch_op.create_index("ix_audit_events_time", ["time", "id"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("audit_events", schema=None) as batch_op:
        batch_op.drop_index("ix_audit_events_time")
        batch_op.drop_index("ix_audit_events_event_id")
        batch_op.drop_index("ix_audit_events_account_user")
        batch_op.drop_index("ix_audit_events_account_time")
        batch_op.drop_index("ix_audit_events_account_source")
        batch_op.drop_index("ix_audit_events_account_read_only")
        batch_op.drop_index("ix_audit_events_account_name")
        batch_op.drop_index("ix_audit_events_account_key")

    op.drop_table("audit_events")
    with op.batch_alter_table("audit_event_resources", schema=None) as batch_op:
        batch_op.drop_index("ix_audit_event_resources_type")
        batch_op.drop_index("ix_audit_event_resources_name")

    op.drop_table("audit_event_resources")
