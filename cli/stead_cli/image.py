"""`stead image`: what instances boot from."""

import base64
import datetime as dt
import zlib
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from stead_cli import cloud, image_build, settings
from stead_cli.errors import CliError
from stead_cli.operator import Operator
from stead_cli.output import bytes_text, json_or, output_option, say, show_rows
from stead_proto.v1 import operator_pb2 as pb

FORMATS = ("qcow2", "raw", "vmdk", "vhd", "vhdx")
_KEYS = Path("/usr/share/OVMF/OVMF_VARS_4M.ms.fd")  # of Debian's package ovmf
_QCOW2_MAGIC = b"QFI\xfb"


@click.group()
def image() -> None:
    """Build, import and list images."""


@image.command("list")
@output_option
def list_images(output: str) -> None:
    """List the images of all accounts."""
    rows = [
        {
            "image_id": found.id,
            "name": found.name,
            "owner": found.account_id or "amazon",
            "public": found.public,
            "state": found.state,
            "file": bytes_text(found.file_size),
            "disk": bytes_text(found.virtual_size),
            "created": dt.datetime.fromtimestamp(found.created, dt.UTC).isoformat(),
            "sha256": found.sha256,
        }
        for found in Operator(settings.load()).list_images()
    ]
    columns = ("image_id", "name", "owner", "public", "state", "file", "disk", "created")
    show_rows(rows, columns, output, empty="no images; build one: ./stead image build micro")


@image.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--name", required=True, help="The image's name, as describe-images shows it.")
@click.option("--description", default="")
@click.option("--format", "image_format", type=click.Choice(FORMATS), default="qcow2", show_default=True)
@click.option(
    "--architecture",
    type=click.Choice(image_build.ARCHITECTURES),
    default="x86_64",
    show_default=True,
    help="The processors that it is for.",
)
@click.option(
    "--boot-mode",
    type=click.Choice(["legacy-bios", "uefi", "uefi-preferred"]),
    help="Default: legacy-bios; for arm64 uefi, the only one there.",
)
@click.option("--account", "account_id", default="", help="Owner's account id; default: the cloud itself.")
@click.option("--public/--private", default=True, show_default=True, help="Whether every account may launch it.")
@click.option("--root-device-name", default="", help="Default: /dev/sda1.")
@output_option
def import_image(
    *,
    file: Path,
    name: str,
    description: str,
    image_format: str,
    architecture: str,
    boot_mode: str | None,
    account_id: str,
    root_device_name: str,
    public: bool,
    output: str,
) -> None:
    """Upload a disk image, such as a stock cloud image of a distribution."""
    _check_format(file, image_format)
    header = pb.ImportImageHeader(
        name=name,
        description=description,
        format=image_format,
        file_size=file.stat().st_size,
        architecture=architecture,
        boot_mode=boot_mode or "",
        public=public,
        account_id=account_id,
        root_device_name=root_device_name,
    )
    made = upload(Operator(settings.load()), header, file)

    def lines() -> None:
        click.echo(made.image_id)
        kind = "t4g.small" if architecture == "arm64" else "t3.small"
        say(f"aws ec2 run-instances --image-id {made.image_id} --instance-type {kind}")

    json_or(output, {"image_id": made.image_id, "sha256": made.sha256}, lines)


@image.command("uefi-data")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False), default=_KEYS)
def uefi_data(file: Path) -> None:
    """Print a file of OVMF's UEFI variables as RegisterImage's UefiData; by default Microsoft's keys of secure boot."""
    click.echo(base64.b64encode(zlib.compress(file.read_bytes(), 9)).decode("ascii"))


def upload(operator: Operator, header: pb.ImportImageHeader, file: Path) -> pb.ImportImageResponse:
    """Upload, and wait until all is stored, with progress bars on a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        sent = bar.add_task(f"{file.name} is sent", total=header.file_size)
        stored = bar.add_task("its blocks are stored", total=100)
        return operator.import_image(
            header, file, lambda count: bar.advance(sent, count), lambda percent: bar.update(stored, completed=percent)
        )


def _check_format(file: Path, image_format: str) -> None:
    """Refuse early what the controller would refuse after the upload: a qcow2 declared as raw does not boot."""
    with file.open("rb") as opened:
        is_qcow2 = opened.read(4) == _QCOW2_MAGIC
    if is_qcow2 != (image_format == "qcow2"):
        actual = "a qcow2 file" if is_qcow2 else "no qcow2 file"
        raise CliError(f"{file} is {actual}", "say its format: --format qcow2, raw, vmdk, vhd or vhdx")


@image.command("export")
@click.argument("image_id")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--format", "image_format", type=click.Choice(["raw", "qcow2", "vmdk", "vhd"]), default="qcow2", show_default=True
)
@click.option("--device", "device_name", default="", help="Which of its disks; default: the root device.")
def export_image(image_id: str, file: Path, image_format: str, device_name: str) -> None:
    """Write a disk of an image to a file."""
    request = pb.ExportImageRequest(image_id=image_id, format=image_format, device_name=device_name)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        put = bar.add_task("the disk is put together", total=100)
        came = bar.add_task(f"{file.name} comes", total=None)
        size = Operator(settings.load()).export_image(
            request, file, lambda percent: bar.update(put, completed=percent), lambda count: bar.advance(came, count)
        )
    say(f"{file}: {bytes_text(size)}, {image_format}")


@image.command("build")
@click.argument("kind", type=click.Choice(image_build.KINDS))
@click.option("--architecture", type=click.Choice(image_build.ARCHITECTURES), default="x86_64", show_default=True)
@click.option("--again", is_flag=True, help="Also if the recipe has not changed, for newer Debian packages.")
@output_option
def build(kind: str, *, architecture: str, again: bool, output: str) -> None:
    """Build an image of images/ from Debian packages and make it a public image of the cloud."""
    cloud.require_root("building an image")
    chosen = settings.load()
    built = image_build.build(chosen, kind, say, again=again, architecture=architecture)
    image_id = image_build.enter(Operator(chosen), built, lambda _count: None)
    json_or(output, {"image_id": image_id, "name": built.name}, lambda: click.echo(f"{image_id}\t{built.name}"))


@image.command("remove")
@click.argument("image_id")
def remove(image_id: str) -> None:
    """Forget an image and its snapshots."""
    Operator(settings.load()).remove_image(image_id)
    say(f"{image_id} is gone")
