"""files of buckets."""

import sqlalchemy as sa
from alembic import op

revision = "d7a6e1b3840c"
down_revision = "c41f7a9e2d06"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("image_tasks", schema=None) as batch_op:
        batch_op.add_column(sa.Column("bucket", sa.String(length=63), server_default="exchange", nullable=False))
        batch_op.alter_column("location", existing_type=sa.String(length=255), type_=sa.String(length=1100))
