"""What is in the image `debian`, as far as it can be tested without booting it."""

import http.server
import os
import shlex
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3] / "images" / "debian" / "rootfs"
RULES = sorted((ROOT / "etc/udev/rules.d").glob("*.rules"))
SERIAL = "vol0123456789abcdef0"


def test_boot_waits_for_an_address_of_whichever_family() -> None:
    """In a subnet of IPv6 only a wait for IPv4 lasts until its time is over; a link-local address leads nowhere."""
    unit = ROOT / "etc/systemd/system/systemd-networkd-wait-online.service.d/stead.conf"
    [command] = [line for line in unit.read_text(encoding="utf-8").splitlines() if line.startswith("ExecStart=/")]
    _, *options = shlex.split(command)
    assert options == ["--interface=eth0:routable", "--timeout=30"]
    networks = [path.read_text(encoding="utf-8") for path in (ROOT / "etc/systemd/network").iterdir()]
    assert not any("RequiredFamilyForOnline" in text for text in networks)


@pytest.mark.skipif(shutil.which("udevadm") is None, reason="udevadm is not installed")
def test_udev_reads_the_rules() -> None:
    assert len(RULES) == 2
    done = subprocess.run(["udevadm", "verify", *RULES], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


class Metadata(http.server.BaseHTTPRequestHandler):
    """The metadata service of one guest, which demands tokens; `leaves` are its paths with their values."""

    leaves: dict[str, str] = {}  # noqa: RUF012 - each test replaces it

    def do_PUT(self) -> None:
        self._say(200, "token")

    def do_GET(self) -> None:
        if self.headers["X-aws-ec2-metadata-token"] != "token":
            self._say(401, "")
        else:
            self._say(200 if self.path in self.leaves else 404, self.leaves.get(self.path, ""))

    def _say(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def imds() -> Iterator[str]:
    """The URL of a metadata service."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metadata) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(
    ("name", "known"), [("/dev/sdf", "sdf"), ("/dev/xvdba", "xvdba"), ("/dev/vdb", ""), ("/dev/sd/../x", "")]
)
def test_udev_hears_the_name_that_a_volume_was_attached_as(
    imds: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, known: str
) -> None:
    monkeypatch.setattr(Metadata, "leaves", {"/latest/dynamic/stead/volumes/vol-0123456789abcdef0": name})
    (tmp_path / "block/vdb").mkdir(parents=True)
    (tmp_path / "block/vdb/serial").write_text(f"{SERIAL}\n")
    said = tmp_path / "said"
    udevadm = tmp_path / "udevadm"
    udevadm.write_text(f'#!/bin/sh\necho "$@" >>{said}\n')
    udevadm.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "IMDS_URL": imds,
        "STEAD_SYS_BLOCK": str(tmp_path / "block"),
        "STEAD_VOLUME_NAMES": str(tmp_path / "names"),
    }
    for _ in range(2):  # the second time nothing is new, so udev is not asked again: its event would start all anew
        subprocess.run([ROOT / "usr/lib/stead/volume-name", "vdb"], env=environment, timeout=60, check=True)
    file = tmp_path / "names" / SERIAL
    if known:
        assert file.read_text() == f"STEAD_DEVICE={known}\n"
        assert said.read_text() == "trigger --action=change --sysname-match=vdb* --subsystem-match=block\n"
    else:
        assert not file.exists()
        assert not said.exists()
