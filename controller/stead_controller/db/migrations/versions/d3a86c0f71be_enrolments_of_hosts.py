"""By what the homes of volumes tell the certificates of a host of before and after it enrolled again apart."""

import sqlalchemy as sa
from alembic import op

revision = "d3a86c0f71be"
down_revision = "c4f19a7de206"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("hosts", sa.Column("enrolment", sa.String(length=16), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("hosts", "enrolment")
