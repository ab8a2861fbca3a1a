"""A host with the certificate of before it joined again is told which users of its volumes have not joined yet."""

import pytest

from stead_controller.db.tables import Host, Instance
from stead_controller.hosts.awaited_hosts import AwaitedHosts
from stead_controller.hosts.feed import Stream
from stead_proto.v1 import host_pb2 as pb
from tests.support import rows
from tests.support.rows import NOW

HOME, USER, OTHER = (f"h-0123456789abcdef{number}" for number in range(3))


class Streams:
    """Stands for the feed: which hosts have a stream, and what was put into each."""

    def __init__(self):
        self.found = {}
        self.asked = 0

    def find(self, host_id):
        self.asked += 1
        return self.found.get(host_id)


class Told(Stream):
    """Keeps what it was told."""

    def __init__(self, host_id):
        super().__init__(host_id, 0, "", 0, 1)
        self.said = []

    def put(self, content):
        self.said.append(tuple(pb.HostUpdate.FromString(content).awaited.host_ids))


@pytest.fixture
def cloud(run, world):
    """Both other hosts use volumes of the first one, and are down."""

    def fill(tx):
        for host_id in (HOME, USER, OTHER):
            tx.session.add(Host(id=host_id, hostname="box", zone="us-east-1a", state="down", created=NOW))
        tx.session.flush()
        for number, user in enumerate((USER, USER, OTHER, HOME)):
            port = 61000 + number if user != HOME else None
            values = {"host_id": HOME, "attached_host_id": user, "export_port": port, "instance_id": None}
            one = Instance(id="", host_id=HOME, zone="us-east-1a", account_id=world.one.caller.account_id)
            tx.session.add(rows.volume(one, world, id=f"vol-{number}", **values))

    run(fill)

    def becomes(host_id, state):
        run(lambda tx: setattr(tx.session.get(Host, host_id), "state", state))

    return becomes


async def test_it_is_told_before_its_state_and_when_one_has_joined(database, cloud):
    feed, stream = Streams(), Told(HOME)
    awaited = AwaitedHosts(database, feed)
    await awaited.begin(stream, pb.Hello(has_former=True))
    feed.found[HOME] = stream
    await awaited.send()
    assert stream.said == [(USER, OTHER)], "once"
    cloud(USER, "up")
    await awaited.send()
    assert stream.said[1:] == [(OTHER,)]
    cloud(OTHER, "up")
    await awaited.send()
    assert stream.said[2:] == [()]
    cloud(OTHER, "down")
    asked = feed.asked
    await awaited.send()
    assert (len(stream.said), feed.asked) == (3, asked), "it had joined"


async def test_who_has_no_former_certificate_is_told_nothing(database, cloud):
    feed, stream = Streams(), Told(HOME)
    awaited = AwaitedHosts(database, feed)
    await awaited.begin(stream, pb.Hello())
    feed.found[HOME] = stream
    await awaited.send()
    assert (stream.said, feed.asked) == ([], 0)
    await AwaitedHosts(None, feed).send()  # reads nothing
    await awaited.begin(stream, pb.Hello(has_former=True))
    again = feed.found[HOME] = Told(HOME)
    await awaited.begin(again, pb.Hello())
    cloud(USER, "up")
    await awaited.send()
    assert again.said == [], "it has forgotten it since"


async def test_of_no_volumes_that_others_use_it_awaits_nobody(database, cloud):
    del cloud
    feed, stream = Streams(), Told(USER)
    awaited = AwaitedHosts(database, feed)
    await awaited.begin(stream, pb.Hello(has_former=True))
    assert stream.said == [()]
    gone = Told(HOME)
    await awaited.begin(gone, pb.Hello(has_former=True))
    await awaited.send()
    assert awaited._told == {}, "its stream has ended"
