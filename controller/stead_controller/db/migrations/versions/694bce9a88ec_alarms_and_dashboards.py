"""alarms and dashboards of CloudWatch."""

import sqlalchemy as sa
from alembic import op

revision = "694bce9a88ec"
down_revision = "d4a81c60f3b2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "alarm_actions",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("alarm", sa.String(length=255), nullable=False),
        sa.Column("arn", sa.String(length=1024), nullable=False),
        sa.Column("instance_id", sa.String(length=40), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_alarm_actions")),
    )
    op.create_table(
        "alarm_history",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("alarm", sa.String(length=255), nullable=False),
        sa.Column("composite", sa.Boolean(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("summary", sa.String(length=255), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_alarm_history")),
    )
    with op.batch_alter_table("alarm_history", schema=None) as batch_op:
        batch_op.create_index("ix_alarm_history_account_id_alarm_at", ["account_id", "alarm", "at"], unique=False)
        batch_op.create_index("ix_alarm_history_account_id_at", ["account_id", "at"], unique=False)
        batch_op.create_index(batch_op.f("ix_alarm_history_at"), ["at"], unique=False)

    op.create_table(
        "alarms",
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.String(length=1024), nullable=True),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=True),
        sa.Column("actions_enabled", sa.Boolean(), nullable=False),
        sa.Column("actions", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("watched", sa.String(length=64), nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.String(length=1023), nullable=False),
        sa.Column("reason_data", sa.Text(), nullable=True),
        sa.Column("configured", sa.BigInteger(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.Column("transitioned", sa.BigInteger(), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("account_id", "name", name=op.f("pk_alarms")),
    )
    with op.batch_alter_table("alarms", schema=None) as batch_op:
        batch_op.create_index("ix_alarms_account_id_watched", ["account_id", "watched"], unique=False)
        batch_op.create_index(batch_op.f("ix_alarms_due"), ["due"], unique=False)

    op.create_table(
        "dashboards",
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("modified", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "name", name=op.f("pk_dashboards")),
    )
    op.create_table(
        "alarm_children",
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("alarm", sa.String(length=255), nullable=False),
        sa.Column("child", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "alarm"],
            ["alarms.account_id", "alarms.name"],
            name=op.f("fk_alarm_children_account_id_alarm"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "alarm", "child", name=op.f("pk_alarm_children")),
    )
    with op.batch_alter_table("alarm_children", schema=None) as batch_op:
        batch_op.create_index("ix_alarm_children_account_id_child", ["account_id", "child"], unique=False)

    op.create_table(
        "alarm_metrics",
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("alarm", sa.String(length=255), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "alarm"],
            ["alarms.account_id", "alarms.name"],
            name=op.f("fk_alarm_metrics_account_id_alarm"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "alarm", "digest", name=op.f("pk_alarm_metrics")),
    )
    with op.batch_alter_table("alarm_metrics", schema=None) as batch_op:
        batch_op.create_index("ix_alarm_metrics_digest", ["digest"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("alarm_metrics", schema=None) as batch_op:
        batch_op.drop_index("ix_alarm_metrics_digest")

    op.drop_table("alarm_metrics")
    with op.batch_alter_table("alarm_children", schema=None) as batch_op:
        batch_op.drop_index("ix_alarm_children_account_id_child")

    op.drop_table("alarm_children")
    op.drop_table("dashboards")
    with op.batch_alter_table("alarms", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_alarms_due"))
        batch_op.drop_index("ix_alarms_account_id_watched")

    op.drop_table("alarms")
    with op.batch_alter_table("alarm_history", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_alarm_history_at"))
        batch_op.drop_index("ix_alarm_history_account_id_at")
        batch_op.drop_index("ix_alarm_history_account_id_alarm_at")

    op.drop_table("alarm_history")
    op.drop_table("alarm_actions")
