"""event windows of instances."""

import sqlalchemy as sa
from alembic import op

revision = "c3f9a70d51e8"
down_revision = "b7d41f60c2ae"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "instance_event_windows",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=True),
        sa.Column("time_ranges", sa.JSON(), nullable=False),
        sa.Column("cron_expression", sa.String(length=255), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instance_event_windows")),
    )
    op.create_index(
        "ix_instance_event_windows_account_id_id", "instance_event_windows", ["account_id", "id"], unique=True
    )
    op.create_table(
        "event_window_targets",
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("value", sa.String(length=256), nullable=False),
        sa.Column("window_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(
            ["window_id"],
            ["instance_event_windows.id"],
            name=op.f("fk_event_window_targets_window_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "kind", "name", "value", name=op.f("pk_event_window_targets")),
    )
    op.create_index("ix_event_window_targets_window_id", "event_window_targets", ["window_id", "kind", "name", "value"])


def downgrade() -> None:
    op.drop_table("event_window_targets")
    op.drop_table("instance_event_windows")
