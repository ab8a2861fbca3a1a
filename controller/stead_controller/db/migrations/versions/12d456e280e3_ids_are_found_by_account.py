"""an account's rows are found by account and id, so that another's are not read.

SQLite finds a row by a unique index of all that is asked for before it finds it by its primary key alone, if that index
was made later: so these are unique, though ids are so by themselves.
"""

import sqlalchemy as sa
from alembic import op

revision = "12d456e280e3"
down_revision = "c3d6a17e50b8"
branch_labels = None
depends_on = None

# Tables whose index of (account_id, id) was not unique.
_UNIQUE_NOW = (
    "dhcp_options",
    "egress_only_internet_gateways",
    "elastic_addresses",
    "flow_logs",
    "image_tasks",
    "images",
    "instances",
    "internet_gateways",
    "lifecycle_policies",
    "nat_gateways",
    "network_acls",
    "network_insights_analyses",
    "network_insights_paths",
    "network_interfaces",
    "prefix_lists",
    "route_tables",
    "security_groups",
    "snapshots",
    "subnet_cidr_reservations",
    "subnets",
    "volumes",
    "vpc_peering_connections",
    "vpcs",
)
# (name, table, columns, whether it is unique) of other indexes that are new.
_NEW = (
    ("ix_access_keys_account_id_id", "access_keys", ("account_id", "id"), True),
    ("ix_image_permissions_account_id_image_id", "image_permissions", ("account_id", "image_id"), True),
    ("ix_images_public", "images", ("public", "id"), True),
    ("ix_instance_profile_associations_account_id_id", "instance_profile_associations", ("account_id", "id"), True),
    ("ix_key_pairs_account_id_id", "key_pairs", ("account_id", "id"), True),
    ("ix_network_interfaces_account_id_attachment_id", "network_interfaces", ("account_id", "attachment_id"), True),
    (
        "ix_instance_profile_associations_account_id_instance_id",
        "instance_profile_associations",
        ("account_id", "instance_id"),
        True,
    ),
    ("ix_network_interfaces_account_id_instance_id", "network_interfaces", ("account_id", "instance_id"), False),
    ("ix_volume_modifications_account", "volume_modifications", ("account_id", "volume_id"), True),
    ("ix_volumes_account_id_instance_id", "volumes", ("account_id", "instance_id"), False),
    ("ix_public_addresses_account_id_association_id", "public_addresses", ("account_id", "association_id"), True),
    ("ix_security_group_rules_account_id_id", "security_group_rules", ("account_id", "id"), True),
    ("ix_snapshot_permissions_account_id_snapshot_id", "snapshot_permissions", ("account_id", "snapshot_id"), True),
    ("ix_snapshots_public", "snapshots", ("public", "id"), True),
    ("ix_subnets_account_id_ipv6_association_id", "subnets", ("account_id", "ipv6_association_id"), True),
    ("ix_tags_account_id_resource_id", "tags", ("account_id", "resource_id", "key"), True),
    ("ix_vpc_peering_connections_accepter", "vpc_peering_connections", ("accepter_account_id", "id"), True),
)
# (name, table, columns, whether it is unique) of those that the new ones take the place of.
_OLD = (
    ("ix_access_keys_account_id", "access_keys", ("account_id",), False),
    ("ix_image_permissions_account_id", "image_permissions", ("account_id",), False),
    ("ix_instance_profile_associations_account_id", "instance_profile_associations", ("account_id",), False),
    ("ix_network_interfaces_attachment_id", "network_interfaces", ("attachment_id",), False),
    ("ix_public_addresses_association_id", "public_addresses", ("association_id",), True),
    ("ix_snapshot_permissions_account_id", "snapshot_permissions", ("account_id",), False),
    ("ix_snapshots_public", "snapshots", ("public",), False),
    ("ix_subnets_ipv6_association_id", "subnets", ("ipv6_association_id",), False),
    ("ix_volume_modifications_account", "volume_modifications", ("account_id", "volume_id"), False),
    ("ix_vpc_peering_connections_accepter", "vpc_peering_connections", ("accepter_account_id", "id"), False),
)
# Associations get the account of what they belong to: (table, whose account it is, by which column).
_ASSOCIATIONS = (
    ("network_acl_associations", "subnets", "subnet_id"),
    ("route_table_associations", "vpcs", "vpc_id"),
    ("vpc_cidr_blocks", "vpcs", "vpc_id"),
)


def _owners(table: str) -> sa.TableClause:
    return sa.table(table, sa.column("id"), sa.column("account_id"))


def upgrade() -> None:
    for name, table, _columns, _unique in _OLD:
        op.drop_index(name, table)
    for table in _UNIQUE_NOW:
        op.drop_index(f"ix_{table}_account_id_id", table)
        op.create_index(f"ix_{table}_account_id_id", table, ["account_id", "id"], unique=True)
    for name, table, columns, unique in _NEW:
        op.create_index(name, table, list(columns), unique=unique)
    for table, owner, column in _ASSOCIATIONS:
        op.add_column(table, sa.Column("account_id", sa.String(12), nullable=True))
        theirs, owners = sa.table(table, sa.column("account_id"), sa.column(column)), _owners(owner)
        found = sa.select(owners.c.account_id).where(owners.c.id == theirs.c[column]).scalar_subquery()
        op.execute(theirs.update().values(account_id=found))
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.alter_column("account_id", existing_type=sa.String(12), nullable=False)
        op.create_index(f"ix_{table}_account_id_id", table, ["account_id", "id"], unique=True)


def downgrade() -> None:
    for table, _owner, _column in _ASSOCIATIONS:
        op.drop_index(f"ix_{table}_account_id_id", table)
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.drop_column("account_id")
    for name, table, _columns, _unique in _NEW:
        op.drop_index(name, table)
    for table in _UNIQUE_NOW:
        op.drop_index(f"ix_{table}_account_id_id", table)
        op.create_index(f"ix_{table}_account_id_id", table, ["account_id", "id"], unique=False)
    for name, table, columns, unique in _OLD:
        op.create_index(name, table, list(columns), unique=unique)
