"""Whatever is sent, to whomever, in whatever order hosts come and go: each ends with exactly what it must have."""

import asyncio
from collections import defaultdict
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stead_agent.wanted import Wanted, change_of
from stead_controller.catalog import ids
from stead_controller.db.tables import CloudFact, Host, InterfaceAddress, NetworkInterface
from stead_controller.desired import outbox, topics
from stead_controller.desired.forgetting import forget_removals
from stead_controller.hosts.feed import Feed, Stream
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb
from tests.support import databases, rows
from tests.support.examples import examples
from tests.support.rows import NOW

HOSTS = 2
VPCS = 2


class Agent:
    """A host's memory, maintained by the real agent's rules, and its stream."""

    def __init__(self, host_id):
        self.host_id = host_id
        self.wanted = Wanted()
        self.stream = None
        self.is_new = False

    def join(self, feed):
        self.stream = Stream(self.host_id, self.wanted.revision, self.wanted.epoch)
        self.is_new = True
        feed.join(self.stream)

    def leave(self, feed):
        if self.stream is not None:
            feed.leave(self.stream)
            self.stream = None

    def read(self, most=1000):
        """Take in what was sent, or only the first few of it."""
        while self.stream is not None and not self.stream._unread.empty() and most > 0:
            state = pb.HostUpdate.FromString(self.stream._unread.get_nowait()).state
            assert self.is_new or state.revision > self.wanted.revision
            change = change_of(self.wanted, state, answers_hello=self.is_new)
            assert change is not None
            self.wanted.install(change)
            self.is_new = False
            most -= 1

    def has(self):
        found = {}
        for key, resource in self.wanted.resources.items():
            plain = desired.Resource.FromString(resource.SerializeToString())
            plain.revision = 0
            found[int(key.kind), key.id] = plain
        return found


