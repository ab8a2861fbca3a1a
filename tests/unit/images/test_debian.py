"""What is in the image `debian`, as far as it can be tested without booting it."""

import shlex
from pathlib import Path

ROOT = Path(__file__).parents[3] / "images" / "debian" / "rootfs"


def test_boot_waits_for_an_address_of_whichever_family() -> None:
    """In a subnet of IPv6 only a wait for IPv4 lasts until its time is over; a link-local address leads nowhere."""
    unit = ROOT / "etc/systemd/system/systemd-networkd-wait-online.service.d/stead.conf"
    [command] = [line for line in unit.read_text(encoding="utf-8").splitlines() if line.startswith("ExecStart=/")]
    _, *options = shlex.split(command)
    assert options == ["--interface=eth0:routable", "--timeout=30"]
    networks = [path.read_text(encoding="utf-8") for path in (ROOT / "etc/systemd/network").iterdir()]
    assert not any("RequiredFamilyForOnline" in text for text in networks)
