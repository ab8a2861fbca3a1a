"""Images: which of them a caller sees, with their details."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, bindparam, case, or_, select, union_all

from stead_controller.db.load import Load, columns_of
from stead_controller.db.prepared import Question
from stead_controller.db.tables import CloudFact, Image, ImageBlockDevice, ImagePermission, Instance
from stead_controller.errors import InvalidParameter, NotAuthorized, NotFound, WrongState
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.conditions import (
    NEVER,
    Condition,
    Selection,
    constant,
    exists_where,
    flag,
    instant,
    number,
    text,
)
from stead_controller.request.owners import CLOUD_ACCOUNT, CLOUD_ALIAS, accounts_of, is_account
from stead_controller.request.transaction import Transaction
from stead_controller.resources import tags
from stead_controller.resources.storage import block_devices

PLATFORM: Final = "Linux/UNIX"
"""The platform details of all images, in EC2's words."""

_IS_SHARED: Final = or_(Image.state == "available", Image.state == "error")
"""States in which others see a shared image, also one that lacks data: they see why it cannot be launched."""
_by_id = select(*columns_of(Image)).where(Image.id == bindparam("image_id"))
# An image that is seen in one of the first two of `ways`, queried at each launch. Each way goes by an index of its own:
# by the id alone, a row that is not seen would be read first.
_OFTEN_SEEN: Final = Load(
    Image,
    union_all(
        _by_id.where(Image.account_id == bindparam("account_id")), _by_id.where(Image.public.is_(True), _IS_SHARED)
    ),
)

_region = select(CloudFact.value).where(CloudFact.name == "region").scalar_subquery()
_location = case((Image.account_id == CLOUD_ACCOUNT, CLOUD_ALIAS), else_=Image.account_id) + "/" + Image.name

# Filters of EC2 that match no image here.
_ABSENT: Final = (
    "image-watermark.source-image-creation-time",
    "image-watermark.source-image-id",
    "image-watermark.source-image-region",
    "image-watermark.watermark-creation-time",
    "image-watermark.watermark-key",
    "instance-type-specification.supported-instance-type",
    "instance-type-specification.unsupported-instance-type",
    "kernel-id",
    "platform",
    "product-code",
    "product-code.type",
    "public-ssm-parameter-name",
    "ramdisk-id",
    "scan-result.critical-fix-available-since",
    "scan-result.finding-scan-date",
    "scan-result.high-fix-available-since",
    "scan-result.highest-finding-severity-label",
    "scan-result.informational-fix-available-since",
    "scan-result.low-fix-available-since",
    "scan-result.medium-fix-available-since",
    "state-reason-code",
)


def _mapped(inner: Condition) -> Condition:
    """Compare what any of an image's block devices has."""
    return exists_where(select(ImageBlockDevice.device_name).where(ImageBlockDevice.image_id == Image.id), inner)


def _present(column: Any) -> Any:
    """Take an empty text for none."""
    return case((column != "", column))


_of_ebs: Final = and_(ImageBlockDevice.virtual_name.is_(None), ImageBlockDevice.no_device.is_(False))


def _of_volume(inner: Condition) -> Condition:
    return _mapped(lambda asked: and_(_of_ebs, inner(asked)))


