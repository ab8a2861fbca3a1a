"""Which host is chosen of those that fit, against a model that looks at each; each filter and score by itself."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.catalog.instance_type import DeviceCount
from stead_controller.placement.choose_host import FILTERS, choose_host, explain
from stead_controller.placement.cores import Core, CoreNeed, Node
from stead_controller.placement.devices import Device
from stead_controller.placement.group import Group, Member
from stead_controller.placement.need import Need
from stead_controller.placement.room import Room
from stead_controller.placement.search import Search, Terms
from stead_controller.placement.tenancy import SHARED, Tenancy

ZONE = "us-east-1a"
MIB = 1 << 20
# Small numbers, so that what just fits and what just does not are often among them.
small = st.integers(-2, 6)
GPU = "10de:1eb8"
NODE = Node(0, (Core(2, 2), Core(3, 2, free=False)), 2)
ONE, OTHER = Device("0000:01:00.0", GPU, 1), Device("0000:02:00.0", GPU, 2)
mostly = st.sampled_from([True, True, True, False])
hosts = st.uuids().map(str)
rooms = st.lists(
    st.builds(
        Room,
        hosts,
        st.sampled_from([ZONE, ZONE, ZONE, "us-east-1b"]),
        small,
        small,
        st.integers(0, 6),
        st.booleans(),
        st.sampled_from(["up", "up", "up", "down", "enrolled"]),
        mostly,
        st.sampled_from(["x86_64", "x86_64", "x86_64", "arm64"]),
        st.sampled_from(["", "", "x86_64", "arm64"]),
        mostly,
        mostly,
        st.none() | small,
        st.none() | small,
        st.booleans(),
        st.sampled_from(["r1", "r2", "r3", "r4"]),
        st.sampled_from(["", "", "", "1", "2"]),
        st.sampled_from(["", "", "", "h-a", "h-b"]),
        st.booleans(),
        st.sampled_from([(), (), (ONE,), (ONE, OTHER), (ONE, OTHER._replace(free=False))]),
        nodes=st.sampled_from([(), (NODE,), (NODE._replace(huge_pages=1),)]),
    ),
    max_size=12,
    unique_by=lambda room: room.host_id,
)
needs = st.builds(
    Need,
    st.integers(1, 5),
    st.integers(1, 5),
    st.sampled_from(["x86_64", "x86_64", "arm64"]),
    st.integers(0, 3),
    uefi=st.booleans(),
    tpm=st.booleans(),
    devices=st.sampled_from([(), (), (DeviceCount(GPU, 1),), (DeviceCount(GPU, 2),)]),
    cores=st.sampled_from([None, None, CoreNeed(1), CoreNeed(2), CoreNeed(1, 1, 2)]),
)
tenancies = st.sampled_from([SHARED, SHARED, Tenancy("dedicated", "1"), Tenancy("host", "1", frozenset({"h-a"}))])
ROOM = Room(
    "h-5",
    ZONE,
    cpus_free=16,
    memory_free=10,
    threads=4,
    accelerated=True,
    uefi=True,
    tpm=True,
    pool_free=5,
    store_free=6,
    rack="r",
    devices=(ONE, OTHER),
    nodes=(NODE,),
)
NEED = Need(
    4, 10, instance_store=6, uefi=True, tpm=True, devices=(DeviceCount(GPU, 2),), cores=CoreNeed(1, 2, huge_pages=2)
)
SEARCH = Search(NEED, ZONE, disk=5)


@st.composite
def groups(draw, found):
    """A placement group that has instances on some of the hosts, each in a partition if the group has any."""
    strategy = draw(st.sampled_from(["cluster", "spread", "partition"]))
    partition = st.integers(1, 2) if strategy == "partition" else st.none()
    hosts = draw(st.lists(st.sampled_from(found), max_size=3)) if found else []
    members = tuple(Member(room.host_id, room.rack, draw(partition)) for room in hosts)
    return Group(strategy, members, by_host=draw(st.booleans()), partition=draw(partition))


@st.composite
def searches(draw, found):
    """A search whose counts by host are of some of the hosts."""
    counts = st.dictionaries(st.sampled_from([room.host_id for room in found] or ["h-0"]), st.integers(1, 3))
    terms = Terms(
        beside=draw(counts),
        homes=draw(st.just({}) | counts),
        group=draw(st.none() | groups(found)),
        tenancy=draw(tenancies),
    )
    return Search(draw(needs), ZONE, draw(st.integers(0, 5)), packs=draw(st.booleans()), terms=terms)


fleets = rooms.flatmap(lambda found: st.tuples(st.just(found), searches(found)))


def model(room, search):
    """Whether the rules allow it."""
    need = search.need
    right = (room.zone, room.state, room.schedulable) == (ZONE, "up", True)
    right = right and need.architecture in {room.architecture, *room.emulates.split()}
    firmware = (room.uefi or not need.uefi) and (room.tpm or not need.tpm)
    enough = need.vcpus <= min(room.threads, room.cpus_free) and need.memory <= room.memory_free
    disk = not search.disk or room.pool_free is None or search.disk <= room.pool_free
    store = not need.instance_store or room.store_free is None or need.instance_store <= room.store_free
    devices = sum(device.free for device in room.devices) >= sum(one.count for one in need.devices)
    cores = need.cores is None or any(
        need.cores.cores <= 1 and need.cores.huge_pages <= n.huge_pages for n in room.nodes
    )
    allowed = group_allows(room, search.terms.group) and tenancy_allows(room, search.terms.tenancy)
    return right and firmware and enough and disk and store and devices and cores and allowed


def tenancy_allows(room, tenancy):
    """Whether the instance may share the host with those that are there."""
    if tenancy.kind == "host":
        return (room.owner, room.dedicated_host_id) == ("1", "h-a")
    if room.dedicated_host_id:
        return False
    return not room.owner if tenancy.kind == "default" else room.owner == "1" or (not room.owner and room.empty)


def group_allows(room, group):
    """Whether the instance may be beside those of its group that are there."""
    if group is None or group.strategy == "cluster":
        return True
    if group.strategy == "spread" and group.by_host:
        return room.host_id not in [member.host_id for member in group.members]
    there = [member.partition for member in group.members if member.rack == room.rack]
    return not there if group.strategy == "spread" else set(there) <= {group.partition}


def near(room, group):
    """How near a host is to those of the same cluster or partition, the nearest first."""
    if group is None or group.strategy == "spread":
        return (0,)
    same = [member for member in group.members if member.partition == group.partition]
    on_it = sum(member.host_id == room.host_id for member in same)
    return (-on_it, room.rack not in [member.rack for member in same])


def best(fitting, search):
    """Which of those that fit is preferred: all are looked at once for each preference, in order."""
    terms, sign = search.terms, 1 if search.packs else -1
    most = max(terms.homes.get(room.host_id, 0) for room in fitting)
    left = [room for room in fitting if terms.homes.get(room.host_id, 0) == most]
    nearest = min(near(room, terms.group) for room in left)
    left = [room for room in left if near(room, terms.group) == nearest]
    by_kvm = [room for room in left if room.accelerated and room.architecture == search.need.architecture]
    left = by_kvm or [room for room in left if not room.accelerated] or left
    if not search.packs:
        fewest = min(terms.beside.get(room.host_id, 0) for room in left)
        left = [room for room in left if terms.beside.get(room.host_id, 0) == fewest]
    for figure in (
        lambda room: sign * room.memory_free - search.need.memory * room.has_image,
        lambda room: sign * room.cpus_free,
    ):
        least = min(map(figure, left))
        left = [room for room in left if figure(room) == least]
    ends = min if search.packs else max
    return ends(left, key=lambda room: room.host_id)


@given(fleets)
def test_it_finds_the_best_place_whenever_one_exists_and_none_where_rules_forbid(fleet):
    found, search = fleet
    fitting = [room for room in found if model(room, search)]
    assert choose_host(found, search) == (best(fitting, search) if fitting else None)


@given(fleets, st.randoms())
def test_the_order_of_hosts_does_not_matter(fleet, random):
    found, search = fleet
    shuffled = list(found)
    random.shuffle(shuffled)
    assert choose_host(found, search) == choose_host(shuffled, search)
    assert explain(found, search) == explain(shuffled, search)


@given(fleets)
def test_an_explanation_begins_with_the_choice_and_says_why_of_each_other(fleet):
    found, search = fleet
    verdicts = explain(found, search)
    assert sorted(one.room.host_id for one in verdicts) == sorted(room.host_id for room in found)
    chosen = choose_host(found, search)
    assert chosen is None or verdicts[0].room == chosen
    assert all(bool(one.refusals) != model(one.room, search) for one in verdicts)


# What makes each filter, and none but it, refuse a host that just fits, and what it says.
ALONE = {
    "zone": ({"zone": "us-east-1b"}, "it is in the zone us-east-1b"),
    "state": ({"state": "down"}, "it is down"),
    "schedulable": ({"schedulable": False}, "it is not to get new instances"),
    "tenancy": ({"owner": "1"}, "it is dedicated to the account 1"),
    "dedicated-host": ({"dedicated_host_id": "h-a"}, "it is the Dedicated Host h-a"),
    "architecture": ({"architecture": "arm64"}, "its architecture is arm64, and it does not emulate x86_64"),
    "uefi": ({"uefi": False}, "it has no UEFI firmware for guests"),
    "tpm": ({"tpm": False}, "it has no TPM for guests"),
    "threads": ({"threads": 3}, "it has 3 threads for 4 vCPUs"),
    "vcpus": ({"cpus_free": 3}, "3 of 4 vCPUs are free"),
    "memory": ({"memory_free": 9}, "0 of 1 MiB of memory are free"),
    "pool": ({"pool_free": 4}, "no pool has room for a disk of 1 MiB"),
    "instance-store": ({"store_free": 5}, "its default pool has no room for 1 MiB of instance store"),
    "devices": ({"devices": (ONE, OTHER._replace(free=False))}, "it has not the devices: 2 of 10de:1eb8, 1 free"),
    "cores": (
        {"nodes": (NODE._replace(huge_pages=1),)},
        "no memory node has 1 whole cores of 2 threads and 2 huge pages free: node 0 has 1 and 1",
    ),
    "spread": ({"rack": "r1"}, "its rack r1 has an instance of the spread placement group"),
    "partition": ({"rack": "r1"}, "its rack r1 is of partition 2 of the placement group"),
}
GROUPS = {
    "spread": Group("spread", (Member("h-1", "r1"),)),
    "partition": Group("partition", (Member("h-1", "r2", 1), Member("h-1", "r1", 2)), partition=1),
}


def test_each_filter_is_tried_alone():
    assert [one.name for one in FILTERS] == list(ALONE)


@pytest.mark.parametrize("name", ALONE)
def test_each_filter_refuses_alone_and_says_why(name):
    changes, reason = ALONE[name]
    search = replace(SEARCH, terms=Terms(group=GROUPS.get(name)))
    assert choose_host([ROOM], search) == ROOM
    other = ROOM._replace(**changes)
    assert choose_host([other], search) is None
    assert explain([other], search) == [(other, ((name, reason),))]
    assert choose_host([other, ROOM], search) == ROOM


@pytest.mark.parametrize(
    ("need", "nodes", "reason"),
    [
        (CoreNeed(2, 2, 0), (NODE,), "no memory node has 2 whole cores of 2 threads free: node 0 has 1"),
        (
            CoreNeed(1, 2, 0),
            (Node(1, (Core(2, 1), Core(3, 2, free=False)), 0),),
            "no memory node has 1 whole cores of 2 threads free: node 1 has 0",
        ),
        (CoreNeed(1, 1, 0), (), "no memory node has 1 whole cores of 1 threads free"),
    ],
)
def test_a_lack_of_whole_cores_is_told_by_node(need, nodes, reason):
    search = replace(SEARCH, need=replace(SEARCH.need, cores=need))
    (verdict,) = explain([ROOM._replace(nodes=nodes)], search)
    assert verdict.refusals == (("cores", reason),)


def test_a_host_that_emulates_an_architecture_takes_it_after_those_that_have_it():
    emulated = ROOM._replace(architecture="arm64", emulates="x86_64")
    assert choose_host([emulated], SEARCH) == emulated
    assert choose_host([emulated._replace(emulates="i386")], SEARCH) is None
    without_kvm = ROOM._replace(host_id="h-1", accelerated=False)
    assert choose_host([emulated, without_kvm], SEARCH) == without_kvm
    assert choose_host([emulated, emulated._replace(host_id="h-1", accelerated=False)], SEARCH).host_id == "h-1"
    assert choose_host([emulated, without_kvm, ROOM._replace(host_id="h-2")], SEARCH).host_id == "h-2"


@pytest.mark.parametrize(
    ("tenancy", "changes", "refusal"),
    [
        (Tenancy("dedicated", "1"), {}, None),
        (Tenancy("dedicated", "1"), {"owner": "1", "empty": False}, None),
        (Tenancy("own", "1"), {"owner": "1", "empty": False}, None),
        (Tenancy("own", "1"), {}, ("tenancy", "it is shared")),
        (Tenancy("dedicated", "1"), {"empty": False}, ("tenancy", "it has instances of shared tenancy")),
        (Tenancy("dedicated", "1"), {"owner": "2"}, ("tenancy", "it is dedicated to the account 2")),
        (Tenancy("default", "1"), {"owner": "1"}, ("tenancy", "it is dedicated to the account 1")),
        (
            Tenancy("dedicated", "1"),
            {"owner": "1", "dedicated_host_id": "h-a"},
            ("dedicated-host", "it is the Dedicated Host h-a"),
        ),
        (Tenancy("host", "1", frozenset({"h-a"})), {"owner": "1", "dedicated_host_id": "h-a", "empty": False}, None),
        (
            Tenancy("host", "1", frozenset({"h-b"})),
            {"owner": "1", "dedicated_host_id": "h-a"},
            ("dedicated-host", "it is none of the Dedicated Hosts"),
        ),
        (
            Tenancy("host", "1", frozenset({"h-a"})),
            {"owner": "2", "dedicated_host_id": "h-a"},
            ("tenancy", "it is dedicated to the account 2"),
        ),
        (Tenancy("host", "1", frozenset({"h-a"})), {"dedicated_host_id": "h-a"}, ("tenancy", "it is shared")),
    ],
)
def test_a_tenancy_says_beside_whom_an_instance_may_be(tenancy, changes, refusal):
    (verdict,) = explain([ROOM._replace(**changes)], replace(SEARCH, terms=Terms(tenancy=tenancy)))
    assert list(verdict.refusals) == ([] if refusal is None else [refusal])


def in_group(*members, strategy="spread", partition=None, by_host=False):
    group = Group(strategy, tuple(Member(*member) for member in members), by_host=by_host, partition=partition)
    return replace(SEARCH, terms=Terms(group=group))


def test_a_spread_group_may_share_racks_where_it_spreads_over_hosts():
    search = in_group(("h-1", "r"), by_host=True)
    assert choose_host([ROOM], search) == ROOM
    (verdict,) = explain([ROOM._replace(host_id="h-1")], search)
    assert verdict.refusals == (("spread", "it has an instance of the spread placement group"),)


def test_a_cluster_is_on_one_host_or_else_in_one_rack():
    full = ROOM._replace(host_id="h-1", memory_free=9)
    same_rack, other_rack = ROOM._replace(host_id="h-2"), ROOM._replace(host_id="h-3", rack="r9", memory_free=1000)
    search = in_group(("h-1", "r"), ("h-1", "r"), ("h-3", "r9"), strategy="cluster")
    assert choose_host([full._replace(memory_free=10), same_rack, other_rack], search).host_id == "h-1"
    assert choose_host([full, same_rack, other_rack], search).host_id == "h-3"
    assert choose_host([full, same_rack, other_rack], in_group(("h-1", "r"), strategy="cluster")).host_id == "h-2"
    assert search.near == {"h-1", "h-3"}


def test_a_partition_has_as_few_racks_as_it_needs():
    emulated = ROOM._replace(accelerated=False)
    free = ROOM._replace(host_id="h-9", rack="r9", memory_free=1000)
    search = in_group(("h-1", "r", 1), ("h-2", "r8", 2), strategy="partition", partition=1)
    assert choose_host([emulated, free], search) == emulated
    assert choose_host([emulated._replace(state="down"), free], search) == free
    assert search.near == {"h-1"}
    assert in_group(("h-1", "r")).near == frozenset()


def test_a_partition_fills_the_hosts_that_it_has():
    emptier = ROOM._replace(host_id="h-9", memory_free=1000)
    search = in_group(("h-5", "r", 1), ("h-8", "r8", 2), strategy="partition", partition=1)
    assert choose_host([ROOM, emptier], search) == ROOM
    assert choose_host([ROOM._replace(memory_free=9), emptier], search) == emptier


def test_instances_that_are_spread_over_hosts_do_not_seek_each_others_racks():
    elsewhere = ROOM._replace(host_id="h-2", rack="r2", memory_free=11)
    assert choose_host([ROOM, elsewhere], in_group(("h-1", "r"), by_host=True)) == elsewhere


@pytest.mark.parametrize("packs", [False, True])
def test_of_equals_the_one_is_chosen_where_the_index_begins(packs):
    equals = [ROOM._replace(host_id=f"h-{number}") for number in (2, 1, 3)]
    assert choose_host(equals, replace(SEARCH, packs=packs)).host_id == ("h-1" if packs else "h-3")


def test_what_is_free_is_never_less_than_nothing():
    over = ROOM._replace(cpus_free=-2, memory_free=-5 * MIB)
    assert [one.reason for one in explain([over], SEARCH)[0].refusals] == [
        "0 of 4 vCPUs are free",
        "0 of 1 MiB of memory are free",
    ]


def test_what_is_not_needed_is_not_asked():
    plain = Search(Need(4, 10), ZONE)
    bare = ROOM._replace(uefi=False, tpm=False, pool_free=-1, store_free=-1, devices=(), nodes=())
    assert choose_host([bare], plain) == bare
    assert choose_host([ROOM._replace(pool_free=None, store_free=None)], SEARCH) is not None


@pytest.mark.parametrize("packs", [False, True])
@pytest.mark.parametrize("figure", ["memory_free", "cpus_free"])
def test_spread_takes_the_emptiest_and_pack_the_fullest_that_fits(figure, packs):
    room = ROOM._replace(cpus_free=20, memory_free=20)
    emptier = room._replace(host_id="h-6", **{figure: 21})
    assert choose_host([room, emptier], replace(SEARCH, packs=packs)) == (room if packs else emptier)


def test_memory_goes_before_vcpus():
    other = ROOM._replace(host_id="h-6", memory_free=11, cpus_free=4)
    assert choose_host([ROOM, other], SEARCH) == other


def test_kvm_goes_before_room():
    emulated = ROOM._replace(host_id="h-1", memory_free=1000, cpus_free=1000, accelerated=False)
    assert choose_host([emulated, ROOM], SEARCH) == ROOM
    assert choose_host([emulated, ROOM], replace(SEARCH, need=replace(NEED, memory=11))) == emulated


def test_a_host_with_the_image_goes_before_one_that_has_room_for_one_instance_more():
    other = ROOM._replace(host_id="h-6", has_image=True)
    assert choose_host([ROOM._replace(memory_free=19), other], SEARCH) == other
    assert choose_host([ROOM._replace(memory_free=21), other], SEARCH).host_id == "h-5"
    packed = replace(SEARCH, packs=True)
    assert choose_host([ROOM, other._replace(memory_free=19)], packed).host_id == "h-6"
    assert choose_host([ROOM, other._replace(memory_free=21)], packed).host_id == "h-5"


def test_instances_of_one_launch_avoid_each_other_unless_they_are_packed():
    other = ROOM._replace(host_id="h-6", memory_free=1000)
    beside = replace(SEARCH, terms=Terms(beside={"h-6": 1}))
    assert choose_host([ROOM, other], SEARCH) == other
    assert choose_host([ROOM, other], beside) == ROOM
    assert choose_host([ROOM, other], replace(beside, packs=True, terms=Terms(beside={"h-5": 1}))) == ROOM
    assert choose_host([ROOM._replace(accelerated=False), other], beside) == other, "KVM goes before"


def test_where_its_volumes_are_an_instance_is_placed_first():
    other = ROOM._replace(host_id="h-6", memory_free=1000)
    at_home = replace(SEARCH, terms=Terms(homes={"h-5": 8, "h-6": 1}))
    assert choose_host([ROOM, other], at_home) == ROOM
    assert choose_host([ROOM._replace(accelerated=False), other], at_home).host_id == "h-5"
    assert choose_host([ROOM._replace(state="down"), other], at_home) == other
    assert at_home.near == {"h-5", "h-6"}
