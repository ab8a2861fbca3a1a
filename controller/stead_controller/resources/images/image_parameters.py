"""Public parameters of Systems Manager that name images, so that nobody has to write an image's id down.

    /stead/image/<kind>/latest/<architecture>      the newest of the cloud's images of a kind: `micro`, `debian`
    /stead/image/name/<name>                       the newest of the cloud's public images of that name
    /aws/service/debian/release/13/latest/amd64    the newest of kind `debian`, where AWS has Debian's

They follow from the images that are there and are stored nowhere. A parameter's version is the second, since 1970, at
which its image was made: a newer image has a greater one. See
https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-public-parameters-ami.html.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import select

from stead_controller.db.tables import Image
from stead_controller.errors import InvalidParameter, NotFound
from stead_controller.request.owners import CLOUD_ACCOUNT
from stead_controller.request.transaction import Transaction

ALIAS: Final = "resolve:ssm:"
"""How an image's id in a request begins that is a parameter's name."""

_OF_KIND: Final = re.compile(r"stead-([a-z0-9]+)-[0-9a-f]{12}\Z")  # as `stead image build` names them
_NAME: Final = re.compile(r"[A-Za-z0-9_.\-]+\Z")  # what a part of a parameter's name is made of
_DEBIAN: Final = "/aws/service/debian/release/13/latest"
_OF_DEBIAN: Final = {"x86_64": "amd64", "arm64": "arm64"}
_PUBLIC: Final = (
    select(Image.id, Image.name, Image.architecture, Image.created)
    .where(Image.account_id == CLOUD_ACCOUNT, Image.public.is_(True), Image.state == "available")
    .order_by(Image.created, Image.id)
)


@dataclass(frozen=True, slots=True)
class ImageParameter:
    """A parameter and the image that it names, made at `modified`."""

    name: str
    image_id: str
    modified: datetime

    @property
    def version(self) -> int:
        """The number of its version."""
        return int(self.modified.timestamp())


def everything(tx: Transaction) -> dict[str, ImageParameter]:
    """Return all parameters by name, sorted."""
    found: dict[str, ImageParameter] = {}
    for image_id, image_name, architecture, created in tx.session.execute(_PUBLIC):
        for name in _names(image_name, architecture):
            found[name] = ImageParameter(name, image_id, created)
    return dict(sorted(found.items()))


def _names(image_name: str, architecture: str) -> Iterator[str]:
    if _NAME.match(image_name):
        yield f"/stead/image/name/{image_name}"
    kind = _OF_KIND.match(image_name)
    if kind is None:
        return
    yield f"/stead/image/{kind[1]}/latest/{architecture}"
    if kind[1] == "debian" and architecture in _OF_DEBIAN:
        yield f"{_DEBIAN}/{_OF_DEBIAN[architecture]}"


def split(selected: str) -> tuple[str, str | None]:
    """Split a name with a selector, `/a/b:3`, into the name and the selector."""
    name, colon, selector = selected.partition(":")
    return name, selector if colon else None


def find(tx: Transaction, selected: str) -> ImageParameter:
    """Return the parameter of a name, which may select a version; raises NotFound."""
    return _selected(everything(tx), selected)


def find_all(tx: Transaction, selected: Iterable[str]) -> dict[str, ImageParameter]:
    """Return those parameters that there are of some names, which may select versions, by these."""
    known = everything(tx)
    found: dict[str, ImageParameter] = {}
    for one in selected:
        try:
            found[one] = _selected(known, one)
        except NotFound:
            continue  # the caller sees what is missing
    return found


def _selected(known: Mapping[str, ImageParameter], selected: str) -> ImageParameter:
    name, selector = split(selected)
    found = known.get(name)
    if found is None:
        raise NotFound("parameter", selected, code="ParameterNotFound", message=f"Parameter {name} not found.")
    if selector is not None and selector != str(found.version):
        message = f"Systems Manager could not find version {selector} of {name}. Its only version is {found.version}."
        raise NotFound("parameter", selected, code="ParameterVersionNotFound", message=message)
    return found


def image_of(tx: Transaction, image_id: str) -> str:
    """Return the id that stands for an image in a request, or that its alias names; raises InvalidParameter."""
    if not image_id.startswith(ALIAS):
        return image_id
    try:
        return find(tx, image_id.removeprefix(ALIAS)).image_id
    except NotFound as absent:
        raise InvalidParameter(f"The image {image_id} could not be resolved: {absent.message}") from absent


def images_of(tx: Transaction, image_ids: Iterable[str]) -> dict[str, str]:
    """Return the ids of the images that aliases among these texts name, by alias; those of no image are left out."""
    aliases = [one for one in image_ids if one.startswith(ALIAS)]
    if not aliases:
        return {}
    found = find_all(tx, [one.removeprefix(ALIAS) for one in aliases])
    return {ALIAS + selected: one.image_id for selected, one in found.items()}
