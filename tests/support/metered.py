"""What the ledger of a life says, as plain tuples; times are seconds from NOW."""

from sqlalchemy import select

from stead_controller.db.tables import UsageLine, UsageMeter
from tests.support.life import Life
from tests.support.rows import NOW


def meters(life: Life) -> list[tuple[str, str, int, int]]:
    """What goes on: the resource, what it uses, how much, and for how many seconds at least."""
    order = UsageMeter.resource_id, UsageMeter.usage
    found = life.run(lambda tx: tx.session.scalars(select(UsageMeter).order_by(*order)).all())
    return [(row.resource_id, row.usage, row.quantity, row.least) for row in found]


def lines(life: Life) -> list[tuple[str, str, int, int, int]]:
    """What has ended: the resource, what it used, how much, and from when to when."""
    found = life.run(lambda tx: tx.session.scalars(select(UsageLine).order_by(UsageLine.number)).all())
    begin = int(NOW.timestamp())
    return [(row.resource_id, row.usage, row.quantity, row.began - begin, row.ended - begin) for row in found]
