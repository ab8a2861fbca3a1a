"""`stead top` shows what a real guest does, and its host."""

import json

from tests.support.real_cloud import RealCloud, User
from tests.support.waiting import wait_for


def test_a_guest_that_computes_and_writes_is_seen(user: User, real_cloud: RealCloud) -> None:
    [instance_id] = user.run()
    guest = user.login(instance_id)
    guest.run(
        "(while :; do :; done) >/dev/null 2>&1 & (while :; do dd if=/dev/zero of=/var/tmp/x bs=64k count=16; sync; done) >/dev/null 2>&1 &"
    )

    def seen() -> bool:
        found = json.loads(real_cloud.stead_well("top", "--output", "json", "--seconds", "3"))
        [shown] = [one for one in found if one["name"] == instance_id]
        [host] = [one for one in found if one["kind"] == "host"]
        assert host["error"] == ""
        assert host["memory"] > host["memory_used"] > shown["memory_used"] > 16 << 20
        assert (shown["account_id"], shown["cpus"]) == (user.account.account_id, 1)
        return bool(shown["cpu_percent"] and shown["cpu_percent"] > 20 and shown["written"] and host["cpu_percent"] > 5)

    wait_for(seen, "its work is seen", 60)
    lines = real_cloud.stead_well("top", "--once", "--seconds", "1").splitlines()
    assert [line for line in lines if line.startswith(f"  {instance_id}\t") and " %\t" in line]
