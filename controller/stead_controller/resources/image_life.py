"""What becomes of images: deprecated, disabled, protected, deregistered."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete

from stead_controller.db.tables import Image
from stead_controller.errors import InvalidParameter, WrongState
from stead_controller.resources import image_attributes, images, tags
from stead_controller.resources.caller import Caller
from stead_controller.resources.transaction import Transaction

_LATEST: Final = timedelta(days=3653)  # 10 years
_COOLDOWN: Final = timedelta(hours=24)
_MINUTE: Final = timedelta(minutes=1)
_WITH_COOLDOWN: Final = "enabled-with-cooldown"
_WITHOUT_COOLDOWN: Final = "enabled-without-cooldown"


def deprecate(tx: Transaction, caller: Caller, image_id: str, moment: datetime, now: datetime) -> None:
    """Hide an image from other accounts' lists from a time on, which is rounded to the nearest minute.

    Raises MalformedId, NotFound, NotAuthorized, InvalidParameter for a time that has passed or is 10 years away.
    """
    image = images.find_own(tx, caller, image_id)
    if not now < moment <= now + _LATEST:
        raise InvalidParameter(
            f"Value ({images.iso(moment)}) for parameter DeprecateAt is invalid. It must come within 10 years."
        )
    whole = moment.replace(second=0, microsecond=0)
    image.deprecate_at = whole + _MINUTE if moment - whole >= _MINUTE / 2 else whole


def undeprecate(tx: Transaction, caller: Caller, image_id: str) -> None:
    """Take a deprecation back; raises MalformedId, NotFound, NotAuthorized."""
    images.find_own(tx, caller, image_id).deprecate_at = None


def disable(tx: Transaction, caller: Caller, image_id: str) -> None:
    """Let nobody launch an image, and take it from all others for good; raises as `enable`."""
    image = images.find_own(tx, caller, image_id)
    if image.state not in ("available", "disabled"):
        raise WrongState("image", f"The image ID '{image_id}' is not available; its state is {image.state}.")
    image.state = "disabled"
    image_attributes.remove_permissions(tx, image)


def enable(tx: Transaction, caller: Caller, image_id: str) -> None:
    """Let its owner launch a disabled image again; raises MalformedId, NotFound, NotAuthorized, WrongState."""
    image = images.find_own(tx, caller, image_id)
    if image.state not in ("available", "disabled"):
        raise WrongState("image", f"The image ID '{image_id}' is not disabled; its state is {image.state}.")
    image.state = "available"


def protect(tx: Transaction, caller: Caller, image_id: str, *, cooldown: bool) -> str:
    """Keep an image from being deregistered and give EC2's word for it; raises MalformedId, NotFound, NotAuthorized."""
    image = images.find_own(tx, caller, image_id)
    image.deregistration_protection = _WITH_COOLDOWN if cooldown else _WITHOUT_COOLDOWN
    image.protected_until = None
    return image.deregistration_protection


def unprotect(tx: Transaction, caller: Caller, image_id: str, now: datetime) -> str:
    """Let an image be deregistered, after a day where it has a cool-down, and give EC2's word for it.

    Raises MalformedId, NotFound, NotAuthorized.
    """
    image = images.find_own(tx, caller, image_id)
    if image.deregistration_protection == _WITH_COOLDOWN:
        image.protected_until = now + _COOLDOWN
    image.deregistration_protection = "disabled"
    return image.deregistration_protection


def deregister(tx: Transaction, caller: Caller, image_id: str, now: datetime) -> None:
    """Forget an image; its snapshots stay. Raises MalformedId, NotFound, NotAuthorized, WrongState where protected."""
    image = images.find_own(tx, caller, image_id)
    _check_unprotected(image, now)
    forget(tx, image)


def _check_unprotected(image: Image, now: datetime) -> None:
    """Raise WrongState for an image that may not be deregistered now."""
    cools = image.protected_until is not None and now < image.protected_until
    if image.deregistration_protection != "disabled" or cools:
        raise WrongState(
            "image",
            f"The image ID '{image.id}' is protected from deregistration"
            + (f" until {images.iso(image.protected_until)}." if cools and image.protected_until else "."),
            code="OperationNotPermitted",
        )


def forget(tx: Transaction, image: Image) -> None:
    """Remove an image's rows and everybody's tags of it."""
    tags.remove_all(tx, [image.id])
    tx.session.execute(delete(Image).where(Image.id == image.id))
    tx.session.expunge(image)
