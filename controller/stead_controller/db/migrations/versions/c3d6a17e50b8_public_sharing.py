"""whether images and snapshots may be shared with everybody."""

import sqlalchemy as sa
from alembic import op

revision = "c3d6a17e50b8"
down_revision = "e7c25b90d314"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "public_sharing",
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("images", sa.String(length=24), nullable=False),
        sa.Column("snapshots", sa.String(length=24), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_public_sharing")),
    )
    op.add_column("snapshots", sa.Column("public_blocked", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    op.drop_column("snapshots", "public_blocked")
    op.drop_table("public_sharing")
