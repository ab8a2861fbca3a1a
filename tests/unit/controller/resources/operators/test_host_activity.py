"""Operators see hosts with the instances that are on them, and what these do, or why that is not known."""

import asyncio

import pytest
from sqlalchemy import update

from stead_controller.db.tables import Host, Instance
from stead_controller.errors import NotFound
from stead_controller.hosts.elsewhere import HostUnavailable
from stead_controller.operator import activity
from stead_controller.resources.operators.host_activity import HostInstances, InstanceOnHost, hosts_with_instances
from stead_proto.v1 import host_pb2
from tests.support import rows


@pytest.fixture
def instance(run, world):
    """An instance of the world's host."""

    def launch(tx):
        made = rows.launch(tx, world, world.one, host_id=world.host_id)
        tx.session.flush()
        return made

    return run(launch)


def test_instances_are_with_their_hosts(run, world, instance):
    [found] = [one for one in run(hosts_with_instances, "") if one.host_id == world.host_id]
    expected = InstanceOnHost(instance.id, instance.account_id, instance.instance_type, instance.vcpus, instance.memory)
    assert (found.is_up, found.instances) == (True, [expected])
    assert run(hosts_with_instances, world.host_id) == [found]
    others = [one for one in run(hosts_with_instances, "") if one.host_id != world.host_id]
    assert all(one.instances == [] for one in others)
    run(lambda tx: tx.session.execute(update(Instance).values(state="terminated")))
    assert run(hosts_with_instances, world.host_id)[0].instances == []
    run(lambda tx: tx.session.execute(update(Host).values(state="down")))
    assert not run(hosts_with_instances, world.host_id)[0].is_up
    with pytest.raises(NotFound):
        run(hosts_with_instances, "h-00000000000000000")


HOST = HostInstances(
    "h-1", "one", is_up=True, instances=[InstanceOnHost("i-1", "111111111111", "t3.micro", 2, 1 << 30)]
)


def measured(ask, *hosts):
    return list(asyncio.run(activity.measure(ask, list(hosts))).hosts)


def test_each_host_is_asked_and_its_answer_is_shown():
    asked = []

    async def ask(host_id, question):
        asked.append((host_id, question.WhichOneof("body")))
        return host_pb2.Answer(content=host_pb2.Activity(cpus=4, cpu_time=7).SerializeToString())

    first, second = measured(ask, HOST, HostInstances("h-2", "two", is_up=True, instances=[]))
    assert asked == [("h-1", "activity"), ("h-2", "activity")]
    assert (first.hostname, first.activity.cpu_time, first.error) == ("one", 7, "")
    [instance] = first.instances
    assert (instance.instance_id, instance.account_id, instance.vcpus, instance.memory) == (
        "i-1",
        "111111111111",
        2,
        1 << 30,
    )
    assert second.activity.cpus == 4


def test_a_host_without_an_answer_does_not_keep_the_others(monkeypatch):
    monkeypatch.setattr(activity, "_SECONDS", 0.01)

    async def ask(host_id, _question):
        if host_id == "h-away":
            raise HostUnavailable("The host is not connected.")
        if host_id == "h-slow":
            await asyncio.Event().wait()
        if host_id == "h-old":
            return host_pb2.Answer(error="this agent does not know the question")
        if host_id == "h-odd":
            return host_pb2.Answer(content=b"\xff")
        return host_pb2.Answer(content=host_pb2.Activity(cpus=4).SerializeToString())

    names = ("away", "slow", "old", "odd", "well")
    hosts = [HostInstances(f"h-{name}", name, is_up=True, instances=[]) for name in names]
    found = measured(ask, *hosts, HostInstances("h-down", "down", is_up=False, instances=[]))
    errors = [one.error for one in found]
    assert errors[0] == "The host is not connected."
    assert errors[1] == "it did not answer within 0.01 s"
    assert errors[2] == "this agent does not know the question"
    assert "rror" in errors[3]
    assert errors[4:] == ["", "it is not up"]
    assert found[4].activity.cpus == 4
