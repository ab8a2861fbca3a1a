"""Placement against a model that looks at each host, on random fleets, and each of its rules by itself."""

import random
from dataclasses import dataclass, field, replace

import pytest
from sqlalchemy import delete, select, update

from stead_controller.db.tables import Host, StoragePool
from stead_controller.errors import NoCapacity
from stead_controller.placement.group import Group, Member
from stead_controller.placement.need import Need
from stead_controller.placement.search import Terms
from stead_controller.resources.host_capacity import capacity
from stead_controller.resources.host_capacity.volume_homes import DiskNeed
from tests.support import rows
from tests.support.rows import CLOUD, GIB

ZONE = "us-east-1a"
SMALL_CLOUD = replace(CLOUD, volume_overcommit=1.0)
PACKING = replace(SMALL_CLOUD, placement="pack")
FLEETS = 40
STEPS = 25


@dataclass
class ModelHost:
    """A host as the rules see it: what it has, and what was taken of it."""

    id: str
    zone: str
    state: str
    schedulable: bool
    architecture: str
    emulates: str
    accelerated: bool
    uefi: bool
    tpm: bool
    threads: int
    cpus: int
    memory: int
    pool: int | None  # GiB
    taken: list[tuple[Need, tuple[DiskNeed, ...]]] = field(default_factory=list)

    def may_take(self, need, zone, disks):
        """Whether no rule forbids it."""
        if (self.zone, self.state, self.schedulable) != (zone, "up", True):
            return False
        if need.architecture not in {self.architecture, self.emulates}:
            return False
        if need.vcpus > self.threads or (need.uefi and not self.uefi) or (need.tpm and not self.tpm):
            return False
        room = self.pool is None or self.pool_taken() + sum_of(need, disks) <= self.pool * GIB
        return self.cpus_free() >= need.vcpus and self.memory_free() >= need.memory and room

    def way(self, need):
        """How it runs a guest: by KVM, by emulation, or by emulation where others could have KVM."""
        if not self.accelerated:
            return 1
        return 0 if self.architecture == need.architecture else 2

    def cpus_free(self):
        return self.cpus - sum(need.vcpus for need, _ in self.taken)

    def memory_free(self):
        return self.memory - sum(need.memory for need, _ in self.taken)

    def pool_taken(self):
        return sum(sum_of(need, disks) for need, disks in self.taken)


def sum_of(need, disks):
    return need.instance_store + sum(disk.size for disk in disks) * GIB


def random_host(dice, number):
    return ModelHost(
        f"h-{number:017x}",
        dice.choice([ZONE, ZONE, "us-east-1b"]),
        dice.choice(["up", "up", "up", "down", "enrolled"]),
        dice.random() < 0.8,
        dice.choice(["x86_64", "x86_64", "arm64"]),
        dice.choice(["", "x86_64", "arm64"]),
        dice.random() < 0.5,
        dice.random() < 0.7,
        dice.random() < 0.5,
        dice.randint(1, 4),
        dice.randint(0, 8),
        dice.randint(0, 8),
        dice.choice([None, dice.randint(0, 12)]),
    )


def store(tx, fleet):
    tx.session.execute(delete(StoragePool))
    tx.session.execute(delete(Host))
    for host in fleet:
        tx.session.add(
            rows.host(
                id=host.id,
                zone=host.zone,
                state=host.state,
                schedulable=host.schedulable,
                architecture=host.architecture,
                emulates=host.emulates,
                accelerated=host.accelerated,
                uefi=host.uefi,
                tpm=host.tpm,
                cpus=host.threads,
                cpus_free=host.cpus,
                memory_free=host.memory,
            )
        )
        tx.session.flush()
        if host.pool is not None:
            tx.session.add(pool_of(host.id, host.pool))
    tx.session.flush()


def pool_of(host_id, size, **changes):
    values = {"name": "default", "backend": "directory", "is_default": True, "total": size * GIB, "free": 0}
    return StoragePool(host_id=host_id, **values | changes)


def random_need(dice):
    need = Need(
        dice.randint(1, 4),
        dice.randint(1, 3),
        dice.choice(["x86_64", "arm64"]),
        dice.choice([0, 0, 2]) * GIB,
        uefi=dice.random() < 0.3,
        tpm=dice.random() < 0.2,
    )
    return need, tuple(DiskNeed(dice.randint(1, 4), "gp3") for _ in range(dice.randint(0, 2)))


