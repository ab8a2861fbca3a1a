"""The limits and the performance of each volume type; pure.

Numbers: https://docs.aws.amazon.com/ebs/latest/userguide/ebs-volume-types.html.
"""

from dataclasses import dataclass
from typing import Final

from stead_controller.errors import InvalidCombination, InvalidParameter, MissingParameter

DEFAULT: Final = "gp2"
"""The default type of a volume."""


@dataclass(frozen=True, slots=True)
class VolumeType:
    """Minimum and maximum GiB; minimum and maximum IOPS where they can be set, and IOPS per GiB; MiB/s likewise."""

    least_size: int
    most_size: int
    iops: tuple[int, int] | None = None
    iops_per_gib: int = 0
    needs_iops: bool = False
    throughput: tuple[int, int] | None = None


ALL: Final = {
    "gp2": VolumeType(1, 16384),
    "gp3": VolumeType(1, 65536, (3000, 80000), 500, throughput=(125, 2000)),
    "io1": VolumeType(4, 16384, (100, 64000), 50, needs_iops=True),
    "io2": VolumeType(4, 65536, (100, 256000), 1000, needs_iops=True),
    "st1": VolumeType(125, 16384),
    "sc1": VolumeType(125, 16384),
    "standard": VolumeType(1, 1024),
}


_NEVER_ROOT: Final = ("st1", "sc1")


@dataclass(frozen=True, slots=True)
class Shape:
    """A volume's size in GiB, its type, and its requested IOPS and MiB/s."""

    size: int
    volume_type: str
    iops: int | None = None
    throughput: int | None = None


def complete(shape: Shape) -> Shape:
    """Check what is requested for a volume and fill in its type's defaults.

    Raises InvalidParameter, InvalidCombination, MissingParameter as EC2 does.
    """
    kind = ALL.get(shape.volume_type)
    if kind is None:
        raise InvalidParameter(f"Unknown volume type: {shape.volume_type}", code="UnknownVolumeType")
    if not kind.least_size <= shape.size <= kind.most_size:
        raise InvalidParameter(
            f"Volume of {shape.size}GiB is invalid. The size of {shape.volume_type} volumes must be at least "
            f"{kind.least_size}GiB and at most {kind.most_size}GiB."
        )
    iops = _iops(kind, shape)
    return Shape(shape.size, shape.volume_type, iops, _throughput(kind, shape, iops))


def check_root(volume_type: str) -> None:
    """Raise InvalidParameter for a type that a root volume cannot have."""
    if volume_type in _NEVER_ROOT:
        raise InvalidParameter(
            f"Invalid value '{volume_type}' for VolumeType: {volume_type} volumes cannot be used as root volumes."
        )


def _iops(kind: VolumeType, shape: Shape) -> int | None:
    if kind.iops is None:
        if shape.iops is not None:
            raise InvalidCombination(f"The parameter iops is not supported for {shape.volume_type} volumes.")
        return max(100, min(16000, 3 * shape.size)) if shape.volume_type == "gp2" else None
    least, most = kind.iops
    if shape.iops is None:
        if kind.needs_iops:
            raise MissingParameter("iops")
        return least
    if not least <= shape.iops <= most:
        word = "low" if shape.iops < least else "high"
        raise InvalidParameter(
            f"Volume iops of {shape.iops} is too {word}; {shape.volume_type} volumes have from {least} to {most}."
        )
    if shape.iops > least and shape.iops > kind.iops_per_gib * shape.size:
        raise InvalidParameter(
            f"Iops to volume size ratio of {shape.iops / shape.size:.6f} is too high; maximum is {kind.iops_per_gib} "
            "per GiB",
            code="InvalidParameterValue",
        )
    return shape.iops


def _throughput(kind: VolumeType, shape: Shape, iops: int | None) -> int | None:
    if kind.throughput is None:
        if shape.throughput is not None:
            raise InvalidCombination(f"The parameter throughput is not supported for {shape.volume_type} volumes.")
        return None
    least, most = kind.throughput
    if shape.throughput is None:
        return least
    if not least <= shape.throughput <= most:
        raise InvalidParameter(
            f"Throughput of {shape.throughput} MiB/s is not from {least} to {most} MiB/s, as {shape.volume_type} "
            "volumes have it."
        )
    if iops is not None and shape.throughput * 4 > iops:
        raise InvalidParameter(
            f"Throughput (MiBps) to iops ratio of {shape.throughput / iops:.6f} is too high; maximum is 0.25 MiBps per "
            "iops."
        )
    return shape.throughput


_TIB: Final = 1024
# MiB/s per TiB, and the maximum MiB/s, while there are burst credits.
_BURST: Final = {"st1": (250, 500), "sc1": (80, 250)}


def limits(shape: Shape) -> tuple[int, int]:
    """The IOPS and MiB/s that a volume is limited to; 0 means no limit."""
    size = shape.size
    match shape.volume_type:
        case "gp2":
            return shape.iops or 0, 128 if size <= 170 else 250
        case "st1" | "sc1":
            each, most = _BURST[shape.volume_type]
            return 0, max(1, min(most, each * size // _TIB))
        case "standard":
            return 200, 90
        case "io1" | "io2":
            most = 1000 if shape.volume_type == "io1" else 4000
            return shape.iops or 0, max(16, min(most, (shape.iops or 0) // 4))
    return shape.iops or 0, shape.throughput or 0
