"""The database for those who must get an answer in time, also where its server is gone or hangs."""

from stead_controller.db.around import Around
from stead_controller.db.session import Database


class Answered(Around):
    """A database whose transactions raise Unavailable where PostgreSQL's server is gone, or has hung for a while."""

    def __init__(self, database: Database, within: float) -> None:
        """Set after how many seconds."""
        super().__init__(database)
        self._within = within

    def _patience(self, answered_within: float) -> float:
        return min(answered_within, self._within)
