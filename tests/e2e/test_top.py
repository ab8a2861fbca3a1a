"""`stead top` shows what a real guest does, and its host."""

import json

from stead_proto import alone
from tests.support.memory import memory_of
from tests.support.real_cloud import RealCloud, User
from tests.support.waiting import wait_for

# It goes on until it has been seen: a processor that a guest burns is none for the tests beside this one.
WORKS = (
    "touch /tmp/works; (while [ -e /tmp/works ]; do dd if=/dev/zero of=/var/tmp/x bs=64k count=16; sync; done;"
    " rm /var/tmp/x) >/dev/null 2>&1 &"
)


def test_a_guest_that_computes_and_writes_is_seen(guest_owner: User, guest: str, real_cloud: RealCloud) -> None:
    def seen() -> bool:
        found = json.loads(real_cloud.stead_well("top", "--output", "json", "--seconds", "1"))
        [shown] = [one for one in found if one["name"] == guest]
        [host] = [one for one in found if one["kind"] == "host"]
        assert host["error"] == ""
        assert host["memory"] > host["memory_used"] > shown["memory_used"] > 16 << 20
        assert (shown["account_id"], shown["cpus"]) == (guest_owner.account.account_id, 1)
        return bool(shown["cpu_percent"] and shown["cpu_percent"] > 20 and shown["written"] and host["cpu_percent"] > 5)

    login = guest_owner.connect(guest)
    login.run(WORKS)
    try:
        wait_for(seen, "its work is seen", 60)
    finally:
        login.run("rm /tmp/works")
    lines = real_cloud.stead_well("top", "--once", "--seconds", "0.5").splitlines()
    assert [line for line in lines if line.startswith(f"  {guest}\t") and " %\t" in line]


def test_an_agent_has_no_memory_of_files_that_its_start_needed(real_cloud: RealCloud) -> None:
    agent = wait_for(lambda: alone.holder(real_cloud.settings.agent_dir / alone.FILE_NAME), "the agent runs", 20)

    def is_little() -> bool:
        found = memory_of(agent)
        return found["Rss"] - found["Anonymous"] < 24  # 40 at its start

    wait_for(is_little, "it is given back", 90, poll=1)
