"""An image row becomes an `Image`."""

from stead_controller.db.tables import Image
from stead_proto.v1 import desired_pb2 as pb


def of_image(image: Image) -> pb.Image:
    """What a host must know to fetch an image's base and to check it."""
    return pb.Image(
        sha256=image.sha256, file_size=image.file_size, virtual_size=image.virtual_size, format=image.format
    )
