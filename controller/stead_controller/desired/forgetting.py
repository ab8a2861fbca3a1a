"""Removals are deleted from the database once no host needs them: all hosts concerned have done them.

A host that was silent for long does not delay this: it is sent everything again when it comes back. A host that is up
does not count as silent, even when the clock was set.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, exists, select, update

from stead_controller.db.session import Transaction
from stead_controller.db.tables import Host, HostResource, VpcHost, VpcResource
from stead_controller.desired import revisions

_SILENCE: Final = timedelta(hours=1)


def forget_removals(tx: Transaction, now: datetime) -> None:
    """Delete the rows of removals that all hosts concerned have done, and of subscriptions whose ends are done."""
    current = revisions.current(tx)
    options = {"synchronize_session": False}
    tx.session.execute(
        update(Host)
        .where(Host.state != "up", Host.last_seen < now - _SILENCE, Host.revision_forgotten < current)
        .values(revision_forgotten=current)
        .execution_options(**options)
    )
    knows = (Host.revision_reached >= HostResource.revision) | (Host.revision_forgotten >= HostResource.revision)
    done = exists().where(Host.id == HostResource.host_id, knows)
    tx.session.execute(delete(HostResource).where(HostResource.body.is_(None), done).execution_options(**options))
    knows = (Host.revision_reached >= VpcHost.gone_revision) | (Host.revision_forgotten >= VpcHost.gone_revision)
    done = exists().where(Host.id == VpcHost.host_id, knows)
    tx.session.execute(delete(VpcHost).where(VpcHost.gone_revision.is_not(None), done).execution_options(**options))
    # All hosts still subscribed to a VPC, and those whose subscription has ended but is not done, may have the part.
    knows_not = (Host.revision_reached < VpcResource.revision) & (Host.revision_forgotten < VpcResource.revision)
    may_have = (
        select(VpcHost.host_id)
        .join(Host, Host.id == VpcHost.host_id)
        .where(VpcHost.vpc_id == VpcResource.vpc_id, knows_not)
        .exists()
    )
    tx.session.execute(delete(VpcResource).where(VpcResource.body.is_(None), ~may_have).execution_options(**options))
