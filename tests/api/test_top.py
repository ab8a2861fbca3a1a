"""`stead top` asks hosts that run, through the controller; one that is away does not keep the others."""

import json
import subprocess

import pytest

from tests.support.clients import FAST
from tests.support.processes import BIN, clean_environment
from tests.support.waiting import wait_for

pytestmark = pytest.mark.story


def test_hosts_and_instances_are_shown_and_a_lost_host_is_named(own_cloud):
    cloud = own_cloud(hosts=1, options=("--heartbeat-seconds=1", "--host-timeout-seconds=3"))
    ec2 = cloud.first_account.ec2
    request = {"ImageId": cloud.add_image(), "InstanceType": "t3.micro", "MinCount": 2, "MaxCount": 2}
    ids = [one["InstanceId"] for one in ec2.run_instances(**request)["Instances"]]
    ec2.get_waiter("instance_running").wait(InstanceIds=ids, WaiterConfig=FAST)

    def top(*arguments):
        ports = {"STEAD_HOST_PORT": str(cloud.settings.host_port), "STEAD_STATE_DIR": str(cloud.folder)}
        command = [BIN / "stead", "top", "--seconds", "0.5", "--output", "json", *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, env=clean_environment(**ports), check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    host, *guests = top()
    assert (host["kind"], host["error"], host["cpus"] > 0, host["memory_used"] > 0) == ("host", "", True, True)
    assert host["cpu_percent"] is not None
    assert sorted(one["name"] for one in guests) == sorted(ids)
    for guest in guests:
        assert (guest["instance_type"], guest["cpus"], guest["memory"]) == ("t3.micro", 2, 1 << 30)
        assert guest["account_id"] == cloud.first_account.account_id
        assert guest["cpu_percent"] == 0
        assert guest["host_id"] == host["host_id"]
    ec2.terminate_instances(InstanceIds=ids[:1])
    ec2.get_waiter("instance_terminated").wait(InstanceIds=ids[:1], WaiterConfig=FAST)
    assert [one["name"] for one in top("--host", host["host_id"])] == [host["name"], ids[1]]

    cloud.simulators[0].kill()
    wait_for(lambda: cloud.operator.list_hosts()[0].state == "down", "the host is down", 30)
    [silent] = top()
    assert (silent["error"], silent["cpu_percent"]) == ("it is not up", None)
