"""placement groups."""

import sqlalchemy as sa
from alembic import op

revision = "cbb2360ad77e"
down_revision = "e4b87a20c5d3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "placement_groups",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("strategy", sa.String(length=16), nullable=False),
        sa.Column("partition_count", sa.Integer(), nullable=True),
        sa.Column("spread_level", sa.String(length=8), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_placement_groups")),
        sa.UniqueConstraint("account_id", "name", name=op.f("uq_placement_groups_account_id_name")),
    )
    op.create_index("ix_placement_groups_account_id_id", "placement_groups", ["account_id", "id"], unique=True)


def downgrade() -> None:
    op.drop_table("placement_groups")
