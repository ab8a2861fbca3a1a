"""What a host offers, and that it is never oversold whatever becomes of it."""

import random
from dataclasses import replace

import pytest
from sqlalchemy import select

from stead_controller.db.tables import Host
from stead_controller.errors import NoCapacity
from stead_controller.hosts.facts import take_facts
from stead_controller.placement.need import Need
from stead_controller.resources.host_capacity import capacity, offer
from stead_controller.resources.operators import host_settings
from stead_controller.resources.operators.host_settings import HostChange
from stead_proto.v1 import host_pb2 as pb
from tests.support.rows import CLOUD, GIB, NOW

EXACT = replace(CLOUD, cpu_overcommit=2.0, memory_kept=GIB)
STEPS = 60


@pytest.mark.parametrize(
    ("changes", "cpus", "memory"),
    [
        ({}, 16, 63 * GIB),
        ({"memory": 4 * GIB}, 16, 3 * GIB),
        ({"memory": 2 * GIB}, 16, GIB + GIB // 2),  # a quarter is less than the cloud's reserve
        ({"overcommit_cpus": 1.5}, 12, 63 * GIB),
        ({"overcommit_memory": 1.5}, 16, 95 * GIB),
        ({"reserve_memory": 8 * GIB}, 16, 56 * GIB),
        ({"reserve_memory": 65 * GIB}, 16, -GIB),
        ({"accelerated": False}, 16, 62 * GIB),  # less 64 MiB for each vCPU
        ({"accelerated": False, "overcommit_cpus": 4.0}, 32, 61 * GIB),
        ({"accelerated": False, "memory": 4 * GIB}, 16, 3 * GIB - 3 * GIB // 4),
        ({"accelerated": False, "reserve_memory": 65 * GIB}, 16, -GIB),
    ],
    ids=str,
)
def test_what_a_host_offers(changes, cpus, memory):
    host = Host(**{"cpus": 8, "memory": 64 * GIB, "accelerated": True} | changes)
    offer.renew(host, EXACT)
    assert (host.cpus_offered, host.memory_offered) == (cpus, memory)


@pytest.mark.parametrize("seed", range(12))
def test_no_host_is_oversold_whatever_it_becomes(database, world, seed):
    """Launches, ends, shrinks, growths and other terms in any order: what is free is what is offered less what is taken.

    An instance is placed just where there is room for it, and never where it would have more vCPUs than the host threads.
    """
    dice = random.Random(seed)
    taken: list[Need] = []

    def state(tx):
        columns = (Host.cpus, Host.cpus_offered, Host.memory_offered, Host.cpus_free, Host.memory_free)
        return tx.session.execute(select(*columns).where(Host.id == world.host_id)).one()

    def launch(tx):
        need = Need(dice.randint(1, 4), dice.randint(1, 4) * GIB)
        before = state(tx)
        fits = need.vcpus <= min(before.cpus, before.cpus_free) and need.memory <= before.memory_free
        try:
            capacity.reserve_any(tx, EXACT, need, "us-east-1a")
        except NoCapacity:
            assert not fits
        else:
            assert fits
            taken.append(need)

    def end(tx):
        if taken:
            capacity.release(tx, world.host_id, taken.pop(dice.randrange(len(taken))))

    def become(tx):
        facts = pb.HostFacts(cpus=dice.randint(1, 8), memory=dice.randint(1, 16) * GIB, architecture="x86_64")
        take_facts(tx, [(world.host_id, pb.Hello(facts=facts))], EXACT, NOW)

    def set_terms(tx):
        terms = HostChange(
            overcommit_cpus=dice.choice([0, 0.5, 1, 4]),
            overcommit_memory=dice.choice([0, 0.5, 1, 2]),
            reserve_memory=dice.choice([0, 1, GIB // 2]),
        )
        host_settings.change(tx, EXACT, tx.session.get_one(Host, world.host_id), terms)

    def live(tx):
        for _ in range(STEPS):
            dice.choice([launch, launch, launch, end, become, set_terms])(tx)
            tx.session.flush()
            now = state(tx)
            assert now.cpus_free == now.cpus_offered - sum(need.vcpus for need in taken)
            assert now.memory_free == now.memory_offered - sum(need.memory for need in taken)

    database.run_blocking(live)
