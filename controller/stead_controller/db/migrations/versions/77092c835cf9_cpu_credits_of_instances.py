"""CPU credits of instances."""

import sqlalchemy as sa
from alembic import op

revision = "77092c835cf9"
down_revision = "5e71c09ad3b8"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "burstable_settings",
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("default_modes", sa.JSON(), nullable=False),
        sa.Column("credited", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_burstable_settings")),
    )
    op.add_column("instances", sa.Column("cpu_credits", sa.String(16), server_default="standard", nullable=False))
    op.add_column("instances", sa.Column("launch_credits", sa.Integer(), server_default="0", nullable=False))
    # No instance was limited until now, and most are not with EC2's defaults of their types.
    op.execute(
        "UPDATE instances SET cpu_credits = 'unlimited' WHERE instance_type LIKE 't3.%' OR instance_type LIKE 't3a.%'"
    )
    # The others that are burstable begin as at a start, and not with nothing.
    op.execute("UPDATE instances SET launch_credits = 30 * vcpus WHERE instance_type LIKE 't2.%'")


def downgrade() -> None:
    op.drop_column("instances", "launch_credits")
    op.drop_column("instances", "cpu_credits")
    op.drop_table("burstable_settings")
