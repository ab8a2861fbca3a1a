"""reservations of subnets' addresses."""

import sqlalchemy as sa
from alembic import op

revision = "e7c25b90d314"
down_revision = "7a1c4e90d5b3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "subnet_cidr_reservations",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("subnet_id", sa.String(length=40), nullable=False),
        sa.Column("cidr_block", sa.String(length=43), nullable=False),
        sa.Column("ipv6", sa.Boolean(), nullable=False),
        sa.Column("reservation_type", sa.String(length=16), nullable=False),
        sa.Column("description", sa.String(length=255), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["subnet_id"], ["subnets.id"], name=op.f("fk_subnet_cidr_reservations_subnet_id_subnets")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subnet_cidr_reservations")),
    )
    with op.batch_alter_table("subnet_cidr_reservations", schema=None) as batch_op:
        batch_op.create_index("ix_subnet_cidr_reservations_account_id_id", ["account_id", "id"])
        batch_op.create_index(
            "ix_subnet_cidr_reservations_subnet_id_cidr_block", ["subnet_id", "cidr_block"], unique=True
        )
    op.add_column("subnets", sa.Column("has_reservations", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    op.drop_column("subnets", "has_reservations")
    op.drop_table("subnet_cidr_reservations")
