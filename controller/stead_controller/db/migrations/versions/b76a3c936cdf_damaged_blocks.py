"""damaged blocks."""

import sqlalchemy as sa
from alembic import op

revision = "b76a3c936cdf"
down_revision = "c7d10e5b2f64"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("blocks", schema=None) as batch_op:
        batch_op.add_column(sa.Column("damaged", sa.Boolean(), server_default=sa.false(), nullable=False))
        batch_op.create_index("ix_blocks_damaged", ["damaged", "digest"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("blocks", schema=None) as batch_op:
        batch_op.drop_index("ix_blocks_damaged")
        batch_op.drop_column("damaged")
