"""subnets of IPv6 only."""

import sqlalchemy as sa
from alembic import op

revision = "6b20f4d8e1a7"
down_revision = "b7e40c1d93a2"
branch_labels = None
depends_on = None

_COLUMNS = (
    ("subnets", "cidr_block", 18),
    ("network_interfaces", "private_address", 45),
    ("instances", "private_address", 45),
)


def _alter(*, nullable: bool) -> None:
    for table, column, length in _COLUMNS:
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.alter_column(column, existing_type=sa.String(length=length), nullable=nullable)


def upgrade() -> None:
    _alter(nullable=True)


def downgrade() -> None:
    native = sa.text("SELECT id FROM subnets WHERE cidr_block IS NULL LIMIT 1")
    if (found := op.get_bind().execute(native).first()) is not None:
        raise ValueError(f"the release before knows no subnets without IPv4: delete {found[0]} and all like it")
    # What is left of such are instances that are terminated and shown for a while.
    op.execute("UPDATE instances SET private_address = '' WHERE private_address IS NULL")
    _alter(nullable=False)