FILTERS: Final[dict[str, Condition]] = dict.fromkeys(_ABSENT, NEVER) | {
    "architecture": text(Image.architecture),
    "block-device-mapping.delete-on-termination": _of_volume(flag(ImageBlockDevice.delete_on_termination)),
    "block-device-mapping.device-name": _mapped(text(ImageBlockDevice.device_name)),
    "block-device-mapping.encrypted": _of_volume(flag(ImageBlockDevice.encrypted)),
    "block-device-mapping.snapshot-id": _mapped(text(ImageBlockDevice.snapshot_id)),
    "block-device-mapping.volume-size": _of_volume(number(ImageBlockDevice.volume_size)),
    "block-device-mapping.volume-type": _of_volume(text(ImageBlockDevice.volume_type)),
    "boot-mode": text(Image.boot_mode),
    "creation-date": instant(Image.created),
    "description": text(Image.description),
    "ena-support": flag(Image.ena_support),
    "free-tier-eligible": constant("false"),
    "hypervisor": constant("xen"),
    "image-allowed": constant("true"),
    "image-id": text(Image.id),
    "image-type": constant("machine"),
    "imds-support": text(_present(Image.imds_support)),
    "is-public": flag(Image.public),
    "manifest-location": text(_location),
    "name": text(Image.name),
    "owner-alias": text(case((Image.account_id == CLOUD_ACCOUNT, CLOUD_ALIAS))),
    "owner-id": text(Image.account_id),
    "platform-details": constant(PLATFORM),
    "root-device-name": text(Image.root_device_name),
    "root-device-type": constant("ebs"),
    "source-image-id": text(Image.source_image_id),
    "source-image-region": text(case((Image.source_image_id.is_not(None), _region))),
    "source-instance-id": text(Image.source_instance_id),
    "sriov-net-support": text(_present(Image.sriov_net_support)),
    "state": text(Image.state),
    "tpm-support": text(_present(Image.tpm_support)),
    "state-reason-message": text(_present(Image.state_reason)),
    "usage-operation": constant("RunInstances"),
    "virtualization-type": constant("hvm"),
}


@dataclass(frozen=True, slots=True)
class ImageSelection:
    """DescribeImages, parsed: owners (accounts, `self`, aliases) and who must be able to launch the images.

    Other accounts' deprecated images and disabled images are shown only on request, or if named.
    """

    selection: Selection = field(default_factory=Selection)
    owners: tuple[str, ...] = ()
    executable_by: tuple[str, ...] = ()
    deprecated: bool = False
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class DescribedImage:
    """An image with its details; `source_region` is that of the image it was copied from."""

    image: Image
    devices: Sequence[ImageBlockDevice]
    source_region: str | None
    tags: Sequence[tuple[str, str]]


def question(caller: Caller, image_id: str) -> Question:
    """Return what a look-up of an image asks, so that the database can answer it with others."""
    return _OFTEN_SEEN.question({"image_id": image_id, "account_id": caller.account_id})


def find_launchable(tx: Transaction, caller: Caller, image_id: str) -> Image:
    """Return an image that the caller may launch; raises MalformedId, NotFound, WrongState."""
    image = find_visible(tx, caller, image_id)
    if image.state != "available":
        raise WrongState("image", f"AMI '{image_id}' is {image.state}, and cannot be run")
    return image


def find_visible(tx: Transaction, caller: Caller, image_id: str) -> Image:
    """Return an image that the caller sees: its own, a shared or a public one.

    Raises MalformedId, NotFound, and WrongState for a deregistered one that still has instances.
    """
    lookup.check_form("image", [image_id])
    found = _OFTEN_SEEN.first(tx.session, {"image_id": image_id, "account_id": caller.account_id})
    if found is not None:
        return found
    if lookup.unseen(tx, "image", Image.id, [image_id], partial(ways, tx, caller)):
        if _never_launched(tx, caller, [image_id]):
            raise NotFound("image", image_id)
        raise WrongState("image", f"The image ID '{image_id}' is no longer available")
    return tx.session.get_one(Image, image_id)


def find_own(tx: Transaction, caller: Caller, image_id: str) -> Image:
    """Return an image that the caller may change; raises MalformedId, NotFound, NotAuthorized for another's."""
    image = find_visible(tx, caller, image_id)
    if image.account_id != caller.account_id:
        raise NotAuthorized(f"Not authorized for images: [{image_id}]", code="AuthFailure")
    return image


