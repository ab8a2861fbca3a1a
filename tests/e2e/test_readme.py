"""The commands of the README and of the guides that go on with its tour, as a newcomer types them.

The machine has no cloud, but has built the micro image before: test_up_down.py is about one that has not.
"""

import itertools
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.support import aws_program, box, leaks
from tests.support.processes import BIN
from tests.support.real_cloud import RealCloud

ROOT: Final = Path(__file__).parents[2]
# In the order in which a reader may type them: each goes on with the instance of the first. "" is a whole page.
SECTIONS: Final = (
    ("README.md", "A first tour"),
    ("docs/use/first-vm.md", "Look"),
    ("docs/use/disks.md", ""),
    ("docs/use/users-and-buckets.md", ""),
    ("docs/use/roles-in-guests.md", "A role that may read tags"),
    ("docs/use/roles-in-guests.md", "Give it to an instance"),
    ("docs/use/debugging-packets.md", "What decides?"),
    ("docs/use/debugging-packets.md", "What is in force on the host?"),
    ("docs/use/debugging-packets.md", "What goes over the wire?"),
    ("docs/use/own-image.md", "Your own image"),
    ("docs/operate/backup-and-upgrade.md", "Check"),
    ("docs/use/first-vm.md", "The end"),
)
POOL: Final = "198.18.0.0/16"  # the README's

# What a newcomer does with fingers: the package is there already; the host key is accepted; who only logs in types a
# word, and exit.
APT_GET: Final = """#!/bin/sh
test "$*" = "install awscli"
"""
SSH: Final = """#!/bin/bash
case "${!#}" in *@*) set -- "$@" 'echo "logged in at $(hostname)"' ;; esac
exec /usr/bin/ssh -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile="$PWD/known_hosts" "$@"
"""


def commands(page: str, section: str) -> str:
    """The indented lines of a section, or of a page, as they stand there."""
    body = (ROOT / page).read_text(encoding="utf-8")
    if section:
        [body] = re.findall(rf"^##? {re.escape(section)}\n(.*?)(?=^## |\Z)", body, re.MULTILINE | re.DOTALL)
    return "\n".join(line.removeprefix("    ") for line in body.splitlines() if line.startswith("    "))


@pytest.mark.timeout(1200)  # a cloud from nothing to nothing, with a guest, beside other tests
def test_the_tour_from_its_first_line_to_its_last(tmp_path: Path) -> None:
    box.run_in_another(_take_the_tour, tmp_path)


def _take_the_tour(folder: Path) -> None:
    before = leaks.take_inventory()
    cloud = RealCloud(public_pool=POOL)
    cloud.prepare()
    try:
        done = _type(cloud, folder, "\n".join(itertools.starmap(commands, SECTIONS)))
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-6000:]}\n{cloud.log_ends()}"
        _shows_what_it_says(done.stdout)
        assert (folder / "disk.vmdk").stat().st_size > 0
        assert (folder / "guest.pcap").stat().st_size > 0
        cloud.up()  # the tour ends with a `down`
        assert [host.state for host in cloud.operator.list_hosts()] == ["up"]
    finally:
        cloud.purge()
    leaks.assert_nothing_beyond(before, "the README's tour")


def _type(cloud: RealCloud, folder: Path, lines: str) -> "subprocess.CompletedProcess[str]":
    """Run lines in a shell that stands in the checkout, with the folder's programs before all others."""
    programs = folder / "bin"
    programs.mkdir()
    for name, text in (("apt-get", APT_GET), ("ssh", SSH)):
        (programs / name).write_text(text, encoding="utf-8")
        (programs / name).chmod(0o755)
    for name in ("stead", "proto", ".venv"):
        (folder / name).symlink_to(ROOT / name)
    disk = folder / "debian-13-genericcloud-amd64.qcow2"  # what was downloaded
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "64M"], check=True)
    path = os.pathsep.join((str(programs), str(BIN), os.environ["PATH"]))
    with aws_program.placed_in(programs):
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-xc", f"cd {shlex.quote(str(folder))}\n{lines}"],
            env={**cloud.environment, "PATH": path, "PS4": "+ $EPOCHSECONDS "},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=1000,
            check=False,
        )


def _shows_what_it_says(said: str) -> None:
    """What a reader of the README would look for."""
    assert "logged in at ip-" in said
    assert "BEGIN SSH HOST KEY KEYS" in said  # the console
    assert len(set(re.findall(r'"Account": "(\d{12})"', said))) == 2  # the first one, and team-b
    assert "and the answer back" in said  # net explain