def place(tx, need, disks, zone=ZONE, cloud=SMALL_CLOUD, **terms):
    try:
        return capacity.reserve_any(tx, cloud, need, zone, disks, terms=Terms(**terms)).host_id
    except NoCapacity:
        return None


def free(tx):
    query = select(Host.id, Host.cpus_free, Host.memory_free, StoragePool.provisioned).outerjoin(StoragePool)
    return {row[0]: tuple(row[1:]) for row in tx.session.execute(query)}


def reserved(tx):
    return {
        row[0]: tuple(row[1:]) for row in tx.session.execute(select(Host.id, Host.cpus_reserved, Host.memory_reserved))
    }


def modelled(fleet):
    return {
        host.id: (host.cpus_free(), host.memory_free(), None if host.pool is None else host.pool_taken())
        for host in fleet
    }


@pytest.mark.parametrize("seed", range(FLEETS))
def test_random_fleets_against_the_model(database, seed):
    """It never places where the model forbids, finds a place whenever there is one, and counts as the model counts."""
    dice = random.Random(seed)
    cloud, roomiest = (PACKING, min) if seed % 2 else (SMALL_CLOUD, max)
    fleet = {host.id: host for host in (random_host(dice, number) for number in range(dice.randint(1, 7)))}

    def live(tx):
        store(tx, fleet.values())
        for _ in range(STEPS):
            if dice.random() < 0.7:
                launch(tx)
            else:
                end_one(tx)
            tx.session.flush()
            assert free(tx) == modelled(fleet.values())
            taken = {
                host.id: (host.cpus - host.cpus_free(), host.memory - host.memory_free()) for host in fleet.values()
            }
            assert reserved(tx) == taken

    def launch(tx):
        need, disks = random_need(dice)
        zone = dice.choice([ZONE, "us-east-1b"])
        allowed = [host for host in fleet.values() if host.may_take(need, zone, disks)]
        found = place(tx, need, disks, zone, cloud)
        assert (found is None) == (not allowed)
        if found is None:
            return
        chosen = fleet[found]
        assert chosen in allowed
        best = min(host.way(need) for host in allowed)
        assert chosen.way(need) == best
        of_its_kind = [host for host in allowed if host.way(need) == best]
        assert chosen.memory_free() == roomiest(host.memory_free() for host in of_its_kind)
        chosen.taken.append((need, disks))

    def end_one(tx):
        host = dice.choice(list(fleet.values()))
        if not host.taken:
            return
        need, disks = host.taken.pop()
        capacity.release(tx, host.id, need)
        for disk in disks:
            capacity.volume_homes.release(tx, host.id, "", disk.size)

    database.run_blocking(live)


def change(run, host_id, **values):
    """Change columns of a host; `cpus_free` and `memory_free` by what it offers."""
    run(lambda tx: tx.session.execute(update(Host).where(Host.id == host_id).values(**rows.offered(values))) and None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"state": "down"},
        {"state": "enrolled"},
        {"schedulable": False},
        {"zone": "us-east-1b"},
        {"architecture": "arm64"},
        {"cpus": 1},
        {"cpus_free": 1},
        {"memory_free": GIB - 1},
        {"uefi": False},
        {"tpm": False},
    ],
    ids=str,
)
def test_one_unmet_need_excludes_a_host(run, world, wrong):
    need = Need(2, GIB, uefi=True, tpm=True)
    assert run(place, need, ()) == world.host_id
    change(run, world.host_id, **wrong)
    assert run(place, need, ()) is None


@pytest.mark.parametrize(
    "wrong",
    [{"state": "down"}, {"schedulable": False}, {"cpus": 1}, {"cpus_free": 1}, {"memory_free": GIB - 1}],
    ids=str,
)
def test_an_instance_starts_only_where_its_disks_are_and_there_is_room(run, world, wrong):
    run(capacity.reserve_on, CLOUD, world.host_id, Need(2, GIB))
    change(run, world.host_id, **wrong)
    before = run(free)
    with pytest.raises(NoCapacity, match="not enough free capacity"):
        run(capacity.reserve_on, CLOUD, world.host_id, Need(2, GIB))
    assert run(free) == before


