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
        _make_accounts_indexes_last(table)


def _make_accounts_indexes_last(table: str) -> None:
    """Have SQLite find rows by their account first, as `12d456e280e3` says: of two indexes it takes the one made later.

    A table that is made anew has its indexes in any order.
    """
    bind = op.get_bind()
    if bind.dialect.name != "sqlite":
        return
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = :table AND name LIKE :names"
    found = bind.execute(sa.text(query), {"table": table, "names": f"ix_{table}_account%"}).all()
    for name, statement in sorted(found, key=lambda one: (one[0].endswith("_account_id_id"), one[0])):
        op.drop_index(name, table_name=table)
        op.execute(statement)


def upgrade() -> None:
    _alter(nullable=True)


def downgrade() -> None:
    native = sa.text("SELECT id FROM subnets WHERE cidr_block IS NULL LIMIT 1")
    if (found := op.get_bind().execute(native).first()) is not None:
        raise ValueError(f"the release before knows no subnets without IPv4: delete {found[0]} and all like it")
    # What is left of such are instances that are terminated and shown for a while.
    op.execute("UPDATE instances SET private_address = '' WHERE private_address IS NULL")
    _alter(nullable=False)
