"""no disk is laid over an image file.

Disks have been laid over snapshots since images are mappings over them. What hosts were told of image files (kind 2 of
`stead.v1.Kind`, which no program knows any more) is forgotten with it.
"""

import sqlalchemy as sa
from alembic import op

revision = "5f0b7c2d91aa"
down_revision = "28c8cd195b11"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DELETE FROM host_resources WHERE kind = 2")
    op.drop_column("volumes", "image_id")


def downgrade() -> None:
    op.add_column("volumes", sa.Column("image_id", sa.String(40), nullable=True))
