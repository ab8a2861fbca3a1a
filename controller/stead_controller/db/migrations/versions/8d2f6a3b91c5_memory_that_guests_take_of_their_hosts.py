"""Memory that guests take of their hosts.

Until now a host had reserved its guests' own memory. What QEMU, a TPM and page tables need for them is reserved too, by
the figures of `placement/guest_memory.py`, and given back by these when a guest ends: so those of guests that have
capacity now are added. A host may have less than nothing free then.
"""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "8d2f6a3b91c5"
down_revision = "5b1c7e90a4d2"
branch_labels = None
depends_on = None

_HELD: Final = """
    UPDATE hosts SET memory_reserved = memory_reserved {sign} coalesce((
        SELECT sum(instances.memory / 256 + 1048576 * (
            76 + instances.vcpus
            + CASE WHEN instances.boot_mode IN ('uefi', 'uefi-preferred') THEN 12 ELSE 0 END
            + CASE WHEN instances.sealed_tpm_key IS NOT NULL THEN 4 ELSE 0 END
        )) FROM instances WHERE instances.host_id = hosts.id AND instances.capacity_held
    ), 0)
"""


def upgrade() -> None:
    op.execute(sa.text(_HELD.format(sign="+")))


def downgrade() -> None:
    op.execute(sa.text(_HELD.format(sign="-")))
