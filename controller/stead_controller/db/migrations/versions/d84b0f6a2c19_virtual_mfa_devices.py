"""virtual mfa devices."""

import sqlalchemy as sa
from alembic import op

revision = "d84b0f6a2c19"
down_revision = "d7a6e1b3840c"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "iam_mfa_devices",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("name", sa.String(length=226), nullable=False),
        sa.Column("name_lower", sa.String(length=226), nullable=False),
        sa.Column("path", sa.String(length=512), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("seed_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.String(length=40), nullable=True),
        sa.Column("enabled", sa.BigInteger(), nullable=True),
        sa.Column("drift", sa.Integer(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_mfa_devices")),
    )
    with op.batch_alter_table("iam_mfa_devices", schema=None) as batch_op:
        batch_op.create_index("ix_iam_mfa_devices_account_id_name_lower", ["account_id", "name_lower"], unique=True)
        batch_op.create_index("ix_iam_mfa_devices_user_id", ["user_id", "name_lower"])


def downgrade() -> None:
    op.drop_table("iam_mfa_devices")