def describe(tx: Transaction, caller: Caller, asked: ImageSelection, now: datetime) -> list[DescribedImage]:
    """Find images that the caller sees, with their details, sorted by id.

    A deregistered image of which the caller still has instances is left out, without an error. Raises
    MalformedId, NotFound for ids, InvalidParameter for owners.
    """
    seen_by = partial(ways, tx, caller)
    missing = lookup.unseen(tx, "image", Image.id, asked.selection.ids, seen_by)
    absent = _never_launched(tx, caller, missing)
    if absent:
        raise NotFound("image", absent)
    ids = lookup.select_ids(
        tx,
        caller,
        Image.id,
        lookup.only_seen(tx, asked.selection, "image-id", Image.id, seen_by),
        visible(caller),
        *_in_time(caller, asked, now),
        *_owned(caller, asked.owners),
        *_executable(caller, asked.executable_by),
        conditions=FILTERS,
    )
    found = lookup.rows(tx, Image, ids)
    tagged = tags.pairs_of(tx, caller.account_id, ids)
    mappings = block_devices.of_images(tx, ids)
    region = tx.session.scalar(select(_region)) if any(image.source_image_id for image in found) else None
    return [
        DescribedImage(
            image,
            devices=mappings[image.id],
            source_region=region if image.source_image_id else None,
            tags=tagged.get(image.id, ()),
        )
        for image in found
    ]


def _never_launched(tx: Transaction, caller: Caller, image_ids: Sequence[str]) -> list[str]:
    """Return those of some images of which the caller has no instance (except terminated ones)."""
    launched: set[str] = set()
    for batch in lookup.batches(image_ids):
        query = select(Instance.image_id).where(
            Instance.account_id == caller.account_id, Instance.image_id.in_(batch), Instance.state != "terminated"
        )
        launched.update(tx.session.scalars(query))
    return [image_id for image_id in image_ids if image_id not in launched]


def visible(caller: Caller) -> ColumnElement[bool]:
    """Own images, and those of others that are shared."""
    permitted = select(ImagePermission.image_id).where(ImagePermission.account_id == caller.account_id)
    shared = or_(Image.public.is_(True), Image.id.in_(permitted))
    return or_(Image.account_id == caller.account_id, and_(shared, _IS_SHARED))


def ways(tx: Transaction, caller: Caller, image_ids: Sequence[str]) -> Iterator[ColumnElement[bool]]:
    """The ways in which images with these ids may be visible to the caller, for `lookup.seen`."""
    yield Image.account_id == caller.account_id
    yield and_(Image.public.is_(True), _IS_SHARED)
    permitted = select(ImagePermission.image_id).where(
        ImagePermission.account_id == caller.account_id, ImagePermission.image_id.in_(image_ids)
    )
    given = tx.session.scalars(permitted).all()
    if given:
        yield and_(Image.id.in_(given), _IS_SHARED)


def _in_time(caller: Caller, asked: ImageSelection, now: datetime) -> list[ColumnElement[bool]]:
    """Leave out images that are shown only on request."""
    if asked.selection.ids:
        return []
    clauses: list[ColumnElement[bool]] = []
    if not asked.disabled:
        clauses.append(Image.state != "disabled")
    if not asked.deprecated:
        mine = Image.account_id == caller.account_id
        clauses.append(or_(mine, Image.deprecate_at.is_(None), Image.deprecate_at > now))
    return clauses


def _owned(caller: Caller, owners: Sequence[str]) -> list[ColumnElement[bool]]:
    return [Image.account_id.in_(accounts_of(caller, owners))] if owners else []


def _executable(caller: Caller, users: Sequence[str]) -> list[ColumnElement[bool]]:
    """Select the images that one of the users may launch by a permission; an owner needs none.

    For other accounts, only permissions of the caller's own images are considered.
    """
    if not users:
        return []
    mine = Image.account_id == caller.account_id
    allowed: list[ColumnElement[bool]] = []
    for user in dict.fromkeys(users):
        if user == "all":
            allowed.append(Image.public.is_(True))
            continue
        account = caller.account_id if user == "self" else user
        if not is_account(account):
            raise InvalidParameter(f"Invalid user [{user}]", code="InvalidUserID.Malformed")
        permitted = Image.id.in_(select(ImagePermission.image_id).where(ImagePermission.account_id == account))
        allowed.append(permitted if account == caller.account_id else and_(mine, permitted))
    return [or_(*allowed)]


def iso(moment: datetime) -> str:
    """Show a time as EC2 shows those of images: as text in milliseconds."""
    return moment.isoformat("T", "milliseconds").replace("+00:00", "Z")