@pytest.mark.parametrize(
    ("lost", "words"), [("uefi", "not UEFI firmware, as"), ("tpm", "not UEFI firmware and a TPM, as")]
)
def test_an_instance_does_not_start_where_its_firmware_is_gone(run, world, lost, words):
    need = Need(2, GIB, uefi=True, tpm=lost == "tpm")
    run(capacity.reserve_on, CLOUD, world.host_id, need)
    run(several, 1)  # another host that has all
    with pytest.raises(NoCapacity, match="not enough free capacity"):
        run(capacity.reserve_on, CLOUD, world.host_id, replace(need, memory=1 << 50))
    change(run, world.host_id, **{lost: False})
    before = run(free)
    with pytest.raises(NoCapacity, match=words):
        run(capacity.reserve_on, CLOUD, world.host_id, need)
    assert run(free) == before
    run(capacity.reserve_on, CLOUD, world.host_id, Need(2, GIB))


def test_that_no_host_runs_the_architecture_is_said(run, world):
    need = Need(1, GIB, "arm64", tpm=True)
    with pytest.raises(NoCapacity, match="No host in it runs arm64 instances"):
        run(capacity.reserve_any, CLOUD, need, ZONE)
    change(run, world.host_id, emulates="arm64", tpm=False)
    with pytest.raises(NoCapacity, match="no host with a TPM"):
        run(capacity.reserve_any, CLOUD, need, ZONE)
    change(run, world.host_id, tpm=True, uefi=False)
    assert run(place, need, ()) == world.host_id


@pytest.mark.parametrize(
    ("lost", "words"), [("uefi", "with UEFI firmware, as"), ("tpm", "with UEFI firmware and a TPM, as")]
)
def test_that_no_host_has_the_firmware_is_said(run, world, lost, words):
    need = Need(1, GIB, uefi=True, tpm=lost == "tpm")
    run(lambda tx: tx.session.add(rows.host(zone="us-east-1b")))
    change(run, world.host_id, **{lost: False})
    with pytest.raises(NoCapacity, match=f"{ZONE}.*no host {words}"):
        run(capacity.reserve_any, CLOUD, need, ZONE)
    change(run, world.host_id, **{lost: True})
    with pytest.raises(NoCapacity, match=f"sufficient capacity in .*{ZONE}.\\.$"):
        run(capacity.reserve_any, CLOUD, replace(need, memory=1 << 50), ZONE)


def test_of_firmware_nothing_is_said_where_none_is_needed(run, world):
    change(run, world.host_id, uefi=False, tpm=False)
    with pytest.raises(NoCapacity, match="No host in it has as many processors"):
        run(capacity.reserve_any, CLOUD, Need(65, GIB), ZONE)


@pytest.mark.parametrize("change_of", [{"state": "down"}, {"schedulable": False}, {"zone": "us-east-1b"}], ids=str)
@pytest.mark.parametrize("uefi", [False, True])
def test_that_no_host_of_a_zone_takes_instances_is_said(run, world, change_of, uefi):
    """As while the only one is drained: nothing is wrong with its processors."""
    change(run, world.host_id, **change_of)
    with pytest.raises(NoCapacity, match=f"{ZONE}.*\\. No host in it takes instances now\\.$"):
        run(capacity.reserve_any, CLOUD, Need(1, GIB, uefi=uefi), ZONE)


def test_a_start_on_a_host_and_its_end_ask_once_where_no_rule_of_neighbours_counts(run, world, statements):
    statements.clear()
    run(capacity.reserve_on, CLOUD, world.host_id, Need(1, GIB))
    run(capacity.release, world.host_id, Need(1, GIB))  # nor is a pool changed for no instance store
    assert [one.split()[:2] for one in statements] == [["UPDATE", "hosts"]] * 2


def test_instance_store_takes_room_of_the_default_pool_and_gives_it_back(run, world):
    run(lambda tx: tx.session.add_all([pool_of(world.host_id, 10), spare(world)]))
    need = Need(1, GIB, instance_store=4 * GIB)

    def default():
        return run(lambda tx: tx.session.get_one(StoragePool, (world.host_id, "default")).provisioned)

    run(capacity.reserve_on, SMALL_CLOUD, world.host_id, need)
    assert run(place, need, ()) == world.host_id
    assert default() == 8 * GIB
    before = run(lambda tx: tx.session.get_one(Host, world.host_id).cpus_free)
    assert run(place, need, ()) is None

    def start_in_vain(tx):
        """The transaction goes on: another host or partition may be tried in it."""
        with pytest.raises(NoCapacity, match="instance store"):
            capacity.reserve_on(tx, SMALL_CLOUD, world.host_id, need)

    run(start_in_vain)
    assert (default(), run(lambda tx: tx.session.get_one(Host, world.host_id).cpus_free)) == (8 * GIB, before)
    run(capacity.release, world.host_id, need)
    assert default() == 4 * GIB
    assert run(place, need, [DiskNeed(3, "gp3")]) is None, "there is room for the instance store alone"
    assert default() == 4 * GIB
    assert run(place, need, [DiskNeed(2, "gp3")]) == world.host_id


