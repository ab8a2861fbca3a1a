"""what stopped instances of UEFI had stored beside their volumes, and hosts that lay it."""

import sqlalchemy as sa
from alembic import op

revision = "a4f08c61d7e3"
down_revision = "c41d9e07ab52"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "instance_firmware",
        sa.Column("instance_id", sa.String(length=40), nullable=False),
        sa.Column("start_count", sa.Integer(), nullable=False),
        sa.Column("variables", sa.LargeBinary(), nullable=False),
        sa.Column("tpm", sa.LargeBinary(), nullable=False),
        sa.Column("is_moved", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.ForeignKeyConstraint(
            ["instance_id"], ["instances.id"], name=op.f("fk_instance_firmware_instance_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("instance_id", name=op.f("pk_instance_firmware")),
    )
    op.add_column("hosts", sa.Column("lays_firmware", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    op.drop_column("hosts", "lays_firmware")
    op.drop_table("instance_firmware")
