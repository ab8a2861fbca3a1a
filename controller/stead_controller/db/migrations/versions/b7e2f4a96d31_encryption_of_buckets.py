"""encryption of buckets."""

import sqlalchemy as sa
from alembic import op

revision = "b7e2f4a96d31"
down_revision = "a46f0c9d72e5"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("buckets", schema=None) as batch_op:
        batch_op.add_column(sa.Column("encryption", sa.Text(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("buckets", schema=None) as batch_op:
        batch_op.drop_column("encryption")
