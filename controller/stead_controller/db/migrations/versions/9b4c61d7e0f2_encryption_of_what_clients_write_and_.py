"""encryption of what clients write and import."""

import sqlalchemy as sa
from alembic import op

revision = "9b4c61d7e0f2"
down_revision = "b05d7e1c93f4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("written_blocks", sa.Column("checksum", sa.LargeBinary(length=32), nullable=True))
    op.add_column("image_tasks", sa.Column("encrypted", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("image_tasks", sa.Column("kms_key_id", sa.String(length=512), nullable=True))
    op.add_column("image_tasks", sa.Column("sealed_key", sa.LargeBinary(), nullable=True))
