"""Log in to an instance with the real `ssh`, its host key checked against those on its serial console."""

import re
import shlex
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stead_cli.errors import CliError

_KEYS: Final = re.compile(r"-----BEGIN SSH HOST KEY KEYS-----\s*(.*?)-----END SSH HOST KEY KEYS-----", re.DOTALL)
_KEY_LINE: Final = re.compile(r"(?:ssh|ecdsa)-[\w-]+ [A-Za-z0-9+/=]+")


def host_keys(console: str) -> list[str]:
    """The host keys that the guest printed on its console, newest boot last; cloud-init's format, and micro's."""
    blocks = _KEYS.findall(console)
    return _KEY_LINE.findall(blocks[-1]) if blocks else []


def source_address(target: str) -> str:
    """The source address that this machine would use towards the target; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((target, 22))
        return str(probe.getsockname()[0])


def answers(address: str, timeout: float = 1.0) -> bool:
    """Tell whether an SSH server sends its banner at the address."""
    try:
        with socket.create_connection((address, 22), timeout=timeout) as connection:
            connection.settimeout(timeout)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class Login:
    """Everything that a login needs; the host must prove that it has one of the known keys.

    `through` is the login of a jump host, for an instance without a public address.
    """

    address: str
    user: str
    key_file: Path
    known_hosts: Path
    through: "Login | None" = None

    def trust(self, keys: list[str]) -> None:
        """Make these the only host keys that are accepted for the address."""
        self.known_hosts.write_text("".join(f"{self.address} {key}\n" for key in keys), encoding="ascii")

    @property
    def command(self) -> list[str]:
        """The command line of a login."""
        return [
            "ssh",
            "-i",
            str(self.key_file),
            "-o",
            f"UserKnownHostsFile={self.known_hosts}",
            f"{self.user}@{self.address}",
        ]

    def words(self, command: str) -> list[str]:
        """The command line that runs a command in the guest."""
        return [*self.strict_words(), command]

    def strict_words(self, *more: str) -> list[str]:
        """The command line of a login that asks no questions and ignores the user's settings, with further options."""
        options = ["StrictHostKeyChecking=yes", "IdentitiesOnly=yes", "BatchMode=yes", "ConnectTimeout=10"]
        if self.through is not None:
            options.append(f"ProxyCommand={shlex.join(self.through.strict_words('-W', '[%h]:%p'))}")
        named = [part for option in options for part in ("-o", option)]
        return ["ssh", "-F", "none", *named, *more, *self.command[1:]]

    def run(self, command: str, timeout: float = 30.0) -> str:
        """Run a command in the guest and return what it printed; CliError with ssh's words when it fails."""
        try:
            done = subprocess.run(
                self.words(command),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise CliError(f"ssh to {self.address} took more than {timeout:g} s") from error
        except FileNotFoundError as error:
            raise CliError("there is no ssh on this machine", "as root: apt-get install openssh-client") from error
        if done.returncode != 0:
            raise CliError(f"ssh {self.user}@{self.address} failed: {done.stderr.strip()}")
        return done.stdout
