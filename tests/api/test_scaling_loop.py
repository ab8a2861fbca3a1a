"""What wakes groups: changes of theirs, news of their instances, and time; and who is not held up by whom."""

import asyncio
import json
from datetime import timedelta
from types import SimpleNamespace

import pytest

from stead_controller.db.tables import ScalingGroup
from stead_controller.resources.scaling import due_groups
from stead_proto.v1 import host_pb2 as pb
from tests.api.test_instance_status import reported
from tests.support.scaling import NAME, Groups
from tests.support.waiting import wait_for


@pytest.fixture
def groups(api):
    return Groups(api)


def due(api):
    return api.run(lambda tx: {row.name: row.due for row in tx.session.query(ScalingGroup)})


async def running(api, groups, meanwhile):
    """Run the controller's loop while something happens in a thread."""
    api.database.on_commit(groups.loop.committed)
    task = asyncio.create_task(groups.loop.run())
    try:
        await asyncio.to_thread(meanwhile)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_a_group_sleeps_until_something_happens_to_it_or_an_instance(api, groups):
    groups.loop.clock = lambda: groups.now + timedelta(days=1)  # so that what is due is due

    def life():
        groups.create(DesiredCapacity=1)
        [one] = wait_for(lambda: list(groups.states()), "one is launched", 30)
        wait_for(lambda: due(api) == {NAME: None}, "it sleeps", 30)
        reported(api, one, pb.GUEST_ANSWERS_YES)
        wait_for(lambda: groups.states() == {one: "InService"}, "a report is seen", 30)
        wait_for(lambda: due(api) == {NAME: None}, "it sleeps again", 30)
        reported(api, one, pb.GUEST_ANSWERS_NO, silent_since=1)
        wait_for(lambda: due(api)[NAME] is not None, "a failing check is seen", 30)
        api.ec2.terminate_instances(InstanceIds=[one])
        wait_for(lambda: len(groups.states()) == 2, "an end is seen", 30)
        groups.call(groups.client.set_desired_capacity, DesiredCapacity=0)
        wait_for(lambda: set(groups.states().values()) == {"Terminating"}, "a change is seen", 30)

    asyncio.run(running(api, groups, life))


def test_what_happened_while_nothing_ran_is_seen_at_the_start(api, groups):
    groups.create(DesiredCapacity=1)
    groups.run()
    [one] = groups.states()
    reported(api, one, pb.GUEST_ANSWERS_YES)
    asyncio.run(groups.loop.run_due())
    assert groups.states() == {one: "Pending"}  # nobody told of it
    asyncio.run(running(api, groups, lambda: wait_for(lambda: groups.states() == {one: "InService"}, "it is seen", 30)))


def test_instances_of_no_group_wake_none(api, groups):
    groups.create()
    groups.run()
    other = api.launch(number=61)
    api.run(due_groups.wake_of, {other}, groups.now)
    assert due(api) == {NAME: None}
    assert not api.run(due_groups.are_of_groups, {other})


def test_what_is_for_no_group_takes_one_look(api, groups):
    groups.create()
    groups.run()
    asyncio.run(groups.loop.run_due())
    looks = []
    run = api.database.run

    async def counted(function, **options):
        looks.append(options)
        return await run(function, **options)

    groups.loop.database = SimpleNamespace(run=counted)
    groups.loop._is_new, groups.loop._noted = False, {api.launch(number=61)}
    asyncio.run(groups.loop._round(True))
    assert looks == [{"writes": False}]
    assert groups.loop._noted == set()


def test_what_could_not_be_looked_at_is_looked_at_later(api, groups):
    groups.create(DesiredCapacity=1)
    groups.run()
    [one] = groups.states()

    async def fail(function, **options):
        raise OSError

    groups.loop.database = SimpleNamespace(run=fail)
    groups.loop._is_new, groups.loop._noted = False, {one}
    with pytest.raises(OSError):
        asyncio.run(groups.loop._round(True))
    assert groups.loop._noted == {one}


def test_a_group_that_cannot_be_understood_keeps_no_other_waiting(api, groups):
    groups.create(AutoScalingGroupName="bad", DesiredCapacity=1)
    groups.create(DesiredCapacity=1)
    unknown = json.dumps({"Sorcery": True})
    api.run(lambda tx: tx.session.query(ScalingGroup).filter_by(name="bad").update({"launch": unknown}))
    groups.run()
    assert len(groups.states()) == 1
    assert due(api)["bad"] > groups.now


def test_activities_are_forgotten_after_six_weeks(groups):
    groups.create(DesiredCapacity=1)
    groups.up()
    asyncio.run(groups.loop.forget())
    assert len(groups.activities()) == 1
    groups.now += timedelta(weeks=6, seconds=1)
    asyncio.run(groups.loop.forget())
    assert groups.activities() == []
