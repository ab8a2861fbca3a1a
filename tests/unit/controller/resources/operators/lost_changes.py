"""Changes that a test lets a database lose: launches and what follows them, in one transaction."""

from datetime import timedelta

from sqlalchemy import select

from stead_controller.db.tables import Instance, NetworkInterface, SecurityGroup, Volume
from stead_controller.hosts.reports import apply_progress
from stead_controller.resources.instances import volume_attachments
from stead_controller.resources.instances.launch_request import LaunchRequest
from stead_controller.resources.instances.run_instances import run_instances
from stead_controller.resources.network import elastic_address_associations, elastic_addresses, notify_hosts
from stead_controller.resources.network.elastic_address_associations import Target
from stead_controller.resources.operators import adoption
from stead_controller.resources.storage import volume_life
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb
from tests.support import rows
from tests.support.rows import NOW

LATER = NOW + timedelta(days=1)
FAR = 1 << 60
"""A revision that reports are about: the latest one, whichever that is."""


def launch(tx, world, **asked):
    """Launch an instance that runs, and return its id."""
    only = {"image_id": world.image_id, "instance_type": "stead.tiny", "min_count": 1, "max_count": 1}
    reservation_id = run_instances(tx, world.one.caller, world.cloud, LaunchRequest(**only | asked), NOW)
    instance_id = tx.session.scalar(select(Instance.id).where(Instance.reservation_id == reservation_id))
    settle(tx, instance_id)
    return instance_id


def settle(tx, instance_id, power=pb.MACHINE_POWER_RUNNING):
    """Let the host report that an instance is as desired."""
    instance = tx.session.get_one(Instance, instance_id)
    volumes = tx.session.scalars(select(Volume).where(Volume.instance_id == instance_id)).all()
    machine = pb.MachineStatus(power=power, start_count=instance.start_count, volume_ids=[one.id for one in volumes])
    ready = {"condition": pb.CONDITION_READY, "revision": FAR}
    statuses = [pb.ResourceStatus(kind=desired.KIND_MACHINE, id=instance_id, machine=machine, **ready)]
    statuses += [pb.ResourceStatus(kind=desired.KIND_VOLUME, id=one.id, **ready) for one in volumes]
    apply_progress(tx, [(instance.host_id, statuses)], NOW)


def create_volume(tx, world, **asked):
    """Make a volume of the first tenant, and return its id."""
    request = volume_life.CreateRequest(
        volume_life.Repeatable("CreateVolume", "", ""), **{"zone": "us-east-1a", "size": 1} | asked
    )
    return volume_life.create(tx, world.one.caller, world.cloud, request, NOW)


def attach(tx, world, volume_id, instance_id, device):
    volume_attachments.attach(tx, world.one.caller, world.cloud, volume_id, instance_id, device, NOW)
    settle(tx, instance_id)


def eni_of(tx, instance_id):
    """Return the id of an instance's primary interface."""
    mine = (NetworkInterface.instance_id == instance_id, NetworkInterface.device_index == 0)
    return tx.session.scalar(select(NetworkInterface.id).where(*mine))


def allocate(tx, world):
    return elastic_addresses.allocate(tx, world.one.caller, world.cloud, None, {}, NOW)


def associate(tx, world, allocation_id, instance_id):
    """Associate an Elastic IP address with an instance."""
    elastic = elastic_addresses.find(tx, world.one.caller, allocation_id, None)
    target = Target(interface_id=eni_of(tx, instance_id))
    elastic_address_associations.associate(tx, world.one.caller, elastic, target, NOW, allow_reassociation=True)


def group(tx, world, *rules, **columns):
    """Make a security group with rules in the first tenant's VPC, and return its id."""
    values = {"account_id": world.one.caller.account_id, "vpc_id": world.one.vpc_id, "name": "web", "created": NOW}
    made = SecurityGroup(**{"id": "sg-0123456789abcdef0", "description": "of a test"} | values | columns)
    tx.session.add(made)
    tx.session.flush()
    tx.session.add_all([rows.rule(made, **each) for each in rules])
    notify_hosts.security_group(tx, made.id, made.vpc_id)
    return made.id


def adopt(tx, world, resource_id, account_id=""):
    """Adopt something a day later."""
    return adoption.adopt(tx, world.cloud, resource_id, account_id, LATER)


def without_rows(*kinds):
    """Return a change of what hosts keep: of these kinds a controller of before told them no rows."""

    def call(before):
        for wanted in before.hosts.values():
            for key in wanted.unclaimed:
                if key.kind in kinds:
                    each = wanted.resources[key]
                    getattr(each, each.WhichOneof("body")).ClearField("rows")

    return call