def spare(world):
    return pool_of(world.host_id, 100, name="spare", is_default=False, volume_types="io2")


@pytest.mark.parametrize(
    ("asked", "code", "words"),
    [
        ({"disks": [DiskNeed(11, "gp3")]}, "InsufficientVolumeCapacity", "enough capacity for the requested volume"),
        ({"instance_store": 11 * GIB}, None, "volumes and instance store"),
        ({"vcpus": 65}, None, r"as many processors .* vCPUs \(65\)"),
        (
            {"memory": 1 << 50},
            None,
            f"do not have sufficient capacity in the Availability Zone you requested .{ZONE}.\\.$",
        ),
    ],
    ids=str,
)
def test_it_is_said_of_what_there_is_not_enough(run, world, asked, code, words):
    run(lambda tx: tx.session.add(pool_of(world.host_id, 10)))
    need = Need(asked.get("vcpus", 1), asked.get("memory", GIB), instance_store=asked.get("instance_store", 0))
    before = run(free)
    with pytest.raises(NoCapacity, match=words) as refusal:
        run(capacity.reserve_any, SMALL_CLOUD, need, ZONE, asked.get("disks", ()))
    assert refusal.value.code == code
    assert run(free) == before


def test_a_host_for_what_takes_no_room(run, world):
    """Also one that is full, but none that is away, is to get nothing, is elsewhere, or is the one it must not be."""
    change(run, world.host_id, cpus_free=-1, memory_free=-1)
    assert run(capacity.choose_any, ZONE) == world.host_id
    assert run(capacity.choose_any, "us-east-1b") is None
    assert run(capacity.choose_any, ZONE, but=world.host_id) is None
    for wrong, right in (({"state": "down"}, {"state": "up"}), ({"schedulable": False}, {"schedulable": True})):
        change(run, world.host_id, **wrong)
        assert run(capacity.choose_any, ZONE) is None
        change(run, world.host_id, **right)
    roomy = rows.host(memory_free=1)
    roomy_id = run(lambda tx: tx.session.add(roomy) or roomy.id)
    assert run(capacity.choose_any, ZONE) == roomy_id
    run(lambda tx: tx.session.add(rows.host(id="h-00000000000000000", memory_free=1)))
    assert run(capacity.choose_any, ZONE) == "h-00000000000000000", "of equals always the same"


def test_a_launch_on_a_host_with_kvm_asks_once(run, world, statements):
    statements.clear()
    assert run(place, Need(1, GIB), ()) == world.host_id
    assert len([one for one in statements if one.startswith(("SELECT", "UPDATE"))]) == 2


def test_among_more_hosts_than_are_looked_at_the_roomiest_is_found(run, world):
    """Also where those before it, by their ids, have KVM, too, and its like has none."""
    change(run, world.host_id, state="down")
    names = [f"h-{number:017x}" for number in range(40)]
    run(
        lambda tx: tx.session.add_all(rows.host(id=name, memory_free=GIB + number) for number, name in enumerate(names))
    )
    assert run(place, Need(1, GIB), ()) == names[-1]
    run(lambda tx: tx.session.execute(update(Host).values(accelerated=False)) and None)
    change(run, names[0], accelerated=True)
    assert run(place, Need(1, GIB), ()) == names[0]


def test_of_hosts_that_have_as_much_the_first_or_last_is_chosen(run, world):
    """So that it is the same one each time, found where an index begins."""
    change(run, world.host_id, state="down")
    names = [f"h-{number:017x}" for number in range(40)]
    for name in reversed(names):
        run(lambda tx, name=name: tx.session.add(rows.host(id=name, memory_free=GIB)))
    assert run(capacity.choose_any, ZONE) == names[0]
    assert run(place, Need(1, GIB), ()) == names[-1]
    assert run(place, Need(1, GIB), (), cloud=PACKING) == names[0]
    change(run, names[-1], memory_free=2 * GIB)
    assert run(capacity.choose_any, ZONE) == names[-1]


