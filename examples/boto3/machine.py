"""A machine with a disk and a snapshot of it, by boto3: made, looked at, removed. Run it in a shell of `stead env`."""

import json

import boto3

ec2 = boto3.resource("ec2")  # the endpoint, keys, region and CA are those of the shell
client = ec2.meta.client

image = max(ec2.images.filter(Owners=["amazon"]), key=lambda found: found.creation_date)
[machine] = ec2.create_instances(
    ImageId=image.id,
    InstanceType="t3.nano",
    MinCount=1,
    MaxCount=1,
    TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "boto3"}]}],
)
try:
    machine.wait_until_running()
    machine.reload()
    volume = ec2.create_volume(AvailabilityZone=machine.placement["AvailabilityZone"], Size=1)
    client.get_waiter("volume_available").wait(VolumeIds=[volume.id])
    volume.attach_to_instance(InstanceId=machine.id, Device="/dev/sdf")
    client.get_waiter("volume_in_use").wait(VolumeIds=[volume.id])
    snapshot = volume.create_snapshot(Description="of a running machine")
    snapshot.wait_until_completed()
    listed = [found.id for found in ec2.instances.filter(Filters=[{"Name": "tag:Name", "Values": ["boto3"]}])]
    print(json.dumps({"machine": machine.id, "listed": listed, "volume": volume.id, "snapshot": snapshot.id}))
    snapshot.delete()
    volume.detach_from_instance(InstanceId=machine.id)
    client.get_waiter("volume_available").wait(VolumeIds=[volume.id])
    volume.delete()
finally:
    machine.terminate()
    machine.wait_until_terminated()