class Cloud:
    """A database, its feed and agents, and what each agent must have, recorded beside it."""

    def __init__(self, database):
        self.database = database
        self.run = database.run_blocking
        self.feed = Feed(database)
        self.run(self._build)
        self.own = defaultdict(dict)
        self.parts = defaultdict(dict)
        self.interfaces = {}
        self.peerings = set()
        self.agents = [Agent(host_id) for host_id in self.host_ids]
        self.hellos = 0

    def _build(self, tx):
        tx.session.add(CloudFact(name="epoch", value="e"))
        world = rows.build_world(tx)
        tenants = [world.one, world.other]
        hosts = [rows.host() for _ in range(HOSTS)]
        tx.session.add_all(hosts)
        self.host_ids = [host.id for host in hosts]
        self.vpcs = [(tenant.vpc_id, tenant.subnet_ids[0], tenant.caller.account_id) for tenant in tenants]

    # -- what happens

    def change_part(self, vpc, name, port, gathers):
        """A part of a VPC changes, or is gone; hosts may hear of it some moments later."""
        vpc_id = self.vpcs[vpc][0]
        key = (int(desired.KIND_FLOW_LOG), f"fl-{vpc}-{name}")
        message = desired.FlowLog(vpc_id=vpc_id, aggregation_seconds=port) if port else None

        def write(tx):
            topics.write_part(tx, *key, vpc_id, message)
            return tx.revision

        revision = self.run(write)
        if revision is not None:
            self.feed.committed(revision, gathers=gathers)
        self.parts[vpc_id].pop(key, None)
        if message is not None:
            self.parts[vpc_id][key] = desired.Resource(id=key[1], flow_log=message)

    def change_own(self, host, name, size):
        """A volume of a host changes, or is gone."""
        key = (int(desired.KIND_VOLUME), f"vol-{name}")
        host_id = self.host_ids[host]
        self.own[host_id].pop(key, None)
        if size:
            volume = desired.Volume(size=size)
            self.own[host_id][key] = desired.Resource(id=key[1], volume=volume)
            self.run(lambda tx: outbox.write(tx, host_id, {key: volume}))
        else:
            self.run(lambda tx: outbox.write(tx, host_id, {}, gone=[key]))

    def toggle_interface(self, host, vpc):
        """A host gets an interface in a VPC, or loses it."""
        vpc_id, subnet_id, account_id = self.vpcs[vpc]
        host_id = self.host_ids[host]

        def toggle(tx):
            if (known := self.interfaces.pop((host_id, vpc_id), None)) is not None:
                tx.session.delete(tx.session.get_one(NetworkInterface, known))
            else:
                interface_id = ids.new_id("network-interface")
                self.interfaces[host_id, vpc_id] = interface_id
                address = f"172.31.{host}.{vpc + 4}"
                tx.session.add(
                    InterfaceAddress(subnet_id=subnet_id, address=address, interface_id=interface_id, primary=True)
                )
                tx.session.add(
                    NetworkInterface(
                        id=interface_id,
                        account_id=account_id,
                        vpc_id=vpc_id,
                        subnet_id=subnet_id,
                        zone="us-east-1a",
                        mac_address=f"02:00:00:00:{host:02x}:{vpc:02x}",
                        private_address=address,
                        status="in-use",
                        created=NOW,
                        host_id=host_id,
                    )
                )
            topics.refresh_host(tx, vpc_id, host_id)

        self.run(toggle)

    def toggle_peering(self, one, other):
        """Two VPCs are peered, or are so no more; both sides in one transaction."""
        pair = frozenset((self.vpcs[one][0], self.vpcs[other][0]))
        if len(pair) < 2:
            return
        self.peerings ^= {pair}

        def toggle(tx):
            for vpc_id in pair:
                (peer_id,) = pair - {vpc_id}
                key = (int(desired.KIND_PEERING), f"pcx-{one + other}:{vpc_id}")
                message = desired.Peering(vpc_id=vpc_id, peer_vpc_id=peer_id) if pair in self.peerings else None
                topics.write_part(tx, *key, vpc_id, message)
                self.parts[vpc_id].pop(key, None)
                if message is not None:
                    self.parts[vpc_id][key] = desired.Resource(id=key[1], peering=message)

        self.run(toggle)

    def report(self, host, forgets):
        """A host says that it has done all that it was sent, and may forget what it removed."""
        agent = self.agents[host]
        if agent.wanted.epoch:
            self.run(
                lambda tx: setattr(tx.session.get_one(Host, agent.host_id), "revision_reached", agent.wanted.revision)
            )
            for key in list(agent.wanted.tombstones) if forgets else ():
                agent.wanted.mark_done(key)
                agent.wanted.forget([key])

    def forget(self, silent, jump):
        """Removals are forgotten; with `silent` a host was away for long, with `jump` the clock was set meanwhile."""
        if silent is not None:
            self.agents[silent].leave(self.feed)

        def seen(tx):
            for number, host_id in enumerate(self.host_ids):
                host = tx.session.get_one(Host, host_id)
                host.last_seen = NOW - timedelta(hours=2 if number == silent else 0)
                host.state = "down" if number == silent else "up"

        self.run(seen)
        self.run(lambda tx: forget_removals(tx, NOW + timedelta(hours=jump)))

    def lose_memory(self, host):
        """A host's agent is installed anew."""
        self.agents[host].leave(self.feed)
        self.agents[host].wanted = Wanted()

    # -- what must be

    def wanted_of(self, host_id):
        mine = {vpc_id for (each, vpc_id) in self.interfaces if each == host_id}
        peers = {peer for pair in self.peerings if pair & mine for peer in pair}
        found = dict(self.own[host_id])
        for vpc_id in mine | peers:
            found |= self.parts[vpc_id]
        return found

    async def check(self):
        for agent in self.agents:
            agent.read()
            if agent.stream is None:
                agent.join(self.feed)
        await self.feed._round()
        self.feed._send_delayed()
        self.check_index()
        drawn = {int(desired.KIND_FLOW_LOG), int(desired.KIND_PEERING), int(desired.KIND_VOLUME)}
        for agent in self.agents:
            agent.read()
            assert {key: value for key, value in agent.has().items() if key[0] in drawn} == self.wanted_of(
                agent.host_id
            )
            vpcs = {key[1] for key in agent.has() if key[0] == desired.KIND_VPC}
            mine = {vpc_id for (each, vpc_id) in self.interfaces if each == agent.host_id}
            assert vpcs == mine | {peer for pair in self.peerings if pair & mine for peer in pair}

    def check_index(self):
        """By which the feed finds whom a VPC's news concern, without asking all of them."""
        sent = defaultdict(set)
        for host_id, stream in self.feed._streams.items():
            for vpc_id in stream.vpc_ids:
                sent[vpc_id].add(host_id)
        assert self.feed._subscribers == sent


