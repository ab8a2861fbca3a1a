"""`stead certificate`: the authority (CA) that signs the certificates of the controller, hosts and operators."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import click

from stead_cli import cloud, settings
from stead_cli.errors import CliError
from stead_cli.operator import Operator
from stead_cli.output import json_or, output_option, say, show_rows
from stead_cli.settings import Settings
from stead_cli.waiting import wait_for
from stead_proto.v1 import operator_pb2 as pb

_HOST_SECONDS = 120.0
_NEXT = {
    "begun": (
        "Hosts and the controller trust both authorities now; the former signs still. Next:",
        "  1. have clients trust both: give them {ca} anew (AWS_CA_BUNDLE, trust stores)",
        "  2. ./stead certificate switch",
    ),
    "switched": (
        "The new authority signs; the former is trusted still. Next:",
        "  1. make a backup: with earlier ones no controller reaches the hosts after the last step",
        "  2. ./stead certificate finish",
    ),
    "settled": ("One authority is trusted.",),
}

_wait_option = click.option(
    "--wait", "seconds", default=_HOST_SECONDS, show_default=True, help="So many seconds for the hosts to follow."
)


@click.group()
def certificate() -> None:
    """Change the authority (CA) that signs all certificates: rotate, switch, finish.

    All else renews itself: certificates of hosts, of the controller and of operators, before they end.
    """


@certificate.command("list")
@output_option
def list_authorities(output: str) -> None:
    """List the authorities that are trusted: the first one signs."""
    found = Operator(settings.load()).list_authorities()
    if output == "json":
        json_or(output, _shown(found), lambda: None)
        return
    rows = _shown(found)["trusted"]
    show_rows(rows, ("fingerprint", "expires"), output)
    if found.waiting:
        say(f"without the certificates of this step: {', '.join(found.waiting)}")


@certificate.command("rotate")
@_wait_option
@output_option
def rotate(seconds: float, output: str) -> None:
    """Make a new authority, which is trusted beside the present one; returns when all hosts trust both.

    Asked for again before `finish`, it makes no other one.
    """
    cloud.require_root("changing the authority")
    _take(Operator.begin_authority, seconds, output)


@certificate.command("switch")
@_wait_option
@output_option
def switch(seconds: float, output: str) -> None:
    """Sign by the new authority; returns when all hosts have certificates of it. The former is trusted still."""
    cloud.require_root("changing the authority")
    _take(Operator.switch_authority, seconds, output)


@certificate.command("finish")
@_wait_option
@output_option
def finish(seconds: float, output: str) -> None:
    """Trust the new authority alone; returns when all hosts do. Who has a certificate of the former is cut off."""
    cloud.require_root("changing the authority")
    _take(Operator.finish_authority, seconds, output)


def _take(step: Callable[[Operator], pb.Authorities], seconds: float, output: str) -> None:
    """Take a step, give users on this machine what it made, and wait for the hosts."""
    chosen = settings.load()
    if not (chosen.controller_dir / "ca.pem").exists():
        raise CliError("the controller is on another machine", "run this there")
    cloud.renew_access(chosen)  # a step that was interrupted may have changed what this command itself needs
    done = step(Operator(chosen))
    cloud.renew_access(chosen)
    _await_hosts(chosen, seconds)
    found = Operator(chosen).list_authorities()
    lines = _NEXT[found.phase]

    def tell() -> None:
        for line in lines:
            say(line.format(ca=chosen.ca_file))

    json_or(output, {**_shown(found), "changed": done.changed}, tell)


def _await_hosts(chosen: Settings, seconds: float) -> None:
    def waiting() -> list[str]:
        return list(Operator(chosen).list_authorities().waiting)

    def late() -> CliError:
        return CliError(
            f"these hosts do not have the certificates of this step: {', '.join(waiting())}",
            "have their agents run, of this release, or remove the hosts; then give this command again",
        )

    wait_for(lambda: not waiting(), seconds, late, poll=0.3)


def _shown(found: pb.Authorities) -> dict[str, Any]:
    return {
        "phase": found.phase,
        "trusted": [
            {"fingerprint": each.fingerprint, "expires": dt.datetime.fromtimestamp(each.expires, dt.UTC).isoformat()}
            for each in found.trusted
        ],
        "waiting": list(found.waiting),
    }
