"""What an upgrade changes of a database, and the way back from that: all that both need is loaded beforehand."""

from collections.abc import Callable
from typing import Final

from stead_controller.db import schema
from stead_controller.db.session import Database
from stead_controller.settings import Settings
from stead_proto import alone

THERE: Final = b"there"
BACK: Final = b"back"


def at_hand(settings: Settings) -> dict[bytes, Callable[[], None]]:
    """Load what brings the database to this release's schema, and back to its present one; nothing where it has that.

    The way back keeps rows, and the copy of before, and holds what the process holds that serves.
    """
    opened = Database(settings.database)
    before = schema.revision_of(opened.engine)
    if before is None or before == schema.newest() or not schema.knows(before):
        return {}
    from stead_controller.db.downgrade import rehearse, undo  # noqa: PLC0415 - Alembic, see schema.py

    rehearse(before, settings.state_dir)  # systemd may let nobody write elsewhere

    def there() -> None:
        schema.bring_up_to_date(opened.engine, copies=settings.state_dir)

    def back() -> None:
        alone.take(settings.state_dir / alone.SERVING_FILE_NAME)
        undo(opened.engine, before)

    return {THERE: there, BACK: back}


def prepare_copy(settings: Settings) -> None:
    """Prepare the copy that an upgrade of a server's database makes before: see `schema.prepare`."""
    opened = Database(settings.database)
    try:
        schema.prepare(opened.engine, settings.state_dir)
    finally:
        opened.close()
