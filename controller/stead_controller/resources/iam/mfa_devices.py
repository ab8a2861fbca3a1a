"""Virtual MFA devices of users and of root: create, enable with two consecutive codes, check a code, deactivate.

See https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_mfa_enable_virtual.html. A device's seed is shown
once, when it is created, and stored sealed. A code is accepted once (RFC 6238, 5.2). Only root manages root's devices,
under the user name `root` if there is no such user (AWS documents only its console for that); they are shown as in
https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListVirtualMFADevices.html.
"""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import select, update

from stead_controller.db.tables import IamMfaDevice, IamUser
from stead_controller.errors import AlreadyExists, BadRequest, InUse, NotFound
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources import quotas
from stead_controller.resources.iam import entities, iam_names, iam_quotas, iam_tags, totp, users
from stead_controller.resources.iam.list_pages import Slice
from stead_controller.resources.iam.users import DescribedUser, Root
from stead_controller.secrets.sealing import Sealer

STATUSES: Final = ("Assigned", "Unassigned", "Any")
_LONGEST: Final = 226
_ROOT: Final = "root"


@dataclass(frozen=True, slots=True)
class NewDevice:
    """A device as CreateVirtualMFADevice describes it."""

    name: str
    path: str | None = None
    tags: Iterable[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class MadeDevice:
    """A new device; its seed is never shown again."""

    serial_number: str
    seed: bytes = field(repr=False)
    tags: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class DescribedMfaDevice:
    """A device, and the name of its user: `root` for root, None if it is not assigned."""

    serial_number: str
    name_lower: str
    owner_name: str | None
    enabled: datetime | None


@dataclass(frozen=True, slots=True)
class AssignedMfaDevice:
    """A device, and its user: a user, root, or None if it is not assigned."""

    serial_number: str
    name_lower: str
    owner: DescribedUser | Root | None
    enabled: datetime | None


@dataclass(frozen=True, slots=True)
class Codes:
    """Two consecutive codes of a device."""

    first: str = field(repr=False)
    second: str = field(repr=False)


def context(device_id: str) -> str:
    """Return the context that a device's seed is sealed for."""
    return f"mfa-device:{device_id}"


def create(tx: Transaction, caller: Caller, sealer: Sealer, request: NewDevice, now: datetime) -> MadeDevice:
    """Create a device that is not assigned yet; raises InvalidParameter, AlreadyExists, LimitExceeded."""
    name = iam_names.check_name("virtualMFADeviceName", request.name)
    if len(name) > _LONGEST:
        raise iam_names.invalid("virtualMFADeviceName", f"Member must have length less than or equal to {_LONGEST}")
    mine = select(IamMfaDevice.id).where(IamMfaDevice.account_id == caller.account_id)
    if tx.session.scalar(mine.where(IamMfaDevice.name_lower == name.lower())) is not None:
        raise AlreadyExists("iam-mfa-device", "MFADevice entity at the same path and name already exists.")
    iam_quotas.check_account(tx, caller, quotas.IAM_USERS, "VirtualMFADevicesPerAccount", IamMfaDevice)
    device_id, seed = iam_names.new_id("mfa"), secrets.token_bytes(totp.SEED_BYTES)
    device = IamMfaDevice(
        id=device_id,
        account_id=caller.account_id,
        name=name,
        name_lower=name.lower(),
        path=iam_names.check_path(request.path),
        created=now,
        seed_sealed=sealer.seal(seed, context(device_id)),
        drift=0,
        last_step=0,
    )
    tx.session.add(device)
    iam_tags.set_tags(tx, device.id, request.tags)
    return MadeDevice(serial_of(device), seed, iam_tags.pairs_of(tx, device.id))


def find(tx: Transaction, caller: Caller, serial_number: str) -> IamMfaDevice:
    """One of the account's devices by its serial number, which is its ARN; raises NotFound."""
    found = _named(tx, caller, serial_number)
    if found is None:
        raise NotFound(
            "iam-mfa-device",
            serial_number,
            message=f"VirtualMFADevice with serial number {serial_number} doesn't exist.",
        )
    return found


def serial_of(device: IamMfaDevice) -> str:
    """The serial number of a device."""
    return iam_names.arn(device.account_id, "mfa", device.path, device.name)


def enable(
    tx: Transaction, caller: Caller, sealer: Sealer, user_name: str, *, serial_number: str, codes: Codes, now: datetime
) -> None:
    """Assign a device to a user; two codes prove that the user has it.

    Raises NotFound, AlreadyExists where it is assigned, LimitExceeded, BadRequest for wrong codes.
    """
    owner = _owner(tx, caller, user_name)
    device = find(tx, caller, serial_number)
    if device.user_id is not None:
        raise AlreadyExists("iam-mfa-device", "MFA Device is already in use.")
    iam_quotas.check(
        tx,
        "MFADevicesPerUser",
        iam_quotas.MFA_DEVICES_PER_USER,
        IamMfaDevice.id,
        IamMfaDevice.user_id == owner.id,
    )
    _set_clock(device, sealer, codes, now)
    device.user_id, device.enabled = owner.id, now


def resync(
    tx: Transaction, caller: Caller, sealer: Sealer, user_name: str, *, serial_number: str, codes: Codes, now: datetime
) -> None:
    """Determine the drift of a device's clock again; raises NotFound, BadRequest for wrong codes."""
    _set_clock(_of(tx, caller, user_name, serial_number), sealer, codes, now)


def deactivate(tx: Transaction, caller: Caller, user_name: str | None, serial_number: str) -> None:
    """Unassign a device from its user, the caller where none is named; raises NotFound, InvalidParameter."""
    device = _of(tx, caller, user_name, serial_number)
    device.user_id = device.enabled = None


def remove(tx: Transaction, caller: Caller, serial_number: str) -> None:
    """Delete a device that is not assigned; raises NotFound, InUse."""
    device = find(tx, caller, serial_number)
    if device.user_id is not None:
        raise InUse("MFA VirtualDevice in use. Must deactivate first.")
    iam_tags.remove_all(tx, device.id)
    tx.session.delete(device)


def of_user(tx: Transaction, caller: Caller, user_name: str | None, part: Slice) -> list[DescribedMfaDevice]:
    """A user's devices by name, the caller's own where none is named; raises NotFound."""
    if user_name is None and caller.kind not in ("user", "root"):
        return []
    owner = _owner(tx, caller, user_name)
    mine = part.of(select(IamMfaDevice).where(IamMfaDevice.user_id == owner.id), IamMfaDevice.name_lower)
    return [_described(device, owner.name) for device in tx.session.scalars(mine)]


def of_account(tx: Transaction, caller: Caller, status: str, part: Slice) -> list[AssignedMfaDevice]:
    """The account's devices by name: all, or those that are assigned, or not assigned; raises InvalidParameter."""
    if status not in STATUSES:
        raise iam_names.invalid("assignmentStatus", f"Member must satisfy enum value set: [{', '.join(STATUSES)}]")
    mine = select(IamMfaDevice, IamUser).outerjoin(IamUser, IamUser.id == IamMfaDevice.user_id)
    mine = mine.where(IamMfaDevice.account_id == caller.account_id)
    if status != "Any":
        is_nobodys = IamMfaDevice.user_id.is_(None)
        mine = mine.where(is_nobodys if status == "Unassigned" else ~is_nobodys)
    return [
        AssignedMfaDevice(
            serial_of(device),
            device.name_lower,
            _root_of(device) if user is None else users.described(user),
            device.enabled,
        )
        for device, user in tx.session.execute(part.of(mine, IamMfaDevice.name_lower))
    ]


def get(tx: Transaction, caller: Caller, serial_number: str, user_name: str | None) -> DescribedMfaDevice:
    """Find a device: of the named user, else of the caller if it is a user; raises NotFound."""
    named = user_name is not None or caller.kind == "user"
    device = _of(tx, caller, user_name, serial_number) if named else find(tx, caller, serial_number)
    if device.user_id is None:
        return _described(device, None)
    user = tx.session.get(IamUser, device.user_id)
    return _described(device, _ROOT if user is None else user.name)


def show_factor(
    tx: Transaction, caller: Caller, sealer: Sealer, serial_number: str | None, code: str | None, *, now: datetime
) -> bool:
    """Check and use up a code of one of the caller's own devices; return whether the request has one.

    Raises BadRequest where it is wrong, or was used before.
    """
    if serial_number is None and code is None:
        return False
    if serial_number is None or code is None:
        raise _failed(", must provide both MFA serial number and one time pass code.")
    device = _named(tx, caller, serial_number) if caller.kind in ("user", "root") else None
    if device is None or device.user_id != (caller.account_id if caller.kind == "root" else caller.principal_id):
        raise _failed(
            ", unable to validate MFA code.  Please verify your MFA serial number is valid and associated with this "
            "user."
        )
    step = totp.find_step(_seed(device, sealer), code, totp.step_of(now) + device.drift)
    if step is None or not _take(tx, device, step):
        raise _failed(" with invalid MFA one time pass code. ")
    return True


def _take(tx: Transaction, device: IamMfaDevice, step: int) -> bool:
    """Use up a step's code; return whether neither it nor a later one was used before."""
    taken = tx.session.execute(
        update(IamMfaDevice)
        .where(IamMfaDevice.id == device.id, IamMfaDevice.last_step < step)
        .values(last_step=step)
        .returning(IamMfaDevice.id)
    )
    return taken.first() is not None


def _set_clock(device: IamMfaDevice, sealer: Sealer, codes: Codes, now: datetime) -> None:
    """Set the device's clock by two codes; raises BadRequest where they are wrong, or were used before."""
    around = totp.step_of(now)
    step = totp.find_steps_in_a_row(_seed(device, sealer), codes.first, codes.second, around)
    if step is None or step - 1 <= device.last_step:
        raise BadRequest("Authentication code for device is not valid.", code="InvalidAuthenticationCode")
    device.drift, device.last_step = step - around, step


def _seed(device: IamMfaDevice, sealer: Sealer) -> bytes:
    return sealer.open(device.seed_sealed, context(device.id))


def _named(tx: Transaction, caller: Caller, serial_number: str) -> IamMfaDevice | None:
    name = serial_number.rpartition("/")[2]
    found = tx.session.scalar(
        select(IamMfaDevice).where(
            IamMfaDevice.account_id == caller.account_id, IamMfaDevice.name_lower == name.lower()
        )
    )
    return found if found is not None and serial_of(found) == serial_number else None


@dataclass(frozen=True, slots=True)
class _Owner:
    """The user that a request is about: a user's id and name, or for root the account's id."""

    id: str
    name: str


def _owner(tx: Transaction, caller: Caller, user_name: str | None) -> _Owner:
    """Find the user that a request is about, the caller where none is named; raises NotFound, InvalidParameter."""
    root = _Owner(caller.account_id, _ROOT) if caller.kind == "root" else None
    if root is not None and user_name is None:
        return root
    try:
        user = entities.find_user(tx, caller, entities.own_name(caller, user_name))
    except NotFound:
        if root is None or user_name != _ROOT:
            raise
        return root
    return _Owner(user.id, user.name)


def _of(tx: Transaction, caller: Caller, user_name: str | None, serial_number: str) -> IamMfaDevice:
    owner = _owner(tx, caller, user_name)
    device = _named(tx, caller, serial_number)
    if device is None or device.user_id != owner.id:
        raise NotFound("iam-mfa-device", serial_number, message="MFA Device invalid for user.")
    return device


def _described(device: IamMfaDevice, owner_name: str | None) -> DescribedMfaDevice:
    return DescribedMfaDevice(serial_of(device), device.name_lower, owner_name, device.enabled)


def _root_of(device: IamMfaDevice) -> Root | None:
    """Root as a device's user; None for a device that is not assigned."""
    return None if device.user_id is None else users.root_of(device.account_id)


def _failed(why: str) -> BadRequest:
    return BadRequest(f"MultiFactorAuthentication failed{why}", code="AccessDenied")
