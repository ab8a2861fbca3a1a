"""One Ethernet for guests in a network namespace of this process; it vanishes with the process."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

GATEWAY = "10.99.0.1"
METADATA = "169.254.169.254"
MTU = 1400
TAPS = ("tap0", "tap1")
MACS = ("02:00:00:99:00:10", "02:00:00:99:00:11")
ADDRESSES = ("10.99.0.10", "10.99.0.11")
IPV6_PREFIX = "2001:db8:99::"
IPV6_GATEWAY = f"{IPV6_PREFIX}1"
IPV6_ADDRESSES = (f"{IPV6_PREFIX}10", f"{IPV6_PREFIX}11")

_MARK = "STEAD_TRIAL_NAMESPACE"


def enter_own_namespace() -> None:
    """Run this program again in a new network namespace, unless it is in it already; no packet can leave it."""
    if os.environ.get(_MARK) != "1":
        os.environ[_MARK] = "1"
        os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv])


def build_network() -> None:
    """Make a bridge with the gateway and metadata addresses, and two taps for a guest's interfaces."""
    _ip("link", "set", "lo", "up")
    _ip("link", "add", "br0", "type", "bridge", "forward_delay", "0")
    _ip("address", "add", f"{GATEWAY}/24", "dev", "br0")
    _ip("address", "add", f"{IPV6_GATEWAY}/64", "dev", "br0", "nodad")
    _ip("address", "add", f"{METADATA}/32", "dev", "lo")
    for tap in TAPS:
        _ip("tuntap", "add", tap, "mode", "tap")
        _ip("link", "set", tap, "master", "br0", "up")
    _ip("link", "set", "br0", "up")


def start_dhcp(folder: Path) -> subprocess.Popen[bytes]:
    """Start dnsmasq as DHCP and DHCPv6 server for both interfaces, its log in ``folder``; the caller ends the process.

    Classless routes (option 121) contain the default route and the one to the metadata service; the IPv6 router sends
    advertisements.
    """
    routes = f"0.0.0.0/0,{GATEWAY},{METADATA}/32,{GATEWAY}"
    command = [
        "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0", "--no-ping", "--interface=br0",
        "--bind-interfaces", "--dhcp-ignore-clid", "--dhcp-authoritative", f"--dhcp-leasefile={folder}/leases",
        f"--dhcp-range={GATEWAY},static,255.255.255.0,120", f"--dhcp-option=26,{MTU}", f"--dhcp-option=121,{routes}",
        f"--dhcp-option=6,{GATEWAY}", "--dhcp-option=15,ec2.internal",
        "--enable-ra", f"--dhcp-range={IPV6_PREFIX},static,off-link,64,120",
        f"--dhcp-option=option6:23,[{IPV6_GATEWAY}]",
        *(f"--dhcp-host={mac},{one},[{six}]" for mac, one, six in zip(MACS, ADDRESSES, IPV6_ADDRESSES, strict=True)),
    ]  # fmt: skip
    with (folder / "dnsmasq.log").open("wb") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def _ip(*arguments: str) -> None:
    run_checked(["ip", *arguments])


def run_checked(command: Sequence[str]) -> str:
    """Run a program and return its stdout; raise RuntimeError with its output when it fails."""
    done = subprocess.run(list(command), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with status {done.returncode}: {done.stderr.strip()}")
    return done.stdout
