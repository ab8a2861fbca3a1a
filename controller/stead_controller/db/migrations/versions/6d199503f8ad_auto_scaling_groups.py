"""Auto Scaling groups, with their instances, tags, activities, hooks and launch configurations."""

import sqlalchemy as sa
from alembic import op

revision = "6d199503f8ad"
down_revision = "e27b04c9d15a"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "launch_configurations",
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("image_id", sa.String(length=64), nullable=False),
        sa.Column("instance_type", sa.String(length=32), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "name", name=op.f("pk_launch_configurations")),
    )
    op.create_table(
        "scaling_activities",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("group_id", sa.String(length=36), nullable=False),
        sa.Column("group_name", sa.String(length=255), nullable=False),
        sa.Column("instance_id", sa.String(length=40), nullable=True),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=40), nullable=False),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("progress", sa.Integer(), nullable=False),
        sa.Column("started", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scaling_activities")),
    )
    op.create_index(
        "ix_scaling_activities_account_id_started_id",
        "scaling_activities",
        ["account_id", "started", "id"],
        unique=False,
    )
    op.create_index(
        "ix_scaling_activities_group_id_started_id", "scaling_activities", ["group_id", "started", "id"], unique=False
    )
    op.create_index("ix_scaling_activities_started_id", "scaling_activities", ["started", "id"], unique=False)
    op.create_index("ix_scaling_activities_account_id_id", "scaling_activities", ["account_id", "id"], unique=True)

    op.create_table(
        "scaling_groups",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("launch", sa.Text(), nullable=False),
        sa.Column("zones", sa.JSON(), nullable=False),
        sa.Column("subnets", sa.JSON(), nullable=False),
        sa.Column("min_size", sa.Integer(), nullable=False),
        sa.Column("max_size", sa.Integer(), nullable=False),
        sa.Column("desired", sa.Integer(), nullable=False),
        sa.Column("cooldown", sa.Integer(), nullable=False),
        sa.Column("health_type", sa.String(length=64), nullable=False),
        sa.Column("health_grace", sa.Integer(), nullable=False),
        sa.Column("warmup", sa.Integer(), nullable=True),
        sa.Column("max_lifetime", sa.Integer(), nullable=True),
        sa.Column("min_healthy", sa.Integer(), nullable=True),
        sa.Column("max_healthy", sa.Integer(), nullable=True),
        sa.Column("protect_new", sa.Boolean(), nullable=False),
        sa.Column("termination_policies", sa.JSON(), nullable=False),
        sa.Column("suspended", sa.JSON(), nullable=False),
        sa.Column("placement_group", sa.String(length=255), nullable=True),
        sa.Column("context", sa.String(length=255), nullable=True),
        sa.Column("deleting", sa.Boolean(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("scaled", sa.BigInteger(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("retry_at", sa.BigInteger(), nullable=True),
        sa.Column("due", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scaling_groups")),
    )
    op.create_index("ix_scaling_groups_account_id_name", "scaling_groups", ["account_id", "name"], unique=True)
    op.create_index("ix_scaling_groups_due_id", "scaling_groups", ["due", "id"], unique=False)
    op.create_index("ix_scaling_groups_account_id_id", "scaling_groups", ["account_id", "id"], unique=True)

    op.create_table(
        "lifecycle_hooks",
        sa.Column("group_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("launching", sa.Boolean(), nullable=False),
        sa.Column("heartbeat", sa.Integer(), nullable=False),
        sa.Column("default_result", sa.String(length=16), nullable=False),
        sa.Column("details", sa.String(length=4000), nullable=True),
        sa.ForeignKeyConstraint(
            ["group_id"], ["scaling_groups.id"], name=op.f("fk_lifecycle_hooks_group_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("group_id", "name", name=op.f("pk_lifecycle_hooks")),
    )
    op.create_table(
        "scaling_instances",
        sa.Column("instance_id", sa.String(length=40), nullable=False),
        sa.Column("group_id", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("zone", sa.String(length=64), nullable=False),
        sa.Column("instance_type", sa.String(length=32), nullable=False),
        sa.Column("lifecycle_state", sa.String(length=32), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.Column("healthy", sa.Boolean(), nullable=False),
        sa.Column("protected", sa.Boolean(), nullable=False),
        sa.Column("weight", sa.Integer(), nullable=False),
        sa.Column("spot", sa.Boolean(), nullable=False),
        sa.Column("template_id", sa.String(length=40), nullable=True),
        sa.Column("template_name", sa.String(length=128), nullable=True),
        sa.Column("template_version", sa.Integer(), nullable=True),
        sa.Column("configuration", sa.String(length=255), nullable=True),
        sa.Column("launched", sa.BigInteger(), nullable=False),
        sa.Column("in_service", sa.BigInteger(), nullable=True),
        sa.Column("activity_id", sa.String(length=36), nullable=True),
        sa.ForeignKeyConstraint(
            ["group_id"], ["scaling_groups.id"], name=op.f("fk_scaling_instances_group_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("instance_id", name=op.f("pk_scaling_instances")),
    )
    op.create_index(
        "ix_scaling_instances_account_id_instance_id", "scaling_instances", ["account_id", "instance_id"], unique=False
    )
    op.create_index(
        "ix_scaling_instances_group_id_instance_id", "scaling_instances", ["group_id", "instance_id"], unique=False
    )

    op.create_table(
        "scaling_tags",
        sa.Column("group_id", sa.String(length=36), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("value", sa.String(length=256), nullable=False),
        sa.Column("propagate", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"], ["scaling_groups.id"], name=op.f("fk_scaling_tags_group_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("group_id", "key", name=op.f("pk_scaling_tags")),
    )
    op.create_index("ix_scaling_tags_account_id_key", "scaling_tags", ["account_id", "key"], unique=False)

    op.create_table(
        "lifecycle_actions",
        sa.Column("token", sa.String(length=36), nullable=False),
        sa.Column("instance_id", sa.String(length=40), nullable=False),
        sa.Column("hook", sa.String(length=255), nullable=False),
        sa.Column("heartbeat", sa.Integer(), nullable=False),
        sa.Column("default_result", sa.String(length=16), nullable=False),
        sa.Column("result", sa.String(length=16), nullable=True),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("latest", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["instance_id"],
            ["scaling_instances.instance_id"],
            name=op.f("fk_lifecycle_actions_instance_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("token", name=op.f("pk_lifecycle_actions")),
    )
    op.create_index("ix_lifecycle_actions_instance_id_hook", "lifecycle_actions", ["instance_id", "hook"], unique=True)


def downgrade() -> None:
    op.drop_table("lifecycle_actions")
    op.drop_table("scaling_tags")
    op.drop_table("scaling_instances")
    op.drop_table("lifecycle_hooks")
    op.drop_table("scaling_groups")
    op.drop_table("scaling_activities")
    op.drop_table("launch_configurations")
