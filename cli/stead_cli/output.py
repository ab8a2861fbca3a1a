"""Rows become a table on a terminal, plain lines in a pipe, or JSON on request."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

output_option = click.option(
    "--output",
    "output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="A table (plain lines when not on a terminal), or JSON.",
)

Row = Mapping[str, Any]


def show_rows(rows: Sequence[Row], columns: Sequence[str], output: str, *, empty: str = "") -> None:
    """Print the named columns of rows to stdout; JSON has all their keys."""
    if output == "json":
        show_json(list(rows))
    elif not rows:
        click.echo(empty or "none", err=True)
    elif sys.stdout.isatty():
        _show_table(rows, columns)
    else:
        click.echo("\t".join(_title(column) for column in columns))
        for row in rows:
            click.echo("\t".join(_cell(row.get(column)) for column in columns))


def _show_table(rows: Sequence[Row], columns: Sequence[str]) -> None:
    from rich.console import Console  # noqa: PLC0415 - a tenth of a second, needed only on a terminal
    from rich.table import Table  # noqa: PLC0415 - as above

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(_title(column), overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    Console().print(table)


def show_json(value: Any) -> None:
    """Print a value as JSON to stdout."""
    click.echo(json.dumps(value, indent=2, default=str))


def say(text: str = "") -> None:
    """Print a line for the person at the terminal, to stderr: stdout is for results."""
    click.echo(text, err=True)


def say_heading(text: str) -> None:
    """Print a bold line to stderr."""
    click.secho(text, bold=True, err=True)


def bytes_text(count: float) -> str:
    """A number of bytes in readable form: `17.2 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError("unreachable")


def json_or(output: str, value: Any, otherwise: Callable[[], None]) -> None:
    """Print the value as JSON when `output` asks for it, else call `otherwise`."""
    if output == "json":
        show_json(value)
    else:
        otherwise()


def _title(column: str) -> str:
    return column.replace("_", " ").upper()


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value).replace("\n", " ")
