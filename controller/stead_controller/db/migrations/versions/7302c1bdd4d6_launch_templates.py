"""launch templates."""

import sqlalchemy as sa
from alembic import op

revision = "7302c1bdd4d6"
down_revision = "c81d5f0e27a4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "launch_templates",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(length=2048), nullable=False),
        sa.Column("default_version", sa.Integer(), nullable=False),
        sa.Column("latest_version", sa.Integer(), nullable=False),
        sa.Column("last_number", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_launch_templates")),
        sa.UniqueConstraint("account_id", "name", name=op.f("uq_launch_templates_account_id_name")),
    )
    op.create_index("ix_launch_templates_account_id_id", "launch_templates", ["account_id", "id"], unique=True)
    op.create_table(
        "launch_template_versions",
        sa.Column("template_id", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("description", sa.String(length=255), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(length=2048), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("image_id", sa.String(length=2048), nullable=True),
        sa.Column("instance_type", sa.String(length=64), nullable=True),
        sa.Column("profile_arn", sa.String(length=2048), nullable=True),
        sa.Column("ebs_optimized", sa.Boolean(), nullable=True),
        sa.Column("http_endpoint", sa.String(length=16), nullable=True),
        sa.Column("http_tokens", sa.String(length=16), nullable=True),
        sa.ForeignKeyConstraint(
            ["template_id"],
            ["launch_templates.id"],
            name=op.f("fk_launch_template_versions_template_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("template_id", "number", name=op.f("pk_launch_template_versions")),
    )
    op.create_index(
        "ix_launch_template_versions_account_id_template_id",
        "launch_template_versions",
        ["account_id", "template_id"],
    )


def downgrade() -> None:
    op.drop_table("launch_template_versions")
    op.drop_table("launch_templates")
