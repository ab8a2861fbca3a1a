"""`rotate.yml` of two controllers and a host, whose `stead` and `systemctl` only note what they are told.

They are this machine, each with folders of its own in the places of Stead's. With real ones: `tests/support/rack_story.py`.
"""

import json
import subprocess
from pathlib import Path

import pytest

from tests.support import outside_clients
from tests.support.processes import ROOT, clean_environment

pytestmark = pytest.mark.client("ansible")

# Python as Ansible finds it on a machine: below it, that machine's files and programs.
_PYTHON = """#!/bin/sh
exec unshare --mount --propagation private sh -c '
mount -t tmpfs tmpfs /var/lib && mkdir /var/lib/stead && mount --bind {own}/state /var/lib/stead &&
mount --bind {own}/units /etc/systemd/system && PATH={own}/bin:$PATH exec /usr/bin/python3 "$@"' sh "$@"
"""
_STEAD = """#!/bin/sh
echo "{name} stead $*" >>{said}
cd /var/lib/stead/controller
case "$1 $2" in
"key rotate") echo second >master.key; echo '{{}}'; exit ;;
"certificate rotate") echo new >ca/next-authority.pem; echo both >../ca.pem ;;
"certificate switch") mv ca/authority.pem ca/former-authority.pem; mv ca/next-authority.pem ca/authority.pem ;;
"certificate finish") rm ca/former-authority.pem; echo new >../ca.pem ;;
"up "*) echo active >{own}/is; echo '{{"controller": "started"}}'; exit ;;
esac
cp ../ca.pem ca.pem
echo '{{"changed": true}}'
"""
_SYSTEMCTL = """#!/bin/sh
case "$1" in
show) echo LoadState=loaded; echo "ActiveState=$(cat {own}/is)" ;;
stop) echo "{name} systemctl $*" >>{said}; echo inactive >{own}/is ;;
esac
"""


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """The machines' folders; `said` is what their programs were told, in its order."""
    if why := outside_clients.why_missing("ansible"):
        pytest.skip(why)
    found = {name: tmp_path / name for name in ("first", "second", "host")}
    for name, own in found.items():
        for folder in ("bin", "units", "state/controller/ca"):
            (own / folder).mkdir(parents=True)
        (own / "is").write_text("active")
        (own / "units/stead-controller.service").touch()
        for file, text in (("python", _PYTHON), ("stead", _STEAD), ("systemctl", _SYSTEMCTL)):
            program = own / "bin" / file
            program.write_text(text.format(own=own, name=name, said=tmp_path / "said"))
            program.chmod(0o755)
        controller = own / "state/controller"
        for key, mode in (("master.key", 0o600), ("ca.pem", 0o644), ("ca/authority.pem", 0o600)):
            (controller / key).write_text("old\n")
            (controller / key).chmod(mode)
        (own / "state/ca.pem").write_text("old\n")
    return found


def _rotate(folder: Path, *arguments: str) -> list[str]:
    """Play it; gives what machines were told."""
    machines = {
        name: {"ansible_connection": "local", "ansible_python_interpreter": f"{folder}/{name}/bin/python"}
        for name in ("first", "second", "host")
    }
    groups = {
        "controller": {"hosts": {name: machines[name] | {"ansible_host": "192.0.2.1"} for name in ("first", "second")}},
        "agents": {"hosts": {"host": machines["host"]}},
    }
    (folder / "inventory.json").write_text(json.dumps({"all": {"children": groups}}))
    venv = outside_clients.folder_of("ansible") / "venv"
    [strategies] = venv.glob("lib/*/site-packages/ansible_mitogen/plugins/strategy")
    (folder / "said").unlink(missing_ok=True)
    done = subprocess.run(
        [
            venv / "bin/ansible-playbook",
            f"--inventory={folder}/inventory.json",
            f"--extra-vars=rotate_ca_file={folder}/ca.pem",
            "rotate.yml",
            *arguments,
        ],
        cwd=ROOT / "ansible",
        env=clean_environment(
            HOME=str(folder),
            ANSIBLE_NOCOLOR="1",
            ANSIBLE_STRATEGY="mitogen_linear",
            ANSIBLE_STRATEGY_PLUGINS=str(strategies),
        ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return (folder / "said").read_text().splitlines()


def _keys(own: Path) -> dict[str, tuple[str, int]]:
    """The keys of a controller: content and mode."""
    folder = own / "state/controller"
    return {
        str(path.relative_to(folder)): (path.read_text().strip(), path.stat().st_mode & 0o777)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_one_controller_rotates_alone_and_then_all_have_its_keys(places: dict[str, Path], tmp_path: Path) -> None:
    wait = "--wait 300 --output json"
    begun = _rotate(tmp_path)
    assert begun == [
        "second systemctl stop stead-controller.service",
        "first stead key rotate --output json",
        f"first stead certificate rotate {wait}",
        "second stead up --output json --no-host --image micro",
    ]
    assert _keys(places["second"]) == {
        "master.key": ("second", 0o600),
        "ca.pem": ("both", 0o644),
        "ca/authority.pem": ("old", 0o600),
        "ca/next-authority.pem": ("new", 0o644),
    }
    cas = [tmp_path / "ca.pem", places["host"] / "state/ca.pem"]
    assert [each.read_text() for each in cas] == ["both\n", "both\n"]
    ended = _rotate(tmp_path, "--extra-vars=clients=ready")
    assert ended == [
        "second systemctl stop stead-controller.service",
        f"first stead certificate switch {wait}",
        f"first stead certificate finish {wait}",
        "second stead up --output json --no-host --image micro",
    ]
    assert _keys(places["second"]) == _keys(places["first"])
    assert _keys(places["second"]).keys() == {"master.key", "ca.pem", "ca/authority.pem"}, "the former one has gone"
    assert [each.read_text() for each in cas] == ["new\n", "new\n"]
