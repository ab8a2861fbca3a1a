"""defaults of instance metadata; passwords of Windows guests."""

import sqlalchemy as sa
from alembic import op

revision = "8f2d6c41ab07"
down_revision = "5f0b7c2d91aa"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "metadata_defaults",
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=True),
        sa.Column("tokens_required", sa.Boolean(), nullable=True),
        sa.Column("hop_limit", sa.Integer(), nullable=True),
        sa.Column("tags", sa.Boolean(), nullable=True),
        sa.Column("tokens_enforced", sa.Boolean(), nullable=True),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_metadata_defaults")),
    )
    with op.batch_alter_table("instances", schema=None) as batch_op:
        batch_op.add_column(sa.Column("password_data", sa.String(length=2048), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("instances", schema=None) as batch_op:
        batch_op.drop_column("password_data")
    op.drop_table("metadata_defaults")
