"""instance profiles of instances."""

import sqlalchemy as sa
from alembic import op

revision = "a84678949b73"
down_revision = "8f2d6c41ab07"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "instance_profile_associations",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("instance_id", sa.String(length=40), nullable=False),
        sa.Column("profile_id", sa.String(length=40), nullable=False),
        sa.Column("profile_arn", sa.String(length=2048), nullable=False),
        sa.Column("profile_name", sa.String(length=128), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("role_name", sa.String(length=64), nullable=False),
        sa.Column("access_key_id", sa.String(length=32), nullable=False),
        sa.Column("session_token", sa.Text(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=True),
        sa.Column("expires", sa.BigInteger(), nullable=True),
        sa.Column("due", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instance_profile_associations")),
        sa.UniqueConstraint("instance_id", name=op.f("uq_instance_profile_associations_instance_id")),
    )
    with op.batch_alter_table("instance_profile_associations", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_instance_profile_associations_account_id"), ["account_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_instance_profile_associations_due"), ["due"], unique=False)
        batch_op.create_index(batch_op.f("ix_instance_profile_associations_profile_id"), ["profile_id"], unique=False)

    with op.batch_alter_table("instances", schema=None) as batch_op:
        batch_op.add_column(sa.Column("profile_association_id", sa.String(length=40), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("instances", schema=None) as batch_op:
        batch_op.drop_column("profile_association_id")

    with op.batch_alter_table("instance_profile_associations", schema=None) as batch_op:
        batch_op.drop_index("ix_instance_profile_associations_profile_id")
        batch_op.drop_index("ix_instance_profile_associations_due")
        batch_op.drop_index("ix_instance_profile_associations_account_id")

    op.drop_table("instance_profile_associations")
