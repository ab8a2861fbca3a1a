"""for whom the private names of an endpoint are."""

import sqlalchemy as sa
from alembic import op

revision = "4e7a91c3d5b2"
down_revision = "7302c1bdd4d6"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "vpc_endpoints",
        sa.Column("private_dns_only_inbound", sa.Boolean(), server_default=sa.false(), nullable=False),
    )


def downgrade() -> None:
    op.drop_column("vpc_endpoints", "private_dns_only_inbound")
