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


def downgrade() -> None:
    tasks = "SELECT 1 FROM image_tasks WHERE bucket <> 'exchange' OR length(location) > 255 LIMIT 1"
    if op.get_bind().execute(sa.text(tasks)).first() is not None:
        raise ValueError("imports and exports of buckets would look for other files: wait until they are forgotten")
    with op.batch_alter_table("image_tasks", schema=None) as batch_op:
        batch_op.alter_column("location", existing_type=sa.String(length=1100), type_=sa.String(length=255))
        batch_op.drop_column("bucket")
