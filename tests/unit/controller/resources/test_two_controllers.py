"""Two processes on one SQLite file, each with four clients: no address and no room of a host is given twice (FAULTS 8)."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import func, select

from stead_controller.db.session import Database
from stead_controller.db.tables import Host, Instance, Subnet
from stead_controller.errors import NoCapacity
from stead_controller.request.cloud import cloud_of
from stead_controller.resources.operators import cloud_facts
from stead_controller.settings import Settings
from tests.support import rows
from tests.support.life import Life
from tests.unit.controller.resources.test_address_races import ACTIONS, Tenant, check

ROOT = Path(__file__).parents[4]
CLIENTS = 4
ROUNDS = 5  # that both begin together: a process that releases the file's lock is mostly the next to have it
STEPS = 5
INSTANCES = 20  # that have room on the host; twice as many are asked for
CHILD = "import sys; from tests.unit.controller.resources.test_two_controllers import main; main(*sys.argv[1:])"


class Client(Tenant):
    """One that launches instances, too."""

    def __init__(self, life, subnet_id, seed):
        super().__init__(life.run, life.caller, subnet_id, seed)
        self.life = life
        self.launched: list[str] = []
        self.refused = 0

    def launch(self):
        try:
            self.launched += self.life.launch()
        except NoCapacity:
            self.refused += 1


def main(path, host_id, image_id, seed):
    """Be one of the processes: do a round for each line that is read, and say in the end what was given."""
    database = Database(f"sqlite:///{path}")
    tenant = database.run_blocking(_tenant)
    life = Life(database, rows.World(tenant, tenant, host_id, image_id))
    clients = [Client(life, tenant.subnet_ids[0], int(seed) + number) for number in range(CLIENTS)]

    def live(client):
        client.launch()
        for _ in range(STEPS):
            client.step(client.random.choice(ACTIONS))

    with ThreadPoolExecutor(CLIENTS) as pool:
        for _ in range(ROUNDS):
            print("ready", flush=True)
            sys.stdin.readline()
            list(pool.map(live, clients))
    database.close()
    results = {
        "given": [address for client in clients for address in client.given],
        "launched": [instance_id for client in clients for instance_id in client.launched],
        "refused": sum(client.refused for client in clients),
    }
    print(json.dumps(results))


def _tenant(tx):
    caller = rows.caller("111111111111")
    subnets = tx.session.scalars(select(Subnet).where(Subnet.account_id == caller.account_id).order_by(Subnet.zone))
    found = list(subnets)
    return rows.Tenant(caller, found[0].vpc_id, [subnet.id for subnet in found], "")


@pytest.fixture
def host(database, world):
    """The only host, with room for some of the instances."""

    def shrink(tx):
        cloud_facts.write(tx, cloud_of(Settings(state_dir=Path("/nowhere"))))
        host = tx.session.get_one(Host, world.host_id)
        host.cpus = host.cpus_offered = INSTANCES

    database.run_blocking(shrink)
    return world.host_id


@pytest.mark.story
def test_nothing_is_given_twice(database, world, run, host):
    command = [sys.executable, "-c", CHILD, database.engine.url.database, host, world.image_id]
    children = [
        subprocess.Popen(
            [*command, str(seed)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for seed in (100, 200)
    ]
    for _ in range(ROUNDS):
        for child in children:
            assert child.stdout.readline() == b"ready\n", child.communicate()
        for child in children:
            child.stdin.write(b"\n")
            child.stdin.flush()
    results = []
    for child in children:
        out, err = child.communicate(timeout=300)
        assert child.returncode == 0, err.decode()
        results.append(json.loads(out))
    run(check)
    given = [address for each in results for address in each["given"]]
    assert len(given) == len(set(given))
    launched = [instance_id for each in results for instance_id in each["launched"]]
    assert given
    assert all(each["launched"] for each in results)
    row = run(lambda tx: tx.session.get_one(Host, host))
    needed = run(lambda tx: tx.session.scalar(select(func.sum(Instance.vcpus))))
    assert set(run(lambda tx: tx.session.scalars(select(Instance.id)).all())) == set(launched)
    assert (row.cpus_reserved, row.cpus_free) == (needed, INSTANCES - needed)
    assert row.cpus_free == 0
    assert sum(each["refused"] for each in results) == 2 * CLIENTS * ROUNDS - len(launched)
