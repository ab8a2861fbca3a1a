"""blocks that were taken away, who asked for an interface, and the turns of a subnet's addresses."""

import sqlalchemy as sa
from alembic import op

revision = "b3f06c2d9e18"
down_revision = "8b3f61d02ace"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ended_cidr_blocks",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("resource_id", sa.String(length=40), nullable=False),
        sa.Column("cidr_block", sa.String(length=43), nullable=False),
        sa.Column("ipv6", sa.Boolean(), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ended_cidr_blocks")),
    )
    with op.batch_alter_table("ended_cidr_blocks", schema=None) as batch_op:
        batch_op.create_index("ix_ended_cidr_blocks_account_id_id", ["account_id", "id"], unique=True)
        batch_op.create_index("ix_ended_cidr_blocks_resource_id", ["resource_id"])
        batch_op.create_index(batch_op.f("ix_ended_cidr_blocks_ended"), ["ended"])
    op.add_column("network_interfaces", sa.Column("requester_id", sa.String(length=128), nullable=True))
    op.execute("ALTER TABLE subnets RENAME COLUMN next_offset TO next_turn")


def downgrade() -> None:
    op.execute("ALTER TABLE subnets RENAME COLUMN next_turn TO next_offset")
    op.drop_column("network_interfaces", "requester_id")
    op.drop_table("ended_cidr_blocks")
