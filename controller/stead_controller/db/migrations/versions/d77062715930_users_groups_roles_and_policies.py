"""users, groups, roles, policies and what else IAM keeps."""

import sqlalchemy as sa
from alembic import op

revision = "d77062715930"
down_revision = "e51f0c7ab962"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "iam_accounts",
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("alias", sa.String(length=63), nullable=True),
        sa.Column("password_policy", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_iam_accounts")),
        sa.UniqueConstraint("alias", name=op.f("uq_iam_accounts_alias")),
    )
    op.create_table(
        "iam_groups",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("name_lower", sa.String(length=128), nullable=False),
        sa.Column("path", sa.String(length=512), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_groups")),
    )
    with op.batch_alter_table("iam_groups", schema=None) as batch_op:
        batch_op.create_index("ix_iam_groups_account_id_name_lower", ["account_id", "name_lower"], unique=True)
        batch_op.create_index(
            "ix_iam_groups_account_id_path_name_lower", ["account_id", "path", "name_lower"], unique=False
        )

    op.create_table(
        "iam_inline_policies",
        sa.Column("principal_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("principal_id", "name", name=op.f("pk_iam_inline_policies")),
    )
    op.create_table(
        "iam_oidc_providers",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("url", sa.String(length=255), nullable=False),
        sa.Column("client_ids", sa.Text(), nullable=False),
        sa.Column("thumbprints", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_oidc_providers")),
    )
    with op.batch_alter_table("iam_oidc_providers", schema=None) as batch_op:
        batch_op.create_index("ix_iam_oidc_providers_account_id_url", ["account_id", "url"], unique=True)

    op.create_table(
        "iam_policies",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("name_lower", sa.String(length=128), nullable=False),
        sa.Column("path", sa.String(length=512), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.Column("description", sa.String(length=1000), nullable=False),
        sa.Column("default_version", sa.Integer(), nullable=False),
        sa.Column("last_version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_policies")),
    )
    with op.batch_alter_table("iam_policies", schema=None) as batch_op:
        batch_op.create_index("ix_iam_policies_account_id_name_lower", ["account_id", "name_lower"], unique=True)
        batch_op.create_index(
            "ix_iam_policies_account_id_path_name_lower", ["account_id", "path", "name_lower"], unique=False
        )

    op.create_table(
        "iam_roles",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("name_lower", sa.String(length=64), nullable=False),
        sa.Column("path", sa.String(length=512), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("description", sa.String(length=1000), nullable=False),
        sa.Column("trust_policy", sa.Text(), nullable=False),
        sa.Column("max_session_duration", sa.Integer(), nullable=False),
        sa.Column("boundary_arn", sa.String(length=2048), nullable=True),
        sa.Column("sessions_revoked_before", sa.BigInteger(), nullable=True),
        sa.Column("last_used", sa.BigInteger(), nullable=True),
        sa.Column("last_used_region", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_roles")),
    )
    with op.batch_alter_table("iam_roles", schema=None) as batch_op:
        batch_op.create_index(
            "ix_iam_roles_account_id_boundary_arn", ["account_id", "boundary_arn", "id"], unique=False
        )
        batch_op.create_index("ix_iam_roles_account_id_name_lower", ["account_id", "name_lower"], unique=True)
        batch_op.create_index(
            "ix_iam_roles_account_id_path_name_lower", ["account_id", "path", "name_lower"], unique=False
        )

    op.create_table(
        "iam_tags",
        sa.Column("resource_id", sa.String(length=40), nullable=False),
        sa.Column("key_lower", sa.String(length=128), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("value", sa.String(length=256), nullable=False),
        sa.PrimaryKeyConstraint("resource_id", "key_lower", name=op.f("pk_iam_tags")),
    )
    op.create_table(
        "iam_users",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("name_lower", sa.String(length=64), nullable=False),
        sa.Column("path", sa.String(length=512), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("boundary_arn", sa.String(length=2048), nullable=True),
        sa.Column("password_hash", sa.String(length=256), nullable=True),
        sa.Column("password_reset_required", sa.Boolean(), nullable=False),
        sa.Column("password_created", sa.BigInteger(), nullable=True),
        sa.Column("password_last_used", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_users")),
    )
    with op.batch_alter_table("iam_users", schema=None) as batch_op:
        batch_op.create_index(
            "ix_iam_users_account_id_boundary_arn", ["account_id", "boundary_arn", "id"], unique=False
        )
        batch_op.create_index("ix_iam_users_account_id_name_lower", ["account_id", "name_lower"], unique=True)
        batch_op.create_index(
            "ix_iam_users_account_id_path_name_lower", ["account_id", "path", "name_lower"], unique=False
        )

    op.create_table(
        "iam_group_members",
        sa.Column("group_id", sa.String(length=40), nullable=False),
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["iam_groups.id"], name=op.f("fk_iam_group_members_group_id")),
        sa.ForeignKeyConstraint(["user_id"], ["iam_users.id"], name=op.f("fk_iam_group_members_user_id")),
        sa.PrimaryKeyConstraint("group_id", "user_id", name=op.f("pk_iam_group_members")),
    )
    with op.batch_alter_table("iam_group_members", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_iam_group_members_user_id"), ["user_id"], unique=False)

    op.create_table(
        "iam_instance_profiles",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("name_lower", sa.String(length=128), nullable=False),
        sa.Column("path", sa.String(length=512), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("role_id", sa.String(length=40), nullable=True),
        sa.ForeignKeyConstraint(["role_id"], ["iam_roles.id"], name=op.f("fk_iam_instance_profiles_role_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_instance_profiles")),
    )
    with op.batch_alter_table("iam_instance_profiles", schema=None) as batch_op:
        batch_op.create_index(
            "ix_iam_instance_profiles_account_id_name_lower", ["account_id", "name_lower"], unique=True
        )
        batch_op.create_index(
            "ix_iam_instance_profiles_account_id_path_name_lower", ["account_id", "path", "name_lower"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_iam_instance_profiles_role_id"), ["role_id"], unique=False)

    op.create_table(
        "iam_attached_policies",
        sa.Column("principal_id", sa.String(length=40), nullable=False),
        sa.Column("policy_arn", sa.String(length=2048), nullable=False),
        sa.Column("policy_id", sa.String(length=40), nullable=True),
        sa.Column("principal_type", sa.String(length=8), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.ForeignKeyConstraint(["policy_id"], ["iam_policies.id"], name=op.f("fk_iam_attached_policies_policy_id")),
        sa.PrimaryKeyConstraint("principal_id", "policy_arn", name=op.f("pk_iam_attached_policies")),
    )
    with op.batch_alter_table("iam_attached_policies", schema=None) as batch_op:
        batch_op.create_index(
            "ix_iam_attached_policies_policy",
            ["account_id", "policy_arn", "principal_type", "principal_id"],
            unique=False,
        )

    op.create_table(
        "iam_policy_versions",
        sa.Column("policy_id", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["policy_id"], ["iam_policies.id"], name=op.f("fk_iam_policy_versions_policy_id")),
        sa.PrimaryKeyConstraint("policy_id", "number", name=op.f("pk_iam_policy_versions")),
    )
    with op.batch_alter_table("access_keys", schema=None) as batch_op:
        batch_op.add_column(sa.Column("last_used", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("last_used_service", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("last_used_region", sa.String(length=64), nullable=True))
        batch_op.create_index(batch_op.f("ix_access_keys_user_id"), ["user_id"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("access_keys", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_access_keys_user_id"))
        batch_op.drop_column("last_used_region")
        batch_op.drop_column("last_used_service")
        batch_op.drop_column("last_used")

    with op.batch_alter_table("iam_attached_policies", schema=None) as batch_op:
        batch_op.drop_index("ix_iam_attached_policies_policy")

    op.drop_table("iam_attached_policies")
    op.drop_table("iam_policy_versions")
    with op.batch_alter_table("iam_instance_profiles", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_iam_instance_profiles_role_id"))
        batch_op.drop_index("ix_iam_instance_profiles_account_id_path_name_lower")
        batch_op.drop_index("ix_iam_instance_profiles_account_id_name_lower")

    op.drop_table("iam_instance_profiles")
    with op.batch_alter_table("iam_group_members", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_iam_group_members_user_id"))

    op.drop_table("iam_group_members")
    with op.batch_alter_table("iam_users", schema=None) as batch_op:
        batch_op.drop_index("ix_iam_users_account_id_path_name_lower")
        batch_op.drop_index("ix_iam_users_account_id_name_lower")
        batch_op.drop_index("ix_iam_users_account_id_boundary_arn")

    op.drop_table("iam_users")
    op.drop_table("iam_tags")
    with op.batch_alter_table("iam_roles", schema=None) as batch_op:
        batch_op.drop_index("ix_iam_roles_account_id_path_name_lower")
        batch_op.drop_index("ix_iam_roles_account_id_name_lower")
        batch_op.drop_index("ix_iam_roles_account_id_boundary_arn")

    op.drop_table("iam_roles")
    with op.batch_alter_table("iam_policies", schema=None) as batch_op:
        batch_op.drop_index("ix_iam_policies_account_id_path_name_lower")
        batch_op.drop_index("ix_iam_policies_account_id_name_lower")

    op.drop_table("iam_policies")
    with op.batch_alter_table("iam_oidc_providers", schema=None) as batch_op:
        batch_op.drop_index("ix_iam_oidc_providers_account_id_url")

    op.drop_table("iam_oidc_providers")
    op.drop_table("iam_inline_policies")
    with op.batch_alter_table("iam_groups", schema=None) as batch_op:
        batch_op.drop_index("ix_iam_groups_account_id_path_name_lower")
        batch_op.drop_index("ix_iam_groups_account_id_name_lower")

    op.drop_table("iam_groups")
    op.drop_table("iam_accounts")
