"""`stead join`: make this machine a host of a cloud whose controller is another machine."""

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import IO

import click

from stead_cli import cloud, enrolment, processes, settings
from stead_cli.errors import CliError
from stead_cli.output import json_or, output_option, say
from stead_proto import tls


@click.command()
@click.argument("controller", metavar="ADDRESS")
@click.option("--ca", type=click.File("rb"), help="The CA's certificate, ca.pem of the controller; once is enough.")
@click.option("--token-file", type=click.File("r"), help="The one-time token; - is standard input. Once is enough.")
@click.option("--again", is_flag=True, help="This machine was a host: it keeps its id and all guests.")
@output_option
def join(controller: str, ca: IO[bytes] | None, token_file: IO[str] | None, output: str, *, again: bool) -> None:
    """Make this machine a host of the cloud whose controller is at ADDRESS, or repair that, or bring it up to date.

    `stead host token`, on the controller, makes the token. A host of this cloud whose certificate is not accepted any
    more joins --again, with a token of `stead host token --host`; so does one of a cloud whose controller was lost,
    with any token of the new one. Guests outlive the agent, which is started anew when it is of another release or has
    other settings.
    """
    cloud.require_root("becoming a host")
    chosen = replace(settings.load(), controller_address=controller)
    cloud.refuse_rig(chosen)
    if (chosen.controller_dir / "ca.pem").exists():
        raise CliError("this machine has a controller of its own", "its guests run here after: ./stead up")
    with cloud.exclusively(chosen):
        if ca is not None:
            tls.write_public(chosen.ca_file, ca.read())
        if not chosen.ca_file.exists():
            raise CliError("the CA's certificate is missing", "copy ca.pem from the controller: --ca ca.pem")
        if again or not enrolment.is_enrolled(chosen):
            if token_file is None:
                raise CliError("a token is missing", "on the controller: stead host token; here: --token-file FILE")
            enrolment.enrol(chosen, token_file.read().strip(), _run, again=again)
        else:
            enrolment.require_valid(chosen)
        if again:
            processes.stop(cloud.agent_program(chosen))  # it has the former certificate
        chosen.remember()
        began = cloud.start_agent(chosen)
    json_or(
        output, {"agent": began.name.lower()}, lambda: say(f"agent: {began}; see it on the controller: stead host list")
    )


def _run(command: list[str | Path], stdin: str) -> tuple[int, str]:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr
