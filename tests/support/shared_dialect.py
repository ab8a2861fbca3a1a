"""All databases of a test process have one SQLAlchemy dialect, and what it has compiled.

SQLAlchemy keeps compiled statements for each engine. A process of Stead has one engine; thousands of tests have one each, and
compiled the same statements again: a seventh of the time of the tests that run in one process.
"""

from functools import cache
from typing import Any, Final

import sqlalchemy
from sqlalchemy import Dialect, Engine
from sqlalchemy.util import LRUCache

from stead_controller.db import connections

_SIZE: Final = 3000  # statements that are kept; more than all tests of a process have
_make: Final = sqlalchemy.create_engine
_compiled: Final[LRUCache[Any, Any]] = LRUCache(_SIZE)


def share() -> None:
    """Let the databases that are opened from now on in this process share their dialect; to call it again changes nothing."""
    assert vars(connections)["create_engine"] in (_make, _create_engine), "what opens databases is there no longer"
    vars(connections)["create_engine"] = _create_engine


def _create_engine(url: str, **arguments: Any) -> Engine:
    engine = _make(url, **arguments)
    if engine.dialect.name == "sqlite":
        engine.dialect = _sqlite()
        engine.update_execution_options(compiled_cache=_compiled)
    return engine


@cache
def _sqlite() -> Dialect:
    """Make the shared dialect, which knows SQLite's version once an engine of its own has connected."""
    engine = _make("sqlite://")
    with engine.connect():
        return engine.dialect