_host, _vpc = st.integers(0, HOSTS - 1), st.integers(0, VPCS - 1)
_small = st.integers(0, 1)
_steps = st.one_of(
    st.tuples(st.just("change_part"), _vpc, _small, _small, st.booleans()),
    st.tuples(st.just("change_part"), _vpc, _small, st.integers(0, 9), st.just(True)),
    st.tuples(st.just("change_own"), _host, _small, st.integers(0, 9)),
    st.tuples(st.just("toggle_interface"), _host, _vpc),
    st.tuples(st.just("toggle_interface"), _host, _vpc),
    st.tuples(st.just("toggle_peering"), _vpc, _vpc),
    st.tuples(st.just("report"), _host, st.booleans()),
    st.tuples(st.just("forget"), st.sampled_from([None, None, 0, 1]), st.sampled_from([0, 2])),
    st.tuples(st.just("lose_memory"), _host),
    st.tuples(st.just("join"), _host),
    st.tuples(st.just("leave"), _host),
    st.tuples(st.just("read"), _host, st.integers(1, 3)),
    st.tuples(st.just("round")),
    st.tuples(st.just("round")),
    st.tuples(st.just("send_gathered")),
    st.tuples(st.just("check")),
)


async def _live(database, steps):
    cloud = Cloud(database)
    for number in range(HOSTS):
        cloud.toggle_interface(number, number)
        cloud.change_part(number, 0, 1, False)
    await cloud.check()
    for name, *words in steps:
        if name == "join":
            cloud.agents[words[0]].leave(cloud.feed)
            cloud.agents[words[0]].join(cloud.feed)
        elif name == "leave":
            cloud.agents[words[0]].leave(cloud.feed)
            cloud.check_index()
        elif name == "read":
            cloud.agents[words[0]].read(words[1])
        elif name == "round":
            await cloud.feed._round()
            cloud.check_index()
            for agent in cloud.agents[:1]:
                agent.read()
        elif name == "send_gathered":
            cloud.feed._send_delayed()
        elif name == "check":
            await cloud.check()
        else:
            getattr(cloud, name)(*words)
    await cloud.check()


@settings(
    max_examples=examples(20),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(_steps, min_size=8, max_size=40))
def test_every_host_ends_with_exactly_what_it_must_have(tmp_path_factory, empty_database_file, steps):
    path = tmp_path_factory.mktemp("feed") / "stead.sqlite"
    path.write_bytes(empty_database_file)
    database = databases.opened(path)
    try:
        asyncio.run(_live(database, steps))
    finally:
        database.close()


async def _patience(database):
    """Say of each update of a host, in order, whether somebody waits until it is done."""
    cloud = Cloud(database)
    cloud.toggle_interface(0, 0)
    cloud.change_part(0, 0, 1, False)
    await cloud.check()
    for gathers in (True, False, True):
        cloud.change_part(0, 0, 2 + gathers, gathers)
        await cloud.feed._round()
        cloud.feed._send_delayed()
    unread = cloud.agents[0].stream._unread
    return [pb.HostUpdate.FromString(unread.get_nowait()).state.patient for _ in range(unread.qsize())]


def test_nobody_waits_for_what_itself_has_waited(tmp_path, empty_database_file):
    path = tmp_path / "stead.sqlite"
    path.write_bytes(empty_database_file)
    database = databases.opened(path)
    try:
        assert asyncio.run(_patience(database)) == [True, False, True]
    finally:
        database.close()


async def _beginning(database, vpcs):
    """Say how many updates a host gets when it comes to VPCs, or leaves them, while a change of the first waits."""
    cloud = Cloud(database)
    cloud.toggle_interface(0, 0)
    await cloud.check()
    cloud.change_part(0, 0, 2, True)
    await cloud.feed._round()
    for vpc in vpcs:
        cloud.toggle_interface(0, vpc)
    await cloud.feed._round()
    unread = cloud.agents[0].stream._unread.qsize()
    await cloud.check()
    return unread


@pytest.mark.parametrize(("vpcs", "updates"), [((1,), 1), ((0,), 2), ((0, 0), 2)])
def test_what_waits_comes_with_another_vpc_and_before_its_own_goes(tmp_path, empty_database_file, vpcs, updates):
    path = tmp_path / "stead.sqlite"
    path.write_bytes(empty_database_file)
    database = databases.opened(path)
    try:
        assert asyncio.run(_beginning(database, vpcs)) == updates
    finally:
        database.close()
