"""imports and exports that were asked for through the API."""

import sqlalchemy as sa
from alembic import op

revision = "e51f0c7ab962"
down_revision = "b76a3c936cdf"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "image_tasks",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("progress", sa.Integer(), nullable=False),
        sa.Column("status_message", sa.String(length=512), nullable=False),
        sa.Column("description", sa.String(length=255), nullable=False),
        sa.Column("format", sa.String(length=8), nullable=False),
        sa.Column("location", sa.String(length=255), nullable=False),
        sa.Column("boot_mode", sa.String(length=16), nullable=False),
        sa.Column("image_id", sa.String(length=40), nullable=True),
        sa.Column("snapshot_id", sa.String(length=40), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image_tasks")),
    )
    with op.batch_alter_table("image_tasks", schema=None) as batch_op:
        batch_op.create_index("ix_image_tasks_account_id_id", ["account_id", "id"], unique=False)


def downgrade() -> None:
    op.drop_table("image_tasks")
