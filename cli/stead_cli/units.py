"""The texts of the systemd units of our programs, so that they restart after a crash and after a reboot.

Options: systemd.unit(5), systemd.service(5), systemd.exec(5), systemd.kill(5).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from stead_cli import release
from stead_proto import alone

_TEMPLATE: Final = """\
# Written by `stead up`, removed by `stead down`.
[Unit]
{unit}

[Service]
Type=exec
ExecStart={command}
Environment={release}
Restart=always
RestartSec=1
RestartSteps=5
RestartMaxDelaySec=30
{service}
StandardOutput=append:{log}
StandardError=inherit

[Install]
WantedBy=multi-user.target
"""

_BACKUP: Final = """\
# Written by `stead backup schedule`, removed by its --off.
[Unit]
Description={about}

[Service]
Type=oneshot
{commands}
Nice=10
IOSchedulingClass=idle
UMask=0077
PrivateNetwork={private_network}
ProtectSystem=full
NoNewPrivileges=yes
Environment={release}
Environment={state}
"""

_BACKUP_TIMER: Final = """\
# Written by `stead backup schedule`, removed by its --off.
[Unit]
Description={about}

[Timer]
OnCalendar=*-*-* {at}:00
# One that was missed, because the machine was off, is made up for.
Persistent=yes

[Install]
WantedBy=timers.target
"""

# No start limit: what it depends on may take longer to come up.
_CONTROLLER_UNIT: Final = """\
Description=Stead controller: the APIs of this machine's cloud
After=network.target
StartLimitIntervalSec=0"""

_CONTROLLER_SERVICE: Final = """\
TimeoutStopSec=20
# Also how long the next line may take: it changes the database, and proves that it serves.
TimeoutStartSec=240
# Another release, or this one anew, takes its place once it is loaded (controller/stead_controller/succession.py).
ExecReload=/usr/bin/env {succeeds}=1 {command}
# Its processes replace each other, whoever kills one of them (controller/stead_controller/main_process.py).
OOMPolicy=continue
NotifyAccess=all
RuntimeDirectory=%N
RuntimeDirectoryMode=0700
PIDFile=%t/%N/successor
# Asked to end, the object store would take 25 s; killed, it loses nothing.
KillMode=mixed
LimitNOFILE=65536
UMask=0077
# All it needs is its state, its ports and, to read, the checkout.
ReadWritePaths={state} {logs}
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp={private_tmp}
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
# Beyond its ports: to read image files by a program without rights, in a network of its own (blocks/confinement.py).
CapabilityBoundingSet={capabilities}
NoNewPrivileges=yes
LockPersonality=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=user net ipc
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service"""

_CAPABILITIES: Final = "CAP_NET_BIND_SERVICE CAP_SETUID CAP_SETGID CAP_CHOWN CAP_KILL"
# To read a checkout in a user's home directory that other users cannot enter.
_READING: Final = "CAP_DAC_READ_SEARCH"

# It stops before libvirt-guests shuts guests down with the host; else it would see guests that stopped by themselves.
_AGENT_UNIT: Final = """\
Description=Stead agent: guests, network and disks of this host
Wants=network-online.target
After=network-online.target libvirtd.service virtqemud.service libvirt-guests.service nftables.service {controller}
StartLimitIntervalSec=0"""

# No option that implies a mount namespace of its own: its named network namespaces would be invisible to others.
_AGENT_SERVICE: Final = """\
TimeoutStopSec=20
# DHCP and metadata servers are its children and must outlive it; guests are libvirt's.
KillMode=process
LimitNOFILE=65536
TasksMax=infinity
OOMScoreAdjust=-500
UMask=0022
KeyringMode=private
LockPersonality=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK AF_PACKET AF_VSOCK
RestrictRealtime=yes
SystemCallArchitectures=native"""


def controller_unit(command: Sequence[str | Path], state: Path, log: Path) -> str:
    """Return the controller's unit; `state` is the directory it may write to besides its log."""
    # PrivateTmp would hide our files that are in the real /tmp.
    public = any(Path(word).is_relative_to(top) for word in (command[0], state) for top in ("/tmp", "/var/tmp"))
    program = Path(command[0])
    is_roots = all(path.stat().st_uid == 0 for path in (program, *program.parents) if path.exists())
    service = _CONTROLLER_SERVICE.format(
        succeeds=alone.SUCCEEDS,
        command=_command(command),
        state=_word(state),
        logs=_word(log.parent),
        private_tmp="no" if public else "yes",
        capabilities=_CAPABILITIES if is_roots else f"{_CAPABILITIES} {_READING}",
    )
    return _render(_CONTROLLER_UNIT, service, command, log)


def agent_unit(command: Sequence[str | Path], log: Path, controller: str) -> str:
    """Return the agent's unit; `controller` is the name of the unit to start first, if there is one."""
    return _render(_AGENT_UNIT.format(controller=controller), _AGENT_SERVICE, command, log)


def backup_unit(about: str, commands: Sequence[Sequence[str | Path]], state: Path, *, has_network: bool = False) -> str:
    """Return the unit that makes a backup of the cloud in `state` by these commands; `about` describes it.

    It needs a network where the database is on a server.
    """
    lines = "\n".join(f"ExecStart={_command(words)}" for words in commands)
    named = f"{release.VARIABLE}={release.current()}"
    return _BACKUP.format(
        about=_plain(about),
        commands=lines,
        release=named,
        state=_word(f"STEAD_STATE_DIR={state}"),
        private_network="no" if has_network else "yes",
    )


def backup_timer(about: str, at: str) -> str:
    """Return the timer that starts it each day at a time such as 03:30."""
    return _BACKUP_TIMER.format(about=_plain(about), at=at)


def _render(unit: str, service: str, command: Sequence[str | Path], log: Path) -> str:
    named = f"{release.VARIABLE}={release.current()}"
    return _TEMPLATE.format(unit=unit, service=service, command=_command(command), log=_plain(log), release=named)


def _command(words: Sequence[str | Path]) -> str:
    return " ".join(_argument(word) for word in words)


def _argument(word: str | Path) -> str:
    """Quote an argument of a command, in which systemd would also expand variables."""
    return _word(str(word).replace("$", "$$"))


def _word(word: str | Path) -> str:
    """Quote a word so that systemd takes it as it is."""
    text = _plain(word).replace("\\", "\\\\").replace('"', '\\"')
    is_plain = text and text == str(word) and not any(character.isspace() or character in "';" for character in text)
    return text if is_plain else f'"{text}"'


def _plain(text: str | Path) -> str:
    """Escape specifiers of systemd; a line break would begin another option."""
    if "\n" in str(text):
        raise ValueError(f"a unit cannot speak of {str(text)!r}")
    return str(text).replace("%", "%%")
