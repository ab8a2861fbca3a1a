"""sessions of instances' identity roles."""

import sqlalchemy as sa
from alembic import op

revision = "b05d7e1c93f4"
down_revision = "6c1e0d84b7f2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("instances", schema=None) as batch_op:
        batch_op.add_column(sa.Column("identity_issued", sa.BigInteger(), nullable=True))
        batch_op.create_index("ix_instances_identity_issued", ["identity_issued"])
    # As if begun at the launch: those that are due are begun anew soon.
    op.execute("UPDATE instances SET identity_issued = launch_time WHERE state IN ('pending', 'running')")


def downgrade() -> None:
    with op.batch_alter_table("instances", schema=None) as batch_op:
        batch_op.drop_index("ix_instances_identity_issued")
        batch_op.drop_column("identity_issued")
