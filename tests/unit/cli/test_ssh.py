"""Host keys as cloud-init and micro print them become known hosts."""

import shlex
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from stead_cli import ssh

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8Zc0Y0 root@ip-172-31-0-5"
RSA = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQC7+/= root@ip-172-31-0-5"


def console(*keys: str) -> str:
    lines = [
        "[    1.2] something",
        "-----BEGIN SSH HOST KEY KEYS-----",
        *keys,
        "-----END SSH HOST KEY KEYS-----",
        "ready",
    ]
    return "\r\n".join(lines)


def test_keys_are_found_between_the_marks() -> None:
    assert ssh.host_keys(console(RSA, KEY)) == [" ".join(RSA.split()[:2]), " ".join(KEY.split()[:2])]


def test_keys_elsewhere_are_no_keys() -> None:
    assert ssh.host_keys(f"{KEY}\n-----BEGIN SSH HOST KEY KEYS-----\n{KEY}\n") == []


def test_the_newest_boot_counts() -> None:
    assert ssh.host_keys(console(RSA) + "\r\n" + console(KEY)) == [" ".join(KEY.split()[:2])]


@given(st.text())
def test_any_console_is_read(text: str) -> None:
    ssh.host_keys(text)


def test_trust_makes_these_the_only_keys(tmp_path: Path) -> None:
    login = ssh.Login("198.18.0.5", "debian", tmp_path / "key", tmp_path / "known")
    login.trust(["ssh-rsa OLD="])
    login.trust(ssh.host_keys(console(KEY)))
    assert login.known_hosts.read_text() == "198.18.0.5 " + " ".join(KEY.split()[:2]) + "\n"


def test_by_way_of_another_any_address_is_reached(tmp_path: Path) -> None:
    """Without brackets ssh takes an IPv6 address's last part for the port."""
    there = ssh.Login("198.18.0.4", "debian", tmp_path / "key", tmp_path / "known")
    behind = ssh.Login("2001:db8::5", "debian", tmp_path / "key", tmp_path / "known", there)
    [proxy] = [word for word in behind.words("true") if word.startswith("ProxyCommand=")]
    words = shlex.split(proxy.partition("=")[2])
    assert words[words.index("-W") + 1] == "[%h]:%p"


def test_source_address_of_this_machine_is_its_own() -> None:
    assert ssh.source_address("127.0.0.1") == "127.0.0.1"


def test_a_closed_port_does_not_answer() -> None:
    assert not ssh.answers("127.1.2.3", timeout=0.2)
