"""How what belongs to another tenant is answered: as what is absent, by the same work, and with no change.

The same work is the same statements of SQL, and that none of them finds a row of another account's: there is no time
that could tell. `tests/bench/tenant_timing.py` measures it.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import event

from stead_controller.aws.call import OPERATIONS, Call
from stead_controller.aws.errors import translate
from stead_controller.aws.protocol import codec_for
from stead_controller.aws.protocol.codec import WireError
from stead_controller.errors import SteadError
from tests.api.conftest import Api
from tests.support.plans import steps_for_any_account

# The steps of statements that may read anybody's rows: the same in each database of the same schema.
_PLANS: dict[str, list[str]] = {}


def answer(api: Api, service: str, operation: str, params: Mapping[str, Any]) -> Any:
    """The wire error of a call of the first tenant, or what it gave."""
    found = OPERATIONS[service, operation]
    prepared = None if found.prepare is None else found.prepare(params)

    def handle(tx: Any) -> Any:
        call = Call(
            caller=api.world.one.caller,
            tx=tx,
            cloud=api.world.cloud,
            request_id="request",
            now=api.world.now,
            source_ip="127.0.0.1",
            user_agent="",
            prepared=prepared,
        )
        return found.handler(call, params)

    try:
        return api.database.run_blocking(handle, writes=found.writes)
    except SteadError as error:
        return translate(error, service, "request", codec_for(service).wire)


def answered_alike(
    api: Api, service: str, operation: str, request: Callable[[str], Mapping[str, Any]], names: tuple[str, str]
) -> WireError:
    """Check that another's name and an absent one are refused alike, by the same work, with no change; give the refusal."""
    seen = []
    for value in names:
        params = request(value)
        with unchanged(api), statements(api) as ran:
            wire = answer(api, service, operation, params)
        assert isinstance(wire, WireError), (operation, wire)
        assert read_of_other_accounts(api, value, ran) == []
        seen.append((replace(wire, message=wire.message.replace(value, "X")), [statement for statement, _ in ran]))
    assert seen[0][0] == seen[1][0]
    assert seen[0][1] == seen[1][1], operation
    return seen[0][0]


@contextmanager
def statements(api: Api) -> Iterator[list[tuple[str, Any]]]:
    """The statements of SQL that run meanwhile, and their parameters."""
    ran: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        ran.append((statement, parameters))

    event.listen(api.database.engine, "before_cursor_execute", note)
    try:
        yield ran
    finally:
        event.remove(api.database.engine, "before_cursor_execute", note)


def read_of_other_accounts(api: Api, value: str, ran: Iterable[tuple[str, Any]]) -> list[str]:
    """What the statements that ask for this name read of whoever's rows, with the end of each."""
    asked = {statement: parameters for statement, parameters in ran if value in parameters}
    unknown = asked.keys() - _PLANS.keys()
    if unknown:
        with closing(sqlite3.connect(str(api.database.engine.url.database))) as connection:
            for statement in unknown:
                _PLANS[statement] = list(steps_for_any_account(connection, statement, asked[statement]))
    return [f"{step}: {statement[-400:]}" for statement in asked for step in _PLANS[statement]]


@contextmanager
def unchanged(api: Api) -> Iterator[None]:
    """Check that nothing is committed meanwhile."""
    with closing(sqlite3.connect(str(api.database.engine.url.database))) as connection:
        (before,) = connection.execute("PRAGMA data_version").fetchone()
        yield
        (after,) = connection.execute("PRAGMA data_version").fetchone()
    assert after == before
