"""Logins to guests whose commands share one connection, for tests that are not about the path to the guest."""

from dataclasses import dataclass
from pathlib import Path

from stead_cli import ssh


@dataclass(frozen=True, slots=True)
class Connection(ssh.Login):
    """A login whose commands share one connection: a new one costs an emulated guest as much as many commands.

    It closes when unused for a minute, or when the guest no longer answers. `socket` is the path by which the commands
    find it; ssh adds 17 characters to that, and the path of a socket has at most 107.
    """

    socket: Path = Path()

    def strict_words(self, *more: str) -> list[str]:
        """The command line of a login, with the options for the shared connection."""
        shared = ("ControlMaster=auto", f"ControlPath={self.socket}", "ControlPersist=60", "ServerAliveInterval=5")
        return ssh.Login.strict_words(self, *(part for option in shared for part in ("-o", option)), *more)


def shared(login: ssh.Login, socket: Path, through: ssh.Login | None = None) -> Connection:
    """Make a login's commands share one connection, at this socket path; `through` is the login of a jump host."""
    return Connection(login.address, login.user, login.key_file, login.known_hosts, through, socket)
