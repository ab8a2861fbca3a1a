"""spot instances, their requests and interruptions, also in fleets."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import text

revision = "3f7c2e91d6b4"
down_revision = "c95e1a7b30d8"
branch_labels = None
depends_on = None

_SPOT = sa.text("spot_request_id IS NOT NULL")
_INTERRUPTED = sa.text("interruption IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "spot_requests",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("instance_id", sa.String(length=40), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("cancelled", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["instance_id"], ["instances.id"], name=op.f("fk_spot_requests_instance_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_spot_requests")),
    )
    op.create_index(op.f("ix_spot_requests_instance_id"), "spot_requests", ["instance_id"])
    op.create_index("ix_spot_requests_account_instance", "spot_requests", ["account_id", "instance_id"], unique=True)
    op.create_index("ix_spot_requests_account_id_id", "spot_requests", ["account_id", "id"], unique=True)
    op.add_column("instances", sa.Column("spot_request_id", sa.String(length=40), nullable=True))
    op.add_column("instances", sa.Column("interruption", sa.BigInteger(), nullable=True))
    op.create_index(
        "ix_instances_spot_zone",
        "instances",
        ["zone", "launch_time"],
        sqlite_where=_SPOT,
        postgresql_where=_SPOT,
    )
    op.create_index(
        "ix_instances_interruption",
        "instances",
        ["interruption"],
        sqlite_where=_INTERRUPTED,
        postgresql_where=_INTERRUPTED,
    )
    make_accounts_indexes_last("instances")
    op.add_column("fleets", sa.Column("spot_target", sa.Integer(), server_default="0", nullable=False))
    op.add_column("fleets", sa.Column("spot_fulfilled", sa.Float(), server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("fleets", "spot_fulfilled")
    op.drop_column("fleets", "spot_target")
    op.drop_index("ix_instances_interruption", "instances")
    op.drop_index("ix_instances_spot_zone", "instances")
    op.drop_column("instances", "interruption")
    op.drop_column("instances", "spot_request_id")
    op.drop_table("spot_requests")


def make_accounts_indexes_last(table: str) -> None:
    """Have SQLite find rows by their account first, as `12d456e280e3` says: of two indexes it takes the one made later."""
    bind = op.get_bind()
    if bind.dialect.name != "sqlite":
        return
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = :table AND name LIKE :names"
    found = bind.execute(text(query), {"table": table, "names": f"ix_{table}_account%"}).all()
    for name, statement in sorted(found, key=lambda one: (one[0].endswith("_account_id_id"), one[0])):
        op.drop_index(name, table_name=table)
        op.execute(statement)
