"""Tokens with which known hosts enrol again, and when the certificates of hosts end."""

import sqlalchemy as sa
from alembic import op

revision = "e61b0f4d93a7"
down_revision = "b7d2e41f90c6"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("hosts", sa.Column("certificate_ends", sa.BigInteger(), nullable=True))
    op.create_table(
        "host_tokens",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("host_id", sa.String(40), nullable=False),
        sa.Column("any_authority", sa.Boolean(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["host_id"], ["hosts.id"], name=op.f("fk_host_tokens_host_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_host_tokens")),
    )
    op.create_index("ix_host_tokens_host_id", "host_tokens", ["host_id"])


def downgrade() -> None:
    op.drop_table("host_tokens")
    op.drop_column("hosts", "certificate_ends")
