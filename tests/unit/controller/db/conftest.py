"""What tests of the database share."""

from collections.abc import Iterator
from functools import cache

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory


@pytest.fixture(scope="session", autouse=True)
def _migrations_are_read_once() -> Iterator[None]:
    """Alembic loads the files of all migrations anew whenever it is asked for one step, which takes longer than the step."""
    make = ScriptDirectory.from_config

    @cache
    def stored(location: str) -> ScriptDirectory:
        config = Config()
        config.set_main_option("script_location", location)
        return make(config)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptDirectory, "from_config", lambda config: stored(config.get_main_option("script_location")))
        yield