def test_hosts_whose_pools_are_full_are_not_tried(run, world, statements):
    def add(tx):
        for number in range(5):
            host = rows.host(id=f"h-{number:017x}", memory_free=1000 * GIB)
            tx.session.add(host)
            tx.session.flush()
            tx.session.add(pool_of(host.id, 1))

    run(add)
    statements.clear()
    assert run(place, Need(1, GIB), (DiskNeed(50, "gp3"),)) == world.host_id
    assert len([one for one in statements if one.startswith("UPDATE hosts")]) == 1


def several(tx, count, **values):
    """Add hosts and return their ids, sorted."""
    made = [rows.host(**values) for _ in range(count)]
    tx.session.add_all(made)
    tx.session.flush()
    return sorted(host.id for host in made)


@pytest.mark.parametrize(
    "wrong",
    [
        {"state": "down"},
        {"schedulable": False},
        {"architecture": "arm64"},
        {"cpus": 1},
        {"cpus_free": 1},
        {"memory_free": GIB - 1},
        {"uefi": False},
        {"tpm": False},
        {"zone": "us-east-1b"},
    ],
    ids=str,
)
def test_however_many_hosts_do_not_do_the_one_that_does_is_found_at_once(run, world, statements, wrong):
    run(several, 40, **{"memory_free": 1000 * GIB} | wrong)
    cloud = PACKING if "memory_free" in wrong else SMALL_CLOUD
    statements.clear()
    assert run(place, Need(2, GIB, uefi=True, tpm=True), (), cloud=cloud) == world.host_id
    assert len([one for one in statements if one.startswith(("SELECT", "UPDATE"))]) == 2


def test_hosts_are_read_in_the_order_of_an_index_and_not_sorted(run, world, statements, database):
    statements.clear()
    run(place, Need(1, GIB), ())
    run(place, Need(1, GIB), (), cloud=PACKING)
    reads = [one for one in statements if one.startswith("SELECT hosts")]
    assert len(reads) == 2
    with database.engine.connect() as connection:
        for read in reads:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {read}", (None,) * read.count("?")).all()
            words = " ".join(row[-1] for row in plan)
            assert "ix_hosts_room (zone=? AND accelerated=? AND memory_free>?)" in words
            assert "ix_volumes_host_id (host_id=? AND snapshot_id=?)" in words
            assert "SCAN" not in words.replace("SCAN CONSTANT ROW", "")
            assert "B-TREE" not in words


def test_a_host_that_has_the_images_blocks_is_chosen_of_equals(run, world):
    first, *_, last = run(several, 3, memory_free=1000 * GIB)
    snapshot_id = "snap-0123456789abcdef0"

    def put(tx, host_id):
        instance = rows.launch(tx, world, world.one, host_id=host_id)
        assert tx.session.query(rows.Volume).filter_by(instance_id=instance.id).one().snapshot_id == snapshot_id

    run(put, first)
    assert run(place, Need(1, GIB), ()) == last
    change(run, last, memory_free=1000 * GIB, cpus_free=64)
    assert run(place, Need(1, GIB), (), snapshot_id=snapshot_id) == first
    change(run, first, memory_free=1000 * GIB, cpus_free=64)
    assert run(place, Need(1, GIB), (), snapshot_id="snap-00000000000000000") == last


def test_an_instance_goes_where_its_volumes_are_if_it_fits_there(run, world):
    roomy = run(several, 40, memory_free=1000 * GIB)
    homes = {world.host_id: 8, roomy[0]: 1}
    assert run(place, Need(1, GIB), (), homes=homes) == world.host_id
    run(lambda tx: tx.session.add(pool_of(world.host_id, 10)))
    assert run(place, Need(1, GIB), (DiskNeed(11, "gp3"),), homes=homes) == roomy[0]
    assert run(place, Need(1, GIB), (DiskNeed(6, "gp3"), DiskNeed(6, "gp3")), homes=homes) == roomy[0]
    change(run, roomy[0], state="down")
    assert run(place, Need(1, GIB), (DiskNeed(11, "gp3"),), homes=homes) == roomy[-1]


