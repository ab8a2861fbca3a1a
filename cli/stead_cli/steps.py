"""A long command as a list of steps, each shown while it runs and with its time when it is done."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import click
from rich.console import Console


@dataclass(slots=True)
class Step:
    """One step: what it did and how long it took; `note` may be set while it runs."""

    name: str
    seconds: float = 0.0
    note: str = ""


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
                with Console(stderr=True).status(f"{name} …"):
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
        """Enter a step whose time is known otherwise, without showing it."""
        self.done.append(Step(name, seconds))

    @property
    def seconds(self) -> float:
        """Time since the first step began."""
        return time.monotonic() - self.began
