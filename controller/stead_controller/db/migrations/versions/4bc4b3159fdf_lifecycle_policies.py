"""lifecycle policies."""

import sqlalchemy as sa
from alembic import op

revision = "4bc4b3159fdf"
down_revision = "b935ba1a9c88"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "lifecycle_policies",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("description", sa.String(length=500), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("execution_role_arn", sa.String(length=2048), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("modified", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lifecycle_policies")),
    )
    with op.batch_alter_table("lifecycle_policies", schema=None) as batch_op:
        batch_op.create_index("ix_lifecycle_policies_account_id_id", ["account_id", "id"], unique=False)

    op.create_table(
        "lifecycle_schedules",
        sa.Column("policy_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("next_run", sa.BigInteger(), nullable=True),
        sa.Column("next_check", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["policy_id"], ["lifecycle_policies.id"], name=op.f("fk_lifecycle_schedules_policy_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("policy_id", "name", name=op.f("pk_lifecycle_schedules")),
    )
    with op.batch_alter_table("lifecycle_schedules", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_lifecycle_schedules_next_check"), ["next_check"], unique=False)
        batch_op.create_index(batch_op.f("ix_lifecycle_schedules_next_run"), ["next_run"], unique=False)

    op.create_table(
        "lifecycle_snapshots",
        sa.Column("snapshot_id", sa.String(length=40), nullable=False),
        sa.Column("policy_id", sa.String(length=40), nullable=False),
        sa.Column("schedule_name", sa.String(length=120), nullable=False),
        sa.ForeignKeyConstraint(
            ["policy_id"], ["lifecycle_policies.id"], name=op.f("fk_lifecycle_snapshots_policy_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["snapshot_id"], ["snapshots.id"], name=op.f("fk_lifecycle_snapshots_snapshot_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("snapshot_id", name=op.f("pk_lifecycle_snapshots")),
    )
    with op.batch_alter_table("lifecycle_snapshots", schema=None) as batch_op:
        batch_op.create_index("ix_lifecycle_snapshots_schedule", ["policy_id", "schedule_name"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("lifecycle_snapshots", schema=None) as batch_op:
        batch_op.drop_index("ix_lifecycle_snapshots_schedule")

    op.drop_table("lifecycle_snapshots")
    with op.batch_alter_table("lifecycle_schedules", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_lifecycle_schedules_next_run"))
        batch_op.drop_index(batch_op.f("ix_lifecycle_schedules_next_check"))

    op.drop_table("lifecycle_schedules")
    with op.batch_alter_table("lifecycle_policies", schema=None) as batch_op:
        batch_op.drop_index("ix_lifecycle_policies_account_id_id")

    op.drop_table("lifecycle_policies")
