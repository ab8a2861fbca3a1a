"""the order in which an interface got its addresses."""

import sqlalchemy as sa
from alembic import op

revision = "d94e7b1a60c2"
down_revision = "b3f06c2d9e18"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("interface_addresses", sa.Column("position", sa.Integer(), server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("interface_addresses", "position")
