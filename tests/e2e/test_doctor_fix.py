"""`stead doctor --fix` on a real host: an agent that was killed, and a namespace that nobody wants."""

import json
import os
import signal
import subprocess
from pathlib import Path

from stead_cli import processes
from tests.support import box
from tests.support.real_cloud import RealCloud
from tests.support.waiting import wait_for

VPC = "vpc-0123456789abcdef0"


def test_orphans_go_and_what_does_not_run_is_started(tmp_path: Path) -> None:
    box.run_in_another(_story, tmp_path)


def _story(_folder: Path) -> None:
    cloud = RealCloud()
    try:
        cloud.up()
        assert [line for line in _fix(cloud) if not line.startswith("nothing was to be repaired")] == []
        agent = processes.find(cloud.agent)
        assert agent is not None
        os.kill(agent, signal.SIGKILL)
        wait_for(lambda: processes.find(cloud.agent) is None, "the agent has ended")
        subprocess.run(["ip", "netns", "add", VPC], check=True)
        lines = _fix(cloud)
        assert "did not run, and was started" in lines
        assert _namespaces() == [], "whoever was first, the agent at its start or the repair"
        subprocess.run(["ip", "netns", "add", VPC], check=True)
        assert f"removed vpc {VPC}" in _fix(cloud)
        assert _namespaces() == []
    finally:
        cloud.purge()


def _fix(cloud: RealCloud) -> list[str]:
    """Fix it, and give what was said of it."""
    done = cloud.stead("doctor", "--fix", "--output", "json")
    checks = json.loads(done.stdout)
    return [line for one in checks if one["name"].startswith("fix") for line in one["detail"].splitlines()]


def _namespaces() -> list[str]:
    return [name.name for name in Path("/run/netns").iterdir() if name.name == VPC]
