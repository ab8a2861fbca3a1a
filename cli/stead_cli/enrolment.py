"""Get a machine's agent its certificate in exchange for a one-time token."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stead_cli import cloud
from stead_cli.errors import CliError
from stead_cli.settings import Settings
from stead_proto import tls


def is_enrolled(chosen: Settings) -> bool:
    """Tell whether the agent has a certificate that was signed by this controller's CA."""
    try:
        agent_ca = (chosen.agent_dir / "ca.pem").read_bytes()
    except FileNotFoundError:
        return False
    if not tls.share_an_authority(agent_ca, chosen.ca_file.read_bytes()):  # one at least, while it is changed
        hint = (
            "its guests belong to that cloud; if its controller was lost and this is the new one: stead join --again; "
            "if the authority was changed: stead join --ca, with ca.pem as the controller has it now; "
            f"to give them up: ./stead down --purge (state: {chosen.agent_dir})"
        )
        raise CliError("this machine's agent is enrolled with another cloud", hint)
    return (chosen.agent_dir / "identity.pem").exists()


def require_valid(chosen: Settings) -> None:
    """Raise CliError where the agent's certificate has expired: no controller lets it in."""
    present = _present(chosen)
    if present is not None and _has_expired(present):
        raise CliError(
            f"this host's certificate has expired on {tls.lifetime(present.certificate_pem)[1].isoformat()}",
            f"on the controller: stead host token --host {present.peer.name}; here: stead join --again",
        )


@dataclass(frozen=True, slots=True)
class ShutOut:
    """A host whose certificate has expired, or is of an authority that its controller does not know."""

    host_id: str
    any_authority: bool  # the latter


def shut_out(chosen: Settings) -> ShutOut | None:
    """Name the host that the agent here is, if the controller that is here lets it in no more."""
    present = _present(chosen)
    if present is None:
        return None
    is_foreign = not tls.share_an_authority(present.ca_pem, chosen.ca_file.read_bytes())
    return ShutOut(present.peer.name, is_foreign) if is_foreign or _has_expired(present) else None


def _present(chosen: Settings) -> tls.Identity | None:
    """Return the agent's certificate; None where it has none, or one that its agent will complain of."""
    try:
        present = tls.Identity.load(chosen.agent_dir)
        tls.lifetime(present.certificate_pem)
    except (tls.NoIdentityError, ValueError):
        return None
    return present


def _has_expired(present: tls.Identity) -> bool:
    return tls.lifetime(present.certificate_pem)[1] <= dt.datetime.now(dt.UTC)


def has_lost_its_controller(chosen: Settings) -> bool:
    """Tell whether this machine's agent is a host's, and the controller that was here has no state any more."""
    return (chosen.agent_dir / "identity.pem").exists() and not (chosen.controller_dir / "ca.pem").exists()


def enrol(
    chosen: Settings, token: str, run: Callable[[list[str | Path], str], tuple[int, str]], *, again: bool = False
) -> None:
    """Enrol the agent; `run` runs a command with this stdin where the agent is, and returns its status and stderr.

    With `again`, for a new controller after the other was lost: the host keeps its id, and all that it has.
    """
    command: list[str | Path] = [
        cloud.BIN / "stead-agent",
        "enrol",
        f"--state-dir={chosen.agent_dir}",
        f"--controller={chosen.controller_address or chosen.listen}:{chosen.enrolment_port}",
        f"--ca={chosen.ca_file}",
        "--token-file=-",
        *(["--again"] if again else []),
    ]
    status, said = run(command, token)
    if status != 0:
        raise CliError(f"this machine could not be enrolled: {said.strip()[-1000:]}")
