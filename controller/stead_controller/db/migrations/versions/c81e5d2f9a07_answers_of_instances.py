"""whether the guests of instances answer."""

import sqlalchemy as sa
from alembic import op

revision = "c81e5d2f9a07"
down_revision = "b7e2f4a96d31"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("instances", schema=None) as batch_op:
        batch_op.add_column(sa.Column("answers", sa.String(length=16), nullable=True))
        batch_op.add_column(sa.Column("silent_since", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("instances", schema=None) as batch_op:
        batch_op.drop_column("silent_since")
        batch_op.drop_column("answers")