def test_each_host_is_judged_and_nothing_reserved(run, world, unchanged):
    away = run(several, 1, zone="us-east-1b", state="down", cpus_free=-1)[0]
    run(lambda tx: tx.session.add(pool_of(world.host_id, 10)))
    need = Need(1, GIB, instance_store=11 * GIB)
    unchanged()
    judged = run(lambda tx: capacity.judge(tx, SMALL_CLOUD, capacity.search_for(SMALL_CLOUD, need, ZONE)))
    assert [(room.host_id, [one.filter for one in refusals]) for room, refusals in judged] == [
        (world.host_id, ["instance-store"]),
        (away, ["zone", "state", "vcpus"]),
    ]
    small = capacity.search_for(SMALL_CLOUD, replace(need, instance_store=0), ZONE, (DiskNeed(10, "gp3"),))
    judged = run(lambda tx: capacity.judge(tx, SMALL_CLOUD, small))
    assert judged[0].room.host_id == world.host_id
    assert not judged[0].refusals
    unchanged()


def test_an_instance_store_needs_room_in_the_default_pool_and_volumes_in_any(run, world):
    def refusals(store, *disks):
        search = capacity.search_for(SMALL_CLOUD, Need(1, GIB, instance_store=store * GIB), ZONE, disks)
        [judged] = run(capacity.judge, SMALL_CLOUD, search)
        return [one.filter for one in judged.refusals]

    assert refusals(11) == [], "nothing is known of its pools"
    bulk = {"name": "bulk", "is_default": False}
    run(lambda tx: tx.session.add_all([pool_of(world.host_id, 100, **bulk), pool_of(world.host_id, 10)]))
    assert refusals(10) == refusals(0, DiskNeed(100, "gp3")) == refusals(10, DiskNeed(100, "gp3")) == []
    assert refusals(11) == refusals(11, DiskNeed(100, "gp3")) == ["instance-store"]
    assert refusals(10, DiskNeed(101, "gp3")) == ["pool"]
    run(capacity.reserve_on, SMALL_CLOUD, world.host_id, Need(1, GIB, instance_store=GIB))
    assert refusals(10) == ["instance-store"], "what others have is not free"


def test_where_else_there_is_capacity_is_said(run, world):
    run(several, 1, zone="us-east-1b", memory_free=1000 * GIB)
    change(run, world.host_id, memory_free=0)
    with pytest.raises(NoCapacity) as refusal:
        run(capacity.reserve_any, CLOUD, Need(1, GIB), ZONE, terms=Terms("t3.micro"))
    assert refusal.value.message == (
        f"We currently do not have sufficient t3.micro capacity in the Availability Zone you requested ({ZONE}). You can "
        "currently get t3.micro capacity by not specifying an Availability Zone in your request or choosing us-east-1b."
    )


def test_the_zone_that_was_asked_for_is_no_other_one(run, world):
    """Where only its hosts that were tried in vain have room."""
    with pytest.raises(NoCapacity, match=f"you requested .{ZONE}.\\.$"):
        run(capacity.reserve_any, CLOUD, Need(1, GIB), ZONE, but={world.host_id})


def test_all_hosts_are_read_if_a_rule_refuses_all_that_were_read_first(run, world, statements):
    roomy = run(several, 40, memory_free=1000 * GIB)
    group = Group("spread", tuple(Member(host_id, host_id) for host_id in roomy))
    statements.clear()
    assert run(place, Need(1, GIB), (), group=group) == world.host_id
    assert len([one for one in statements if one.startswith("SELECT hosts")]) == 2
    run(several, 1, memory_free=GIB, accelerated=False)
    change(run, world.host_id, state="down")
    assert run(place, Need(1, GIB), (), group=group) not in (None, *roomy)
    assert run(place, Need(1, GIB), (), group=group) is None


def test_the_rules_of_a_group_hold_where_an_instances_disks_are(run, world):
    group = Group("spread", (Member(world.host_id, world.host_id),))
    before = run(free)
    with pytest.raises(NoCapacity, match="instances of its placement group"):
        run(capacity.reserve_on, CLOUD, world.host_id, Need(1, GIB), Terms(group=group))
    assert run(free) == before
    run(capacity.reserve_on, CLOUD, world.host_id, Need(1, GIB), Terms(group=replace(group, members=())))


def test_the_hosts_of_a_cluster_are_read_first(run, world):
    run(several, 40, memory_free=1000 * GIB)
    cluster = Group("cluster", (Member(world.host_id, world.host_id),))
    assert run(place, Need(1, GIB), (), group=cluster) == world.host_id
