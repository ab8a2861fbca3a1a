"""`stead key`: the master key, which seals every secret in the database."""

import datetime as dt

import click

from stead_cli import settings
from stead_cli.operator import Operator
from stead_cli.output import json_or, output_option, say, show_rows


@click.group()
def key() -> None:
    """Look after the master key, which seals every secret in the database."""


@key.command("rotate")
@output_option
def rotate(output: str) -> None:
    """Give the master key a new version and seal everything under it.

    The old version stays until no session token that it sealed can be valid any more: 37 hours. Copies of the database
    from before need it for longer: keep the master key of their time with them.
    """
    done = Operator(settings.load()).rotate_key()
    found = {"version": done.version, "rows": done.rows, "changed": done.changed}
    summary = f"{done.rows} rows looked at, {done.changed} sealed anew; none is left under an older version"
    json_or(output, found, lambda: say(f"version {done.version} of the master key seals now: {summary}"))


@key.command("list")
@output_option
def list_versions(output: str) -> None:
    """List the versions of the master key: the last one seals, all of them open."""
    rows = [
        {
            "version": version.number,
            "made": dt.datetime.fromtimestamp(version.made, dt.UTC).isoformat() if version.made else "",
        }
        for version in Operator(settings.load()).list_key_versions()
    ]
    show_rows(rows, ("version", "made"), output)
