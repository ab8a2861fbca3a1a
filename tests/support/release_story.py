"""`stead upgrade` on one machine that was installed from a release, without Ansible, under a guest that somebody pings.

By hand: `python -m tests.support.release_story` prints how long the API was away each time.
"""

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Final

from stead_cli.settings import Settings
from tests.support.rack import GATEWAY, POOL, Server, copy_to, rack
from tests.support.rack_story import Guest, Operator, enter_box, launch
from tests.support.releases import NEXT_REVISION, another_release, make_release
from tests.support.watchers import api_asked, pinged

CLIENTS: Final = ("release", "ssh-server")
# docs/operate/backup-and-upgrade.md
_INSTALLED: Final = """\
set -e
mkdir /opt/stead && cd /opt/stead && tar -xf "/root/{name}.tar"
cd "{name}" && /usr/bin/python3 -m venv .venv
.venv/bin/pip install --quiet --no-index --find-links . --find-links wheels --require-hashes -r requirements.txt
cp requirements.txt .venv/stead-stamp
ln -s "/opt/stead/{name}" /opt/stead/current
ln -s /opt/stead/current/.venv/bin/stead /usr/local/bin/stead
"""
_UPLINK: Final = "STEAD_UPLINK=auto"  # whoever runs this may have none
_ASKS: Final = "/opt/stead/current/.venv/bin/stead-controller database revision --state-dir=/var/lib/stead/controller"


def live(folder: Path) -> dict[str, float]:
    """Upgrade, go back, and try what does not start; return for how long the API was away each time, in seconds."""
    made = make_release(folder)
    with rack(folder, 1) as found:
        operator, [server] = Operator(found, made), found.servers
        for release in (made, another_release(made), another_release(made, works=False)):
            copy_to(found, server, release)
        server.machine.must("sh", "-c", _INSTALLED.format(name=made.stem), timeout=300)
        settings = (f"STEAD_LISTEN={server.address}", f"STEAD_PUBLIC_POOL={POOL}", _UPLINK)
        server.machine.must("env", *settings, "stead", "up", timeout=300)
        guest = launch(operator)
        ec2 = operator.account().client("ec2")
        ec2.authorize_security_group_ingress(
            GroupName="default", IpProtocol="icmp", FromPort=-1, ToPort=-1, CidrIp=f"{GATEWAY}/32"
        )
        return _live(operator, server, guest, made.stem)


def _live(operator: Operator, server: Server, guest: Guest, first: str) -> dict[str, float]:
    boot, ran = guest.boot(), _units(server)
    watched = replace(Settings(), state_dir=operator.rack.folder, listen=server.address)
    away: dict[str, float] = {}

    def upgrade(what: str, *words: str, status: int = 0) -> str:
        with pinged(guest.address) as ping, api_asked(watched) as api:
            done = server.machine.run("env", "STEAD_UPLINK=none", "stead", "upgrade", *words, timeout=300)
        print(done.stderr, file=sys.stderr)
        assert done.returncode == status, done.stderr
        assert ping.answers == ping.asked > 10, ping
        away[what] = api.longest
        return done.stderr

    before = _revision(server)
    upgrade("upgrade", f"/root/{first}-next.tar")
    assert (_used(server), _revision(server)) == (f"{first}-next", NEXT_REVISION)
    later = [unit.replace(f"/opt/stead/{first}/", f"/opt/stead/{first}-next/") for unit in ran]
    assert _units(server) == later != ran, "an upgrade changes no setting, whatever the environment says"
    volume = operator.account().client("ec2").create_volume(AvailabilityZone="us-east-1a", Size=1)["VolumeId"]

    upgrade("back", "--back")
    assert (_used(server), _revision(server), _units(server)) == (first, before, ran)
    assert "nothing says what ran here before" in server.machine.run("stead", "upgrade", "--back").stderr

    said = upgrade("broken", f"/root/{first}-broken.tar", status=1)
    assert "it is broken" in said
    assert f"{first}-broken does not run here, and {first} runs again" in said
    assert (_used(server), _revision(server), _units(server)) == (first, before, ran)

    assert guest.boot() == boot
    assert operator.account().client("ec2").describe_volumes(VolumeIds=[volume])["Volumes"][0]["State"] == "available"
    return away


def _used(server: Server) -> str:
    return Path(server.machine.must("readlink", "/opt/stead/current").strip()).name


def _revision(server: Server) -> str:
    return server.machine.must(*_ASKS.split()).strip()


def _units(server: Server) -> list[str]:
    """What the units of Stead run."""
    shows = ("systemctl", "show", "--property=ExecStart", "--value", "stead-controller", "stead-agent")
    return [line.partition("argv[]=")[2].partition(" ;")[0] for line in server.machine.must(*shows).split("\n") if line]


def main() -> None:
    """Fetch what is needed, enter a box, and tell it."""
    enter_box(CLIENTS)
    with tempfile.TemporaryDirectory(prefix="stead-release-") as temporary:
        json.dump({name: round(seconds, 2) for name, seconds in live(Path(temporary)).items()}, sys.stdout)
        print()


if __name__ == "__main__":
    main()
