"""What hosts say of unclaimed resources, by which these can be adopted; hosts say it anew after a downgrade and back."""

import sqlalchemy as sa
from alembic import op

revision = "c6e81d2f3b97"
down_revision = "f27b90d4e815"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("unclaimed_resources", sa.Column("said", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    op.drop_column("unclaimed_resources", "said")
