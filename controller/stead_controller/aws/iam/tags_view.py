"""Tags as IAM shows them, and as requests contain them."""

from collections.abc import Iterable

from stead_controller.aws.call import Params, Result


def tags_view(pairs: Iterable[tuple[str, str]]) -> list[Result]:
    """Show the keys and values of a resource's tags."""
    return [{"Key": key, "Value": value} for key, value in pairs]


def given_tags(params: Params) -> list[tuple[str, str]]:
    """Read the keys and values of a request's tags; empty if it has none."""
    return [(tag["Key"], tag["Value"]) for tag in params.get("Tags", ())]
