"""Budgets, their notifications, their actions, and what actions did."""

import sqlalchemy as sa
from alembic import op

revision = "b7d2f4a91c60"
down_revision = "e6c07d94b1a3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "budgets",
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("time_unit", sa.String(length=32), nullable=False),
        sa.Column("begins", sa.BigInteger(), nullable=False),
        sa.Column("ends", sa.BigInteger(), nullable=False),
        sa.Column("unit", sa.String(length=32), nullable=False),
        sa.Column("limits", sa.Text(), nullable=False),
        sa.Column("planned", sa.Boolean(), nullable=False),
        sa.Column("metric", sa.String(length=32), nullable=False),
        sa.Column("filter", sa.Text(), nullable=True),
        sa.Column("named", sa.Boolean(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.Column("settled", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "name", name=op.f("pk_budgets")),
    )
    op.create_index("ix_budgets_due_account_id_name", "budgets", ["due", "account_id", "name"], unique=False)
    op.create_table(
        "budget_notifications",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("budget", sa.String(length=100), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("comparison", sa.String(length=32), nullable=False),
        sa.Column("threshold", sa.Float(), nullable=False),
        sa.Column("threshold_type", sa.String(length=32), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("told", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id", "budget"],
            ["budgets.account_id", "budgets.name"],
            name=op.f("fk_budget_notifications_account_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budget_notifications")),
    )
    op.create_index(
        "ix_budget_notifications_account_id_budget_id",
        "budget_notifications",
        ["account_id", "budget", "id"],
        unique=False,
    )
    op.create_index("ix_budget_notifications_account_id_id", "budget_notifications", ["account_id", "id"], unique=True)
    op.create_table(
        "budget_actions",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("budget", sa.String(length=100), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("threshold", sa.Float(), nullable=False),
        sa.Column("threshold_type", sa.String(length=32), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("approval", sa.String(length=32), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("acted", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id", "budget"],
            ["budgets.account_id", "budgets.name"],
            name=op.f("fk_budget_actions_account_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budget_actions")),
    )
    op.create_index("ix_budget_actions_status_id", "budget_actions", ["status", "id"], unique=False)
    op.create_index(
        "ix_budget_actions_account_id_budget_id", "budget_actions", ["account_id", "budget", "id"], unique=False
    )
    op.create_index("ix_budget_actions_account_id_id", "budget_actions", ["account_id", "id"], unique=True)
    op.create_table(
        "budget_action_events",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("action_id", sa.String(length=36), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["action_id"], ["budget_actions.id"], name=op.f("fk_budget_action_events_action_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_budget_action_events")),
    )
    op.create_index("ix_budget_action_events_at_number", "budget_action_events", ["at", "number"], unique=False)
    op.create_index(
        "ix_budget_action_events_action_id_number", "budget_action_events", ["action_id", "number"], unique=False
    )


def downgrade() -> None:
    for name in ("budget_action_events", "budget_actions", "budget_notifications", "budgets"):
        op.drop_table(name)
