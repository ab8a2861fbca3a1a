"""Requests that wait for room: never two instances for one, whoever tries and whatever is killed; and what makes room."""

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import select, update

from stead_controller.db.session import Database
from stead_controller.db.tables import Host, Instance, SpotRequest, Volume
from stead_controller.errors import InvalidParameter, Unsupported
from stead_controller.hosts import facts
from stead_controller.resources.fleet import waiting_spot_requests
from stead_controller.resources.fleet.waiting_spot_requests import Wanted
from stead_controller.resources.instances.launch_request import LaunchRequest
from stead_controller.resources.instances.terminate_instances import terminate_instances
from stead_controller.resources.operators import host_records
from stead_controller.resources.storage import volume_life
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb
from tests.support import rows
from tests.support.life import Life
from tests.support.rows import NOW

TINY = "stead.tiny"


class Requests(Life):
    """A tenant that requests Spot Instances, a millisecond after each other, and its host."""

    calls = 0

    def read(self, specification, count):
        return LaunchRequest(
            image_id=self.world.image_id,
            instance_type=specification,
            min_count=1,
            max_count=count,
            shutdown_behavior="terminate",
            spot=True,
        )

    def add(self, count=1, kind=TINY, **given):
        wanted = Wanted(self.read(kind, count), kind, (), {}, **given)
        self.calls += 1
        at = NOW + timedelta(milliseconds=self.calls)
        return self.run(waiting_spot_requests.add, self.caller, self.world.cloud, wanted, at)

    def room_for(self, cpus):
        values = rows.offered({"cpus_free": cpus})
        self.run(lambda tx: tx.session.execute(update(Host).values(**values)) and None)

    def try_oldest(self, database=None, *, but=()):
        tried = partial(
            waiting_spot_requests.try_oldest, cloud=self.world.cloud, read=self.read, now=NOW, but=frozenset(but)
        )
        return (database or self.database).run_blocking(tried)

    def try_all(self, database=None):
        tried = set()
        while (shape := self.try_oldest(database, but=tried)) is not None:
            tried.add(shape)

    def requests(self):
        oldest_first = select(SpotRequest).order_by(SpotRequest.created, SpotRequest.id)
        return self.run(lambda tx: list(tx.session.scalars(oldest_first)))

    def instances(self):
        return self.run(lambda tx: list(tx.session.scalars(select(Instance))))

    def end(self, instance_id):
        self.run(terminate_instances, self.caller, [instance_id], NOW)
        self.is_absent(desired.KIND_MACHINE, instance_id)


@pytest.fixture
def life(database, world):
    return Requests(database, world)


def test_two_controllers_give_each_request_one_instance(life):
    life.room_for(0)
    for kind in (TINY, "t3.micro"):
        life.add(10, kind)
    life.room_for(64)
    others = [Database(str(life.database.engine.url)) for _ in range(2)]
    with ThreadPoolExecutor() as pool:
        list(pool.map(life.try_all, others))
    for other in others:
        other.close()
    made = life.instances()
    assert len(made) == 20
    assert {one.spot_request_id: one.id for one in made} == {one.id: one.instance_id for one in life.requests()}


def test_a_try_that_is_killed_before_its_commit_leaves_the_request_waiting(life):
    life.room_for(0)
    life.add()
    life.room_for(64)

    def killed(tx):
        assert waiting_spot_requests.try_oldest(tx, life.world.cloud, life.read, NOW, but=()) is not None
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        life.database.run_blocking(killed)
    [request] = life.requests()
    assert (request.instance_id, life.instances()) == (None, [])
    life.try_all()
    life.try_all()
    assert len(life.instances()) == 1


def test_more_than_are_launched_at_once(life, monkeypatch):
    monkeypatch.setattr(waiting_spot_requests, "AT_ONCE", 3)
    life.room_for(0)
    life.add(5)
    life.room_for(64)
    woken = []
    life.database.on_commit(lambda tx: woken.append(tx.makes_room))
    life.try_oldest()
    life.try_oldest()
    assert woken == [True, False]
    assert len(life.instances()) == 5


def test_none_of_those_that_fail_hides_another(life):
    """What cannot be launched ever fails; the account's others, and those that ask for something else, are tried."""
    life.room_for(0)
    life.add(2, "t3.micro")
    life.add(1)
    life.room_for(64)
    read = life.read
    life.read = lambda kind, count: read(kind, count) if kind == TINY else replace(read(kind, count), image_id="ami-0")
    life.try_all()
    assert sorted((one.status or "", bool(one.fault)) for one in life.requests()) == [
        ("", False),
        ("bad-parameters", True),
        ("bad-parameters", True),
    ]


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_each_has_one_at_most_and_the_oldest_is_first(life, seed):
    rng = random.Random(seed)
    life.room_for(0)
    had = {}
    for _ in range(40):
        living = [one.id for one in life.instances() if one.state != "terminated"]
        match rng.randrange(5):
            case 0:
                life.add(rng.randrange(1, 4), persistent=rng.random() < 0.5)
            case 1:
                life.room_for(rng.randrange(4))
            case 2 if living:
                life.end(rng.choice(living))
            case 3:
                waiting = [one for one in life.requests() if one.next_try is not None]
                if waiting:
                    chosen = rng.choice(waiting).id
                    life.run(
                        lambda tx, chosen=chosen: waiting_spot_requests.cancel(tx.session.get(SpotRequest, chosen), NOW)
                    )
            case _:
                life.try_all()
        check(life, had)


