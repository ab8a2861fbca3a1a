"""Errors of the command line: what went wrong, and what to do next."""

import sys
from typing import IO, Any

import click


class CliError(click.ClickException):
    """An error for the user, with a hint on how to solve it."""

    def __init__(self, message: str, hint: str = "") -> None:
        """Store the message and the hint, which is a sentence or a command."""
        super().__init__(message)
        self.hint = hint

    def show(self, file: IO[Any] | None = None) -> None:
        """Print to stderr: the error, then the hint."""
        stream = file or sys.stderr
        click.secho(f"stead: {self.message}", fg="red", file=stream)
        if self.hint:
            click.echo(f"       {self.hint}", file=stream)
