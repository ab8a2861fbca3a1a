"""threads of instances' cores."""

import sqlalchemy as sa
from alembic import op

revision = "23c938fcb301"
down_revision = "d20c7b8e4f13"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("instances", sa.Column("threads_per_core", sa.Integer(), server_default="1", nullable=False))
    # As they were described until now; a guest that runs gets these threads when it is started next.
    op.execute(
        "UPDATE instances SET threads_per_core = 2"
        " WHERE instance_type NOT LIKE 't2.%' AND instance_type NOT LIKE 'stead.%'"
    )


def downgrade() -> None:
    op.drop_column("instances", "threads_per_core")
