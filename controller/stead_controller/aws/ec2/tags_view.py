"""Tags as EC2 shows them."""

from collections.abc import Iterable

from stead_controller.aws.call import Result


def tags_view(pairs: Iterable[tuple[str, str]]) -> list[Result]:
    """Show the keys and values of a resource's tags."""
    return [{"Key": key, "Value": value} for key, value in pairs]
