"""requests for spot instances that wait for room."""

import sqlalchemy as sa
from alembic import op

revision = "c41d9e07ab52"
down_revision = "c3f9a70d51e8"
branch_labels = None
depends_on = None

_TABLE = "spot_requests"
_WAITS = sa.text("next_try IS NOT NULL")
_ENDED = sa.text("ended IS NOT NULL")
_TOGETHER = sa.text("batch_id IS NOT NULL")
_COLUMNS = (
    ("batch_id", sa.String(length=40)),
    ("specification", sa.Text()),
    ("shape", sa.String(length=64)),
    ("status", sa.String(length=40)),
    ("status_time", sa.BigInteger()),
    ("fault", sa.Text()),
    ("next_try", sa.BigInteger()),
    ("ended", sa.BigInteger()),
)
_NUMBERS = ("vcpus", "tries")


def upgrade() -> None:
    with op.batch_alter_table(_TABLE) as batch:
        batch.alter_column("instance_id", existing_type=sa.String(length=40), nullable=True)
        for name, kind in _COLUMNS:
            batch.add_column(sa.Column(name, kind, nullable=True))
        for name in _NUMBERS:
            batch.add_column(sa.Column(name, sa.Integer(), server_default="0", nullable=False))
    _make_index("waiting", ["created", "id"], _WAITS)
    _make_index("next_try", ["next_try", "id"], _WAITS)
    _make_index("ended", ["ended", "id"], _ENDED)
    _make_index("account_shape", ["account_id", "shape", "created"], _WAITS)
    _make_index("account_batch", ["account_id", "batch_id"], _TOGETHER)
    _remake_accounts_indexes()
    op.create_table(
        "spot_request_values",
        sa.Column("request_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.String(length=2048), nullable=False),
        sa.ForeignKeyConstraint(
            ["request_id"], ["spot_requests.id"], name=op.f("fk_spot_request_values_request_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("request_id", "name", "value", name=op.f("pk_spot_request_values")),
    )


def downgrade() -> None:
    op.drop_table("spot_request_values")
    op.execute("DELETE FROM spot_requests WHERE instance_id IS NULL")
    for name in ("account_batch", "account_shape", "ended", "next_try", "waiting"):
        op.drop_index(f"ix_spot_requests_{name}", _TABLE)
    with op.batch_alter_table(_TABLE) as batch:
        for name in (*_NUMBERS, *(name for name, _ in _COLUMNS)):
            batch.drop_column(name)
        batch.alter_column("instance_id", existing_type=sa.String(length=40), nullable=False)
    _remake_accounts_indexes()


def _make_index(name: str, columns: list[str], where: sa.TextClause) -> None:
    op.create_index(f"ix_spot_requests_{name}", _TABLE, columns, sqlite_where=where, postgresql_where=where)


def _remake_accounts_indexes() -> None:
    """Have SQLite find rows by their account first, as `12d456e280e3` says: of two indexes it takes the later one."""
    for name, column in (("instance", "instance_id"), ("id_id", "id")):
        op.drop_index(f"ix_spot_requests_account_{name}", _TABLE)
        op.create_index(f"ix_spot_requests_account_{name}", _TABLE, ["account_id", column], unique=True)
