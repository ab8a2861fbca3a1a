"""A machine with a disk by Apache Libcloud: made, looked at, removed. Run it in a shell of `stead env`."""

import json
import os
import time
from urllib.parse import urlsplit

import libcloud.security
from libcloud.compute.base import StorageVolume
from libcloud.compute.drivers.ec2 import EC2NodeDriver
from libcloud.compute.types import StorageVolumeState

# Libcloud knows nothing of AWS_ENDPOINT_URL and AWS_CA_BUNDLE.
where = urlsplit(os.environ["AWS_ENDPOINT_URL"])
libcloud.security.CA_CERTS_PATH = os.environ.get("AWS_CA_BUNDLE")
driver = EC2NodeDriver(
    os.environ["AWS_ACCESS_KEY_ID"],
    os.environ["AWS_SECRET_ACCESS_KEY"],
    region=os.environ["AWS_DEFAULT_REGION"],
    secure=where.scheme == "https",
    host=where.hostname,
    port=where.port,
    signature_version="4",
)


def wait_for(volume: StorageVolume, state: str) -> None:
    """Wait until a volume has a state."""
    while next(found for found in driver.list_volumes() if found.id == volume.id).state != state:
        time.sleep(0.5)


image = driver.list_images(ex_owner="amazon")[-1]
size = next(size for size in driver.list_sizes() if size.id == "t3.nano")
machine = driver.create_node(name="libcloud", image=image, size=size)
try:
    [(machine, _)] = driver.wait_until_running([machine], wait_period=1)
    zone = next(zone for zone in driver.list_locations() if zone.name == machine.extra["availability"])
    volume = driver.create_volume(1, "libcloud", location=zone)
    wait_for(volume, StorageVolumeState.AVAILABLE)
    driver.attach_volume(machine, volume, "/dev/sdf")
    wait_for(volume, StorageVolumeState.INUSE)
    listed = [found.id for found in driver.list_nodes(ex_filters={"tag:Name": "libcloud"})]
    print(json.dumps({"machine": machine.id, "listed": listed, "volume": volume.id, "addresses": machine.public_ips}))
    driver.detach_volume(volume)
    wait_for(volume, StorageVolumeState.AVAILABLE)
    driver.destroy_volume(volume)
finally:
    driver.destroy_node(machine)
