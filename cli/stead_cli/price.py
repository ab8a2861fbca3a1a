"""`stead price`: what use costs."""

import time
from datetime import UTC, datetime
from pathlib import Path

import click

from stead_cli import offer_files, price_import, settings
from stead_cli.errors import CliError
from stead_cli.operator import Operator
from stead_cli.output import output_option, say, show_rows


@click.group()
def price() -> None:
    """Show and set what use costs, in price books."""


@price.command("list")
@output_option
def list_books(output: str) -> None:
    """List the price books; the latest of those that are valid counts."""
    rows = [
        {"valid from": _time(book.valid_from), "currency": book.currency, "text": book.text}
        for book in Operator(settings.load()).price_books()
    ]
    show_rows(rows, ("valid from", "currency"), output)


@price.command("show")
def show() -> None:
    """Print the price book that counts now, to be changed and set again."""
    books = Operator(settings.load()).price_books()
    click.echo([book for book in books if book.valid_from <= time.time()][-1].text, nl=False)


@price.command("set")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--from",
    "valid_from",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    help="When it begins to count, in UTC; default: now.",
)
def set_book(file: Path, valid_from: datetime | None) -> None:
    """Let the prices of FILE count from now, or from a time to come; what was used before keeps its price."""
    moment = None if valid_from is None else int(valid_from.replace(tzinfo=UTC).timestamp())
    begins = Operator(settings.load()).add_price_book(read_book(file), moment)
    say(f"these prices count from {_time(begins)}")


@price.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--region",
    "regions",
    required=True,
    multiple=True,
    help="AWS's region, such as eu-central-1; of several ones, each price names its region.",
)
def import_offers(files: tuple[Path, ...], regions: tuple[str, ...]) -> None:
    """Print a price book of AWS's own prices, from price list FILES of AmazonEC2 and AmazonVPC, JSON or CSV.

    It has what this cloud has. Get the files from AWS yourself, nothing is fetched. Then: stead bill --prices BOOK
    """
    wanted = tuple(dict.fromkeys(regions))
    chosen = price_import.Chosen(wanted, Operator(settings.load()).uses())
    found = [offer_files.read(file, chosen.usage_of) for file in files]
    for region in wanted:
        if region not in chosen.seen:
            there = ", ".join(sorted(chosen.seen - {""})[:50]) or "none"
            raise CliError(f"the files have no prices of the region {region}", f"which they have: {there}")
    click.echo(price_import.price_book(wanted, found), nl=False)


def read_book(file: Path) -> str:
    """Read a file with a price book."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"{file} cannot be read: {error}") from error


def _time(moment: int) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S}" if moment else "the beginning"
