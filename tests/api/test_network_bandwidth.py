"""The bandwidth of an instance's type is sent to its host with each of its interfaces, through boto3."""

from stead_controller.db.tables import HostResource, Instance
from stead_controller.desired import desired_state
from stead_proto.v1 import desired_pb2 as desired


def limits(api, interface_id):
    """The baseline and burst in megabits per second that an interface's host is sent; None when none."""
    key = (api.world.host_id, int(desired.KIND_INTERFACE), interface_id)
    body = desired.Resource.FromString(api.run(lambda tx: tx.session.get_one(HostResource, key).body)).interface
    return (body.bandwidth.baseline_mbps, body.bandwidth.burst_mbps) if body.HasField("bandwidth") else None


def launched(api, name, **changes):
    params = {"ImageId": api.world.image_id, "InstanceType": name, "MinCount": 1, "MaxCount": 1} | changes
    return api.ec2.run_instances(**params)["Instances"][0]


def interface_of(instance):
    return instance["NetworkInterfaces"][0]["NetworkInterfaceId"]


def test_each_interface_has_that_of_the_instances_type(api):
    one = launched(api, "t3.nano")
    assert limits(api, interface_of(one)) == (32, 5000)
    assert limits(api, interface_of(launched(api, "m5.large"))) == (750, 10_000)
    spare = api.ec2.create_network_interface(SubnetId=one["SubnetId"])["NetworkInterface"]["NetworkInterfaceId"]
    api.run(lambda tx: setattr(tx.session.get_one(Instance, one["InstanceId"]), "state", "running"))
    api.ec2.attach_network_interface(NetworkInterfaceId=spare, InstanceId=one["InstanceId"], DeviceIndex=1)
    assert limits(api, spare) == (32, 5000)


def test_another_type_changes_it(api):
    instance = launched(api, "t3.nano")
    api.run(lambda tx: setattr(tx.session.get_one(Instance, instance["InstanceId"]), "state", "stopped"))
    api.ec2.modify_instance_attribute(InstanceId=instance["InstanceId"], InstanceType={"Value": "t3.medium"})
    assert limits(api, interface_of(instance)) == (256, 5000)


def test_an_interface_of_another_vpc_names_that_of_the_primary_one(api):
    instance = launched(api, "t3.small")
    api.run(lambda tx: setattr(tx.session.get_one(Instance, instance["InstanceId"]), "state", "running"))
    vpc_id = api.ec2.create_vpc(CidrBlock="10.77.0.0/16")["Vpc"]["VpcId"]
    zone = instance["Placement"]["AvailabilityZone"]
    subnet = api.ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.77.1.0/24", AvailabilityZone=zone)["Subnet"]
    made = api.ec2.create_network_interface(SubnetId=subnet["SubnetId"])["NetworkInterface"]["NetworkInterfaceId"]
    api.ec2.attach_network_interface(NetworkInterfaceId=made, InstanceId=instance["InstanceId"], DeviceIndex=1)
    key = (api.world.host_id, int(desired.KIND_INTERFACE), made)
    body = desired.Resource.FromString(api.run(lambda tx: tx.session.get_one(HostResource, key).body)).interface
    assert (body.vpc_id, body.bandwidth.vpc_id) == (vpc_id, instance["VpcId"])


def test_a_type_that_is_not_there_any_more_limits_nothing(api):
    instance = launched(api, "t3.small")

    def change(tx):
        tx.session.get_one(Instance, instance["InstanceId"]).instance_type = "gone.large"
        desired_state.refresh_instance(tx, instance["InstanceId"])

    api.run(change)
    assert limits(api, interface_of(instance)) is None
