"""persistent requests for spot instances, and times between which requests are valid."""

import sqlalchemy as sa
from alembic import op

revision = "d58e02f7b913"
down_revision = "5d0a97c3e41b"
branch_labels = None
depends_on = None

_TABLE = "spot_requests"
_EXPIRES = sa.text("expires IS NOT NULL")
_TIMES = ("valid_from", "valid_until", "expires")


def upgrade() -> None:
    op.add_column(_TABLE, sa.Column("persistent", sa.Boolean(), server_default=sa.false(), nullable=False))
    for name in _TIMES:
        op.add_column(_TABLE, sa.Column(name, sa.BigInteger(), nullable=True))
    op.create_index(
        "ix_spot_requests_expires", _TABLE, ["expires", "id"], sqlite_where=_EXPIRES, postgresql_where=_EXPIRES
    )
    _remake_accounts_indexes()


def downgrade() -> None:
    op.drop_index("ix_spot_requests_expires", _TABLE)
    for name in (*_TIMES, "persistent"):
        op.drop_column(_TABLE, name)


def _remake_accounts_indexes() -> None:
    """Have SQLite find rows by their account first, as `12d456e280e3` says: of two indexes it takes the later one."""
    for name, column in (("instance", "instance_id"), ("id_id", "id")):
        op.drop_index(f"ix_spot_requests_account_{name}", _TABLE)
        op.create_index(f"ix_spot_requests_account_{name}", _TABLE, ["account_id", column], unique=True)
