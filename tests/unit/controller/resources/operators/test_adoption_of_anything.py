"""Whatever is made after a copy, in whichever order it is adopted: all rows are as they were, and no host is to do more."""

import random

import pytest

from stead_controller.db.tables import Volume
from stead_controller.desired import desired_state
from stead_controller.errors import SteadError
from stead_controller.resources.instances.stop_instances import stop_instances
from stead_controller.resources.network import (
    interface_addresses,
    network_interface_attachments,
    network_interface_life,
)
from stead_controller.resources.network.network_interface_life import CreateRequest
from stead_controller.resources.operators import unclaimed_resources
from stead_controller.resources.storage.block_devices import BlockDevice
from stead_proto.v1.desired_pb2 import KIND_INTERFACE, KIND_MACHINE, KIND_VOLUME
from tests.support import kept
from tests.support.rows import NOW
from tests.unit.controller.resources.operators import lost_changes as lost
from tests.unit.controller.resources.operators.test_adoption import UNKNOWN, require_same, stopping

_TYPES = ("gp2", "gp3", "standard")


class Maker:
    """Makes anything by chance, in one transaction."""

    def __init__(self, tx, world, chance):
        self.tx, self.world, self.chance = tx, world, chance
        self.made = []
        self.devices = {}
        self.reached = set()

    def launch(self):
        names = self.chance.sample(["/dev/sdb", "/dev/sdz", "/dev/sdy"], self.chance.randint(0, 2))
        disks = [
            BlockDevice(
                name,
                size=self.chance.randint(1, 9),
                volume_type=self.chance.choice(_TYPES),
                delete_on_termination=self.chance.random() < 0.5,
                encrypted=self.chance.random() < 0.3,
            )
            for name in names
        ]
        groups = () if self.chance.random() < 0.6 else (self.group(),)
        instance_id = lost.launch(
            self.tx,
            self.world,
            subnet_id=self.world.one.subnet_ids[0],
            group_ids=groups,
            block_devices=tuple(disks),
            instance_type=self.chance.choice(["stead.tiny", "t3.micro", "m5d.large", "c5.large"]),
            user_data=self.chance.choice([None, b"", b"#!/bin/sh\n"]),
            shutdown_behavior=self.chance.choice(["stop", "terminate"]),
            disable_api_termination=self.chance.random() < 0.3,
            monitoring=self.chance.random() < 0.3,
        )
        self.made.append(instance_id)
        self.devices[instance_id] = iter(["/dev/sdk", "/dev/sdi", "/dev/sdj", "/dev/sdh", "/dev/sdg"])

    def group(self):
        number = len(self.made)
        rule = {"protocol": "tcp", "from_port": number, "to_port": 99, "cidr_ipv4": "10.0.0.0/8"}
        return lost.group(self.tx, self.world, rule, id=f"sg-{number:017x}", name=f"g{number}")

    def attach_volume(self):
        instance_id = self.chance.choice(self.made)
        volume_id = lost.create_volume(self.tx, self.world, volume_type=self.chance.choice(_TYPES), size=2)
        lost.attach(self.tx, self.world, volume_id, instance_id, next(self.devices[instance_id]))

    def leave_volume(self):
        volume = self.tx.session.get_one(Volume, lost.create_volume(self.tx, self.world))
        volume.host_id = self.world.host_id
        desired_state.refresh_volume(self.tx, volume)

    def attach_interface(self):
        request = CreateRequest(self.world.one.subnet_ids[0], description=f"{len(self.made)}")
        eni = network_interface_life.create(self.tx, self.world.one.caller, request, NOW)
        instance_id = self.chance.choice(self.made)
        network_interface_attachments.attach(self.tx, self.world.one.caller, eni, instance_id, 1, NOW)
        lost.settle(self.tx, instance_id)

    def give_address(self):
        """Give one an Elastic IP address, unless it has one: an address that nobody has is known to no host."""
        instance_id = self.chance.choice([one for one in self.made if one not in self.reached])
        self.reached.add(instance_id)
        lost.associate(self.tx, self.world, lost.allocate(self.tx, self.world).id, instance_id)

    def give_private_address(self):
        eni = lost.eni_of(self.tx, self.chance.choice(self.made))
        interface_addresses.assign_private(
            self.tx, self.world.one.caller, eni, [], self.chance.randint(1, 2), allow_reassignment=False
        )

    def stop(self):
        """Stop one; nothing else happens to it then."""
        instance_id = self.made.pop(self.chance.randrange(len(self.made)))
        stop_instances(self.tx, self.world.one.caller, [instance_id], NOW)

    def anything(self):
        self.launch()
        for _ in range(self.chance.randint(3, 12)):
            acts = [self.attach_volume, self.leave_volume, self.attach_interface, self.give_address]
            acts += [self.give_private_address, self.launch]
            if len(self.made) > 1:
                acts.append(self.stop)
            act = self.chance.choice(acts)
            try:
                with self.tx.savepoint():
                    act()
            except (
                SteadError,
                IndexError,
                StopIteration,
            ):  # such as a second interface of an instance, or a protected one
                continue


@pytest.mark.parametrize("seed", range(12))
def test_all_is_as_it_was(database, run, world, life, seed):
    chance = random.Random(seed)
    before = kept.lose(database, world.cloud, [world.host_id], lambda tx: Maker(tx, world, chance).anything())
    kept.report(database, before)
    found = [each for each in run(unclaimed_resources.list_all) if each.kind in {KIND_MACHINE, KIND_VOLUME}]
    alone = [each.id for each in found if not each.part_of]
    chance.shuffle(alone)
    for resource_id in alone:
        run(lost.adopt, world, resource_id)
    require_same(database, before, **UNKNOWN[stopping])
    left = run(unclaimed_resources.list_all)
    assert {each.kind for each in left} & {KIND_MACHINE, KIND_VOLUME, KIND_INTERFACE} == set()
    now = life.wanted()[0]
    for key, had in before.hosts[world.host_id].resources.items():
        if key.kind == KIND_VOLUME and key in before.hosts[world.host_id].unclaimed:
            assert now[key.id].volume.size == had.volume.size