def check(life, had):
    """No request has two living instances, none that is not persistent ever got two, and a shape's are in order."""
    requests, instances = life.requests(), life.instances()
    living = [one.spot_request_id for one in instances if one.state != "terminated"]
    assert len(living) == len(set(living))
    for one in instances:
        had.setdefault(one.spot_request_id, set()).add(one.id)
    host = life.host()
    assert host.cpus_reserved == sum(one.vcpus for one in instances if one.capacity_held)
    for request in requests:
        assert request.persistent or len(had.get(request.id, ())) <= 1
        assert (request.instance_id is None) == (request.next_try is not None or request.ended is not None)
    for persistent in (False, True):
        first_ones = [one for one in requests if one.persistent is persistent and one.ended is None]
        waits = [one.next_try is not None and not had.get(one.id) for one in first_ones]
        assert waits == sorted(waits), "a later one passed an earlier one of the same shape"


def woken_by(life, function, *args, **given):
    woken = []
    life.database.on_commit(lambda tx: woken.append(tx.makes_room))
    life.run(function, *args, **given)
    return woken


def test_a_host_that_takes_instances_makes_room(life):
    cloud, host = life.world.cloud, life.world.host_id
    assert woken_by(life, host_records.set_schedulable, cloud, host, NOW, schedulable=True) == [True]
    hello = pb.Hello(facts=pb.HostFacts(cpus=4, memory=8 << 30))
    assert woken_by(life, facts.take_facts, [(host, hello)], cloud, NOW) == [True]


def test_a_volume_that_is_gone_makes_room(life):
    [instance] = life.launch()
    [volume] = life.run(lambda tx: list(tx.session.scalars(select(Volume).where(Volume.instance_id == instance))))
    assert woken_by(life, lambda tx: volume_life.forget(tx, tx.session.get(Volume, volume.id))) == [True]


def test_a_scheduled_one_waits_until_then(life):
    at = NOW + timedelta(hours=1)
    life.add(valid_from=at)
    assert life.try_oldest() is None
    assert life.instances() == []


def statuses(life):
    return [(one.status, one.status_time, one.ended) for one in life.requests()]


def test_what_no_host_can_run_now_waits_for_one_that_can(life):
    life.room_for(0)
    life.add()
    life.room_for(64)
    read = life.read

    def refuse(specification, count):
        raise Unsupported("No host has such a type.")

    life.read = refuse
    life.try_all()
    assert statuses(life) == [("constraint-not-fulfillable", NOW, None)]
    life.read = read
    life.try_all()
    assert len(life.instances()) == 1


def test_a_status_is_as_old_as_its_code(life):
    life.room_for(0)
    life.add()
    begun = NOW + timedelta(milliseconds=1)
    life.try_all()
    assert statuses(life) == [("capacity-not-available", begun, None)]


def test_a_call_for_none_makes_no_request(life):
    with pytest.raises(InvalidParameter, match="at least 1"):
        life.add(0)
    assert (life.requests(), life.instances()) == ([], [])


def test_times_are_in_the_future_and_in_their_order(life):
    soon, later = (NOW + timedelta(hours=hours) for hours in (1, 2))
    bad = [{"valid_from": NOW}, {"valid_until": NOW}, {"valid_from": later, "valid_until": later}]
    for given in (*bad, {"valid_from": later, "valid_until": soon}):
        wanted = Wanted(life.read(TINY, 1), TINY, (), {}, **given)
        with pytest.raises(InvalidParameter, match="too early"):
            wanted.check(NOW)
    Wanted(life.read(TINY, 1), TINY, (), {}, valid_from=soon, valid_until=later).check(NOW)


def test_a_persistent_one_whose_host_is_lost_wants_another_instance(life):
    life.add(persistent=True)
    life.add()
    host = life.world.host_id
    life.run(lambda tx: tx.session.execute(update(Host).values(state="down")) and None)
    life.run(host_records.remove_host, life.world.cloud, host, NOW, lost=True)
    again, once = life.requests()
    assert (again.instance_id, again.status, again.next_try) == (None, "pending-evaluation", NOW)
    assert (once.instance_id is None, once.next_try) == (False, None)
