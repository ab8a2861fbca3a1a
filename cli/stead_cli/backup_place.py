"""Where backups are: in a folder, or in a bucket of an S3 server, which is named as aws has it."""

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import click

from stead_cli.errors import CliError

_SCHEME: Final = "s3://"
_MARK: Final = "stead-backups.json"  # of a folder with backups: stead_controller/backup/repository.py


@dataclass(frozen=True, slots=True)
class Place:
    """A folder, or s3://BUCKET/PREFIX and how its server is reached: what is empty is as aws finds it."""

    where: str
    endpoint_url: str = ""
    region: str = ""
    ca_bundle: Path | None = None
    key_file: Path | None = None

    def __str__(self) -> str:
        """As it was named."""
        return self.where

    @property
    def is_bucket(self) -> bool:
        """Whether it is on an S3 server."""
        return self.where.startswith(_SCHEME)

    @property
    def may_be_new(self) -> bool:
        """Whether there may be no backups yet, as in a bucket always: nobody has asked its server."""
        return not Path(self.where, _MARK).exists()

    @property
    def words(self) -> list[str]:
        """The argument and the options that name it to a program."""
        named = (
            ("--endpoint-url", self.endpoint_url),
            ("--region", self.region),
            ("--ca-bundle", self.ca_bundle),
            ("--key-file", self.key_file),
        )
        return [self.where, *(f"{option}={value}" for option, value in named if value)]

    def lasting(self) -> "Place":
        """The same for a program that is started elsewhere, without this environment."""
        if not self.is_bucket:
            return replace(self, where=str(Path(self.where).absolute()))
        found = os.environ.get
        bundle = self.ca_bundle or Path(found("AWS_CA_BUNDLE", ""))
        return replace(
            self,
            endpoint_url=self.endpoint_url or found("AWS_ENDPOINT_URL_S3") or found("AWS_ENDPOINT_URL", ""),
            region=self.region or found("AWS_REGION") or found("AWS_DEFAULT_REGION", ""),
            ca_bundle=bundle.absolute() if bundle.name else None,
            key_file=self.key_file.absolute() if self.key_file else None,
        )


def at(*, required: bool = True) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the argument and the options of a place, which the function gets as its `place`."""

    def add(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def with_place(
            folder: str | None,
            endpoint_url: str,
            region: str,
            ca_bundle: Path | None,
            key_file: Path | None,
            **rest: Any,
        ) -> None:
            place = Place(folder or "", endpoint_url, region, ca_bundle, key_file)
            if not place.is_bucket and len(place.words) > 1:
                raise CliError(
                    f"{place.words[1].partition('=')[0]} is of an S3 server", "name a bucket: s3://BUCKET/PREFIX"
                )
            function(place=place if folder else None, **rest)

        file = click.Path(path_type=Path, exists=True, dir_okay=False)
        for option in (
            click.option(
                "--key-file", type=file, help="Id and secret of its access key, a line each; else as aws has it."
            ),
            click.option("--ca-bundle", type=file, help="The authority of its certificate."),
            click.option("--region", default="", help="Its region."),
            click.option("--endpoint-url", default="", metavar="URL", help="The S3 server; otherwise Amazon's."),
            click.argument("folder", metavar="FOLDER|s3://BUCKET/PREFIX", required=required),
        ):
            with_place = option(with_place)
        return with_place

    return add
