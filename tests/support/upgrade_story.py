"""`stead upgrade` on one machine, from one commit to the next and back, under a guest that somebody pings.

By hand: `python -m tests.support.box python -m tests.support.upgrade_story` prints how long the API was away; with
`postgresql` behind it, of a cloud whose database is on such a server.
"""

import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from stead_cli import processes
from tests.support import copied_checkout
from tests.support.copied_checkout import commit, git
from tests.support.postgresql import PostgresqlServer
from tests.support.real_cloud import RealCloud, User, qemu_process_of
from tests.support.releases import migration
from tests.support.watchers import api_asked, pinged


def live(folder: Path, *, on_server: bool = False) -> dict[str, float]:
    """Upgrade, go back, and try what does not work; return for how long the API was away each time, in seconds.

    The database is a file, or `on_server` of PostgreSQL.
    """
    place = copied_checkout.make(folder / "a checkout")
    first = git(place, "rev-parse", "HEAD")
    following = _commit_with_a_migration(place, "following")
    _commit_with_a_migration(place, "broken", works=False)
    with ExitStack() as ends:
        cloud = RealCloud(launcher=place / "stead", database=PostgresqlServer.empty_database(ends) if on_server else "")
        ends.callback(cloud.purge)
        cloud.up()
        return _live(cloud, place, User(cloud, cloud.account, folder), first, following)


def _commit_with_a_migration(place: Path, branch: str, *, works: bool = True) -> str:
    """Commit a release with another database to a branch; one that does not work ends once it has changed it."""
    versions = place / "controller/stead_controller/db/migrations/versions"
    newest = copied_checkout.run(place, "stead-controller", "database", "newest")
    git(place, "checkout", "--quiet", "-b", branch)
    (versions / f"{branch}.py").write_text(migration(branch, newest))
    if not works:
        main = place / "controller/stead_controller/__main__.py"
        serves = "asyncio.run(_serve(Controller, settings, say))"
        assert serves in main.read_text()
        main.write_text(main.read_text().replace(serves, 'raise click.ClickException("it is broken")'))
    made = commit(place, branch)
    git(place, "checkout", "--quiet", "main")
    return made


def _live(cloud: RealCloud, place: Path, user: User, first: str, following: str) -> dict[str, float]:
    [instance_id] = user.run()
    address = user.login(instance_id).address
    [group] = user.describe(instance_id)["SecurityGroups"]
    user.ec2.authorize_security_group_ingress(
        GroupId=group["GroupId"], IpProtocol="icmp", FromPort=-1, ToPort=-1, CidrIp="0.0.0.0/0"
    )
    process = qemu_process_of(instance_id)
    controller = processes.find(cloud.controller)

    with pinged(address) as ping, api_asked(cloud.settings) as api:
        cloud.stead_well("upgrade", "following")
    assert (git(place, "rev-parse", "HEAD"), git(place, "branch", "--show-current")) == (following, "following")
    assert processes.find(cloud.controller) not in (None, controller)
    assert _revision(place, cloud) == "following"
    assert ping.answers == ping.asked > 10
    away = {"upgrade": api.longest}
    volume_id = user.ec2.create_volume(AvailabilityZone="us-east-1a", Size=1)["VolumeId"]

    with pinged(address) as ping, api_asked(cloud.settings) as api:
        cloud.stead_well("upgrade", "--back")
    away["back"] = api.longest
    assert ping.answers == ping.asked > 10
    assert git(place, "rev-parse", "HEAD") == first
    assert git(place, "branch", "--show-current") == "main"
    assert _revision(place, cloud) not in ("following", "")
    assert "nothing says what ran here before" in cloud.stead("upgrade", "--back").stderr

    with pinged(address) as ping, api_asked(cloud.settings) as api:
        failed = cloud.stead("upgrade", "broken")
    away["broken"] = api.longest
    assert failed.returncode == 1
    assert "it is broken" in failed.stderr
    assert f"{first[:12]} runs again" in failed.stderr
    assert ping.answers == ping.asked > 10
    assert git(place, "branch", "--show-current") == "main"
    assert _revision(place, cloud) not in ("broken", "")

    assert qemu_process_of(instance_id) == process
    assert user.state(instance_id) == "running"
    [volume] = user.ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"]
    assert volume["State"] == "available"
    return away


def _revision(place: Path, cloud: RealCloud) -> str:
    words = [
        f"--state-dir={cloud.settings.controller_dir}",
        *([f"--database-url={cloud.database}"] if cloud.database else []),
    ]
    return copied_checkout.run(place, "stead-controller", "database", "revision", *words)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="stead-upgrade-") as temporary:
        away = live(Path(temporary), on_server=sys.argv[1:] == ["postgresql"])
        json.dump({name: round(seconds, 2) for name, seconds in away.items()}, sys.stdout)
        print()
