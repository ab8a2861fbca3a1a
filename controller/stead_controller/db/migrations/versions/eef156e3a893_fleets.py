"""fleets."""

import sqlalchemy as sa
from alembic import op

revision = "eef156e3a893"
down_revision = "4e7a91c3d5b2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "fleets",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("deleted", sa.BigInteger(), nullable=True),
        sa.Column("client_token", sa.String(length=64), nullable=False),
        sa.Column("target", sa.Integer(), nullable=False),
        sa.Column("fulfilled", sa.Float(), nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("failures", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fleets")),
    )
    op.create_index("ix_fleets_account_id_deleted", "fleets", ["account_id", "deleted"])
    op.create_index("ix_fleets_account_id_id", "fleets", ["account_id", "id"], unique=True)
    op.create_table(
        "fleet_instances",
        sa.Column("fleet_id", sa.String(length=40), nullable=False),
        sa.Column("instance_id", sa.String(length=40), nullable=False),
        sa.Column("pool", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["fleet_id"], ["fleets.id"], name=op.f("fk_fleet_instances_fleet_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["instance_id"], ["instances.id"], name=op.f("fk_fleet_instances_instance_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("fleet_id", "instance_id", name=op.f("pk_fleet_instances")),
    )
    op.create_index(op.f("ix_fleet_instances_instance_id"), "fleet_instances", ["instance_id"])


def downgrade() -> None:
    op.drop_table("fleet_instances")
    op.drop_table("fleets")
