"""settings of buckets and the key of objects."""

import sqlalchemy as sa
from alembic import op

revision = "e6b1d20f7a53"
down_revision = "d84b0f6a2c19"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "object_keys",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_object_keys")),
    )
    with op.batch_alter_table("buckets", schema=None) as batch_op:
        batch_op.add_column(sa.Column("public_access_block", sa.String(length=80), nullable=True))
        batch_op.add_column(sa.Column("owner_enforced", sa.Boolean(), server_default=sa.true(), nullable=False))


def downgrade() -> None:
    with op.batch_alter_table("buckets", schema=None) as batch_op:
        batch_op.drop_column("owner_enforced")
        batch_op.drop_column("public_access_block")
    op.drop_table("object_keys")
