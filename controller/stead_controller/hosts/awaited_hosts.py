"""Tells hosts that joined again, by other authorities than before, which hosts have still to join.

After a restore from before a change of authorities no host trusts this controller, until each has joined again. A
host's volumes that guests of others use must be served by the certificate that these know until they have joined, too.
"""

from collections import defaultdict

from sqlalchemy import select

from stead_controller.db.session import Database, Transaction
from stead_controller.db.tables import Host, Volume
from stead_controller.hosts.feed import Feed, Stream
from stead_proto.v1 import host_pb2 as pb


class AwaitedHosts:
    """What the hosts of this controller's streams were told that have the certificate of before."""

    def __init__(self, database: Database, feed: Feed) -> None:
        """Tell nobody yet."""
        self._database = database
        self._feed = feed
        self._told: dict[str, tuple[str, ...]] = {}  # by host

    async def begin(self, stream: Stream, hello: pb.Hello) -> None:
        """Tell a host that has said Hello, if it wants to know; to be called before it is told anything else."""
        self._told.pop(stream.host_id, None)
        if hello.has_former:
            found = await self._database.run(lambda tx: awaited_by(tx, [stream.host_id]), writes=False)
            self._tell(stream, found[stream.host_id])

    async def send(self) -> None:
        """Tell the hosts for which it has changed; to be called periodically."""
        if not self._told:
            return
        asked = list(self._told)
        found = await self._database.run(lambda tx: awaited_by(tx, asked), writes=False)
        for host_id in asked:
            stream = self._feed.find(host_id)
            if stream is None:
                self._told.pop(host_id, None)
            elif self._told.get(host_id, found[host_id]) != found[host_id]:
                self._tell(stream, found[host_id])

    def _tell(self, stream: Stream, host_ids: tuple[str, ...]) -> None:
        stream.put(pb.HostUpdate(awaited=pb.Awaited(host_ids=host_ids)).SerializeToString())
        if host_ids:
            self._told[stream.host_id] = host_ids
        else:
            self._told.pop(stream.host_id, None)


def awaited_by(tx: Transaction, host_ids: list[str]) -> dict[str, tuple[str, ...]]:
    """Return of each home the other hosts that are to use volumes of it and are not up: those may not have joined."""
    query = (
        select(Volume.host_id, Volume.attached_host_id)
        .join(Host, Host.id == Volume.attached_host_id)
        .where(Volume.host_id.in_(host_ids), Volume.export_port.is_not(None), Host.state != "up")
        .distinct()
        .order_by(Volume.attached_host_id)
    )
    found: defaultdict[str, list[str]] = defaultdict(list)
    for home_id, user_id in tx.session.execute(query):
        found[str(home_id)].append(str(user_id))
    return {host_id: tuple(found[host_id]) for host_id in host_ids}
