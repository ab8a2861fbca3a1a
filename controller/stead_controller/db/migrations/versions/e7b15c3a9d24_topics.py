"""Topics of SNS, their subscriptions, messages on their way, and groups that publish."""

import sqlalchemy as sa
from alembic import op

revision = "e7b15c3a9d24"
down_revision = "b7c41f9e2d60"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "topics",
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("display_name", sa.String(length=100), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "name", name=op.f("pk_topics")),
    )
    op.create_table(
        "subscriptions",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("topic", sa.String(length=256), nullable=False),
        sa.Column("protocol", sa.String(length=16), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("raw", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("locked", sa.Boolean(), nullable=False),
        sa.Column("authenticated", sa.Boolean(), nullable=False),
        sa.Column("token", sa.String(length=128), nullable=False),
        sa.Column("token_until", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("queued", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "topic"],
            ["topics.account_id", "topics.name"],
            name=op.f("fk_subscriptions_account_id_topic"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscriptions")),
    )
    op.create_index("ix_subscriptions_due_id", "subscriptions", ["due", "id"], unique=False)
    op.create_index(
        "ix_subscriptions_state_token_until_id", "subscriptions", ["state", "token_until", "id"], unique=False
    )
    op.create_index(
        "ix_subscriptions_account_id_topic_id", "subscriptions", ["account_id", "topic", "id"], unique=False
    )
    op.create_index("ix_subscriptions_account_id_id", "subscriptions", ["account_id", "id"], unique=True)
    op.create_table(
        "topic_messages",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=100), nullable=True),
        sa.Column("bodies", sa.Text(), nullable=False),
        sa.Column("attributes", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_topic_messages")),
    )
    op.create_table(
        "deliveries",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("subscription_id", sa.String(length=36), nullable=False),
        sa.Column("message_id", sa.String(length=36), nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"], ["topic_messages.id"], name=op.f("fk_deliveries_message_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["subscriptions.id"], name=op.f("fk_deliveries_subscription_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_deliveries")),
    )
    op.create_index(op.f("ix_deliveries_message_id"), "deliveries", ["message_id"], unique=False)
    op.create_index("ix_deliveries_subscription_id_number", "deliveries", ["subscription_id", "number"], unique=False)
    op.create_table(
        "scaling_notifications",
        sa.Column("group_id", sa.String(length=36), nullable=False),
        sa.Column("topic", sa.String(length=320), nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"], ["scaling_groups.id"], name=op.f("fk_scaling_notifications_group_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("group_id", "topic", "type", name=op.f("pk_scaling_notifications")),
    )


def downgrade() -> None:
    op.drop_table("scaling_notifications")
    op.drop_table("deliveries")
    op.drop_table("topic_messages")
    op.drop_table("subscriptions")
    op.drop_table("topics")
