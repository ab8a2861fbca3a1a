"""A controller that is killed by SIGKILL once at each step, and replaced each time by its supervisor.

    python -m tests.support.mortal_controller DEATHS run --state-dir=…        (the controller's own command line)

A step is the instant before or after a commit that changes rows, or after an update was sent to a host. Its name
lists the tables changed, or the kinds of resources in the update; each name is written to the file DEATHS, one a line,
when the controller dies at it, and is skipped later. So one run of a scenario dies once at each of its steps. Who
dies is the process that serves; its parent replaces it, without the pauses that so many deaths would have.
"""

import os
import re
import signal
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.engine.default import DefaultDialect

from stead_controller import supervisor
from stead_controller.__main__ import cli
from stead_controller.hosts.feed import Stream
from stead_proto.v1 import desired_pb2, host_pb2

_CHANGE: Final = re.compile(r'\s*(INSERT (?:OR \w+ )?INTO|UPDATE|DELETE FROM) "?(\w+)', re.IGNORECASE)
# Tables written periodically, independent of users, and tables of mere counters.
_ASIDE: Final = frozenset({"audit_events", "revisions", "client_tokens", "outbox", "cloud_facts", "alembic_version"})


class Steps:
    """The steps of this process, and those at which earlier ones died."""

    def __init__(self, deaths: Path) -> None:
        self._file = deaths
        self._known: set[str] = set()
        self._changes = threading.local()

    def reach(self, name: str) -> None:
        """Die at this step, unless an earlier process died at it."""
        if name in self._known:
            return
        if self._file.exists():  # read only now: the process that watches is the parent of those that die
            self._known = set(self._file.read_text(encoding="ascii").splitlines())
        if name not in self._known:
            with self._file.open("a", encoding="ascii") as file:
                file.write(name + "\n")
            os.kill(os.getpid(), signal.SIGKILL)
            signal.pause()

    def watch(self) -> None:
        """Hook into all commits and all updates sent from now on."""
        event.listens_for(Engine, "before_cursor_execute")(self._executed)
        event.listens_for(Engine, "rollback")(self._undone)
        commit = DefaultDialect.do_commit
        updates = Stream.updates

        def do_commit(dialect: DefaultDialect, connection: Any) -> None:
            changes = self._take()
            if changes:
                self.reach(f"before {changes}")
            commit(dialect, connection)  # type: ignore[no-untyped-call] # SQLAlchemy's own has no types
            if changes:
                self.reach(f"after {changes}")

        async def sent(stream: Stream) -> AsyncIterator[bytes]:
            async for content in updates(stream):
                yield content
                if kinds := _kinds(content):
                    self.reach(f"sent {kinds}")

        setattr(DefaultDialect, "do_commit", do_commit)  # noqa: B010 - mypy knows that it is a method
        setattr(Stream, "updates", sent)  # noqa: B010 - see above

    def _executed(self, _connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if change := _CHANGE.match(statement):
            verb, table = change[1].split()[0].lower(), change[2].lower()
            if table not in _ASIDE:
                self._of_transaction.add(f"{verb}:{table}")

    def _undone(self, _connection: Any) -> None:
        self._of_transaction.clear()

    @property
    def _of_transaction(self) -> set[str]:
        if not hasattr(self._changes, "names"):
            self._changes.names = set()
        names: set[str] = self._changes.names
        return names

    def _take(self) -> str:
        name = ",".join(sorted(self._of_transaction))
        self._of_transaction.clear()
        return name


def _kinds(content: bytes) -> str:
    """List the kinds of resources that an update sets, and those that it removes."""
    state = host_pb2.HostUpdate.FromString(content).state
    kinds = {str(each.WhichOneof("body")) for each in state.resources}
    taken = {f"no {desired_pb2.Kind.Name(each.kind)[5:].lower()}" for each in state.removals}
    return ",".join(sorted(kinds | taken))


def main() -> None:
    """Run the controller until a serving process exits by itself, or by SIGTERM."""
    deaths, arguments = Path(sys.argv[1]), sys.argv[2:]
    setattr(supervisor, "EARLY_SECONDS", 0.0)  # noqa: B010 - mypy knows that it is final
    Steps(deaths).watch()
    cli(arguments)


if __name__ == "__main__":
    main()
