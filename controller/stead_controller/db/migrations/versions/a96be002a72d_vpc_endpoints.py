"""VPC endpoints."""

import sqlalchemy as sa
from alembic import op

revision = "a96be002a72d"
down_revision = "9c3e51d70a84"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "vpc_endpoints",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("vpc_id", sa.String(length=40), nullable=False),
        sa.Column("service", sa.String(length=64), nullable=False),
        sa.Column("endpoint_type", sa.String(length=24), nullable=False),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("policy", sa.Text(), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["vpc_id"], ["vpcs.id"], name=op.f("fk_vpc_endpoints_vpc_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vpc_endpoints")),
    )
    with op.batch_alter_table("vpc_endpoints", schema=None) as batch_op:
        batch_op.create_index("ix_vpc_endpoints_account_id_id", ["account_id", "id"], unique=True)
        batch_op.create_index(batch_op.f("ix_vpc_endpoints_vpc_id"), ["vpc_id"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("vpc_endpoints", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_vpc_endpoints_vpc_id"))
        batch_op.drop_index("ix_vpc_endpoints_account_id_id")

    op.drop_table("vpc_endpoints")
