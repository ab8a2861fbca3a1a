"""scheduled events of instances."""

import sqlalchemy as sa
from alembic import op

revision = "e81c47b5f2a6"
down_revision = "70aa0e2203fc"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("instances", sa.Column("has_events", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_table(
        "instance_events",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("instance_id", sa.String(length=40), nullable=False),
        sa.Column("host_id", sa.String(length=40), nullable=False),
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("description", sa.String(length=255), nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=False),
        sa.Column("not_before_deadline", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instance_events")),
    )
    op.create_index("ix_instance_events_instance_id", "instance_events", ["instance_id", "id"])
    op.create_index("ix_instance_events_state_not_before", "instance_events", ["state", "not_before", "id"])
    op.create_index("ix_instance_events_host_id", "instance_events", ["host_id", "state"])
    op.create_index("ix_instance_events_account_id_id", "instance_events", ["account_id", "id"], unique=True)


def downgrade() -> None:
    op.drop_table("instance_events")
    op.drop_column("instances", "has_events")
