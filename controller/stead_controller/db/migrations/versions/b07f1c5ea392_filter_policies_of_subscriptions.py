"""Filter policies of subscriptions."""

import sqlalchemy as sa
from alembic import op

revision = "b07f1c5ea392"
down_revision = "9d2e60b7f4c1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("subscriptions", sa.Column("filter_policy", sa.Text(), nullable=True))
    op.add_column("subscriptions", sa.Column("filter_scope", sa.String(length=32), nullable=True))


def downgrade() -> None:
    op.drop_column("subscriptions", "filter_scope")
    op.drop_column("subscriptions", "filter_policy")
