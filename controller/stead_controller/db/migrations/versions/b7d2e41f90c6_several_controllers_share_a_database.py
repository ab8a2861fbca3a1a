"""Several controllers share a database: who lives, who leads, and which stream of a host is the present one."""

import sqlalchemy as sa
from alembic import op

revision = "b7d2e41f90c6"
down_revision = "a94d17c3e8b2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "controllers",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("address", sa.String(255), nullable=False),
        sa.Column("seen", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_controllers"),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("holder", sa.String(32), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )
    op.add_column("hosts", sa.Column("session", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("hosts", sa.Column("controller_id", sa.String(32)))


def downgrade() -> None:
    op.drop_column("hosts", "controller_id")
    op.drop_column("hosts", "session")
    op.drop_table("leases")
    op.drop_table("controllers")
