"""access to serial consoles."""

import sqlalchemy as sa
from alembic import op

revision = "63b7f0f86616"
down_revision = "8d2f6a3b91c5"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "serial_console_access",
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_serial_console_access")),
    )
    op.create_table(
        "serial_console_keys",
        sa.Column("instance_id", sa.String(length=40), nullable=False),
        sa.Column("fingerprint", sa.String(length=128), nullable=False),
        sa.Column("public_key", sa.String(length=8192), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["instance_id"],
            ["instances.id"],
            name=op.f("fk_serial_console_keys_instance_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("instance_id", "fingerprint", name=op.f("pk_serial_console_keys")),
    )
    op.create_index(op.f("ix_serial_console_keys_expires"), "serial_console_keys", ["expires"])


def downgrade() -> None:
    op.drop_table("serial_console_keys")
    op.drop_table("serial_console_access")
