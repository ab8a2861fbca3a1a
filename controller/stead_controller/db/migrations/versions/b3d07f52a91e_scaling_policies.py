"""Scaling policies, scheduled actions, collected metrics, and the policies that alarms name."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "b3d07f52a91e"
down_revision = "6d199503f8ad"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("alarms", sa.Column("acted", sa.BigInteger(), nullable=True))
    op.add_column("alarm_actions", sa.Column("state", sa.String(length=20), nullable=True))
    op.add_column("alarm_actions", sa.Column("reason_data", sa.Text(), nullable=True))
    op.add_column("alarm_actions", sa.Column("again", sa.Boolean(), nullable=True))
    op.create_table(
        "alarm_policies",
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("alarm", sa.String(length=255), nullable=False),
        sa.Column("token", sa.String(length=36), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "alarm"],
            ["alarms.account_id", "alarms.name"],
            name=op.f("fk_alarm_policies_account_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "alarm", "token", name=op.f("pk_alarm_policies")),
    )
    op.create_index("ix_alarm_policies_account_id_token", "alarm_policies", ["account_id", "token"], unique=False)
    op.create_table(
        "scaling_policies",
        *_of_a_group("scaling_policies"),
        sa.Column("token", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("alarms", sa.JSON(), nullable=False),
    )
    op.create_table(
        "scheduled_actions",
        *_of_a_group("scheduled_actions"),
        sa.Column("token", sa.String(length=36), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=True),
        sa.Column("end", sa.BigInteger(), nullable=True),
        sa.Column("recurrence", sa.String(length=255), nullable=True),
        sa.Column("time_zone", sa.String(length=255), nullable=True),
        sa.Column("min_size", sa.Integer(), nullable=True),
        sa.Column("max_size", sa.Integer(), nullable=True),
        sa.Column("desired", sa.Integer(), nullable=True),
        sa.Column("due", sa.BigInteger(), nullable=True),
    )
    op.create_index("ix_scheduled_actions_due", "scheduled_actions", ["due"], unique=False)
    op.create_table("scaling_metrics", *_of_a_group("scaling_metrics", 64))


def _of_a_group(table: str, length: int = 255) -> tuple[Any, ...]:
    return (
        sa.Column("group_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=length), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"], ["scaling_groups.id"], name=op.f(f"fk_{table}_group_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("group_id", "name", name=op.f(f"pk_{table}")),
    )


def downgrade() -> None:
    op.drop_table("scaling_metrics")
    op.drop_table("scheduled_actions")
    op.drop_table("scaling_policies")
    op.drop_table("alarm_policies")
    for column in ("again", "reason_data", "state"):
        op.drop_column("alarm_actions", column)
    op.drop_column("alarms", "acted")
