"""what hosts are told of VPCs is told per VPC."""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "12c498dc9b2c"
down_revision = "3ffbe96834c3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "revisions",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_revisions")),
    )
    op.create_table(
        "vpc_resources",
        sa.Column("vpc_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("resource_id", sa.String(length=64), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("vpc_id", "kind", "resource_id", name=op.f("pk_vpc_resources")),
    )
    with op.batch_alter_table("vpc_resources", schema=None) as batch_op:
        batch_op.create_index("ix_vpc_resources_revision", ["revision"], unique=False)
        batch_op.create_index("ix_vpc_resources_vpc_revision", ["vpc_id", "revision"], unique=False)

    op.create_table(
        "host_errors",
        sa.Column("host_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("resource_id", sa.String(length=64), nullable=False),
        sa.Column("error", sa.String(length=2048), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["host_id"], ["hosts.id"], name=op.f("fk_host_errors_host_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("host_id", "kind", "resource_id", name=op.f("pk_host_errors")),
    )
    op.create_table(
        "vpc_hosts",
        sa.Column("host_id", sa.String(length=40), nullable=False),
        sa.Column("vpc_id", sa.String(length=40), nullable=False),
        sa.Column("since_revision", sa.BigInteger(), nullable=False),
        sa.Column("gone_revision", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["host_id"], ["hosts.id"], name=op.f("fk_vpc_hosts_host_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("host_id", "vpc_id", name=op.f("pk_vpc_hosts")),
    )
    with op.batch_alter_table("vpc_hosts", schema=None) as batch_op:
        batch_op.create_index("ix_vpc_hosts_gone_revision", ["gone_revision"], unique=False)
        batch_op.create_index("ix_vpc_hosts_since_revision", ["since_revision"], unique=False)
        batch_op.create_index("ix_vpc_hosts_vpc_id", ["vpc_id"], unique=False)

    with op.batch_alter_table("host_resources", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_host_resources_revision"))
        batch_op.create_index("ix_host_resources_revision", ["revision"], unique=False)
        batch_op.create_index("ix_host_resources_host_revision", ["host_id", "revision"], unique=False)

    # Columns are added in place: a table that others refer to with ON DELETE CASCADE must not be made anew.
    op.add_column("hosts", sa.Column("revision_forgotten", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("hosts", sa.Column("pool_address", sa.String(length=45), nullable=False, server_default=""))
    op.add_column("hosts", sa.Column("underlay_address", sa.String(length=45), nullable=False, server_default=""))
    _one_revision_for_all()


def _one_revision_for_all() -> None:
    """Let the new counter begin where no host's own has been, and have all hosts told everything anew."""
    op.execute("INSERT INTO revisions (id, value) SELECT 1, COALESCE(MAX(revision), 0) + 1 FROM hosts")
    op.execute("DELETE FROM host_resources WHERE kind IN (4, 5, 6)")  # VPC, subnet, group: drawn at the next start
    op.get_bind().execute(
        sa.text("UPDATE cloud_facts SET value = :epoch WHERE name = 'epoch'"), {"epoch": secrets.token_hex(8)}
    )


def downgrade() -> None:
    with op.batch_alter_table("hosts", schema=None) as batch_op:
        batch_op.drop_column("underlay_address")
        batch_op.drop_column("pool_address")
        batch_op.drop_column("revision_forgotten")

    with op.batch_alter_table("host_resources", schema=None) as batch_op:
        batch_op.drop_index("ix_host_resources_host_revision")
        batch_op.drop_index("ix_host_resources_revision")
        batch_op.create_index(batch_op.f("ix_host_resources_revision"), ["host_id", "revision"], unique=False)

    with op.batch_alter_table("vpc_hosts", schema=None) as batch_op:
        batch_op.drop_index("ix_vpc_hosts_vpc_id")
        batch_op.drop_index("ix_vpc_hosts_since_revision")
        batch_op.drop_index("ix_vpc_hosts_gone_revision")

    op.drop_table("vpc_hosts")
    op.drop_table("host_errors")
    with op.batch_alter_table("vpc_resources", schema=None) as batch_op:
        batch_op.drop_index("ix_vpc_resources_vpc_revision")
        batch_op.drop_index("ix_vpc_resources_revision")

    op.drop_table("vpc_resources")
    op.drop_table("revisions")
