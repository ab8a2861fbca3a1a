"""A long command as a list of steps, each shown while it runs and with its time when it is done."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.status import Status


@dataclass(slots=True)
class Step:
    """One step: what it did and how long it took; `note` may be set while it runs."""

    name: str
    seconds: float = 0.0
    note: str = ""
    spinner: "Status | None" = None  # on a terminal

    def show(self, text: str) -> None:
        """Show for a moment, on a terminal, how far the step is."""
        if self.spinner is not None:
            self.spinner.update(f"{self.name} … {text}")

    def say(self, line: str) -> None:
        """Show what a long step does now: beside the spinner, or as a line if there is no terminal."""
        if self.spinner is not None:
            self.show(line)
        else:
            click.echo(f"    {line}", err=True)


@dataclass(slots=True)
class Steps:
    """The steps of one command, shown on stderr."""

    done: list[Step] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Do a step: a spinner on a terminal, then one line with its time; a step that fails says so."""
        step = Step(name)
        began = time.monotonic()
        try:
            if sys.stderr.isatty():
                from rich.console import Console  # noqa: PLC0415 - a tenth of a second, needed only on a terminal

                with Console(stderr=True).status(f"{name} …") as step.spinner:
                    yield step
            else:
                yield step
        except BaseException:
            click.secho(f"  ✗ {name}", fg="red", err=True)
            raise
        step.seconds = time.monotonic() - began
        self.done.append(step)
        mark = click.style("✓", fg="green")
        note = f"  ({step.note})" if step.note else ""
        click.echo(f"  {mark} {name:<46} {step.seconds:6.1f} s{note}", err=True)

    def note(self, name: str, seconds: float) -> None:
        """Add a step whose time was measured elsewhere, without showing it."""
        self.done.append(Step(name, seconds))

    @property
    def seconds(self) -> float:
        """Time since the first step began."""
        return time.monotonic() - self.began
