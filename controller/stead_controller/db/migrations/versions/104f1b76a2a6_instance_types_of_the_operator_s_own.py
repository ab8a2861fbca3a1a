"""instance types of the operator's own."""

import sqlalchemy as sa
from alembic import op

revision = "104f1b76a2a6"
down_revision = "23c938fcb301"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "own_instance_types",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_own_instance_types")),
    )


def downgrade() -> None:
    op.drop_table("own_instance_types")
