"""Parse InstanceMarketOptions: Spot Instances by one-time requests, which end when they are interrupted.

EC2 has persistent ones there only for instances that are stopped or hibernated when they are interrupted.

See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_SpotMarketOptions.html.
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from stead_controller.errors import InvalidCombination, InvalidParameter, Unsupported

_MARKETS: Final = ("capacity-block", "interruptible-capacity-reservation")
_BEHAVIORS: Final = ("hibernate", "stop")


def is_spot(params: Mapping[str, Any]) -> bool:
    """Tell whether a launch is for Spot Instances.

    Raises InvalidParameter, InvalidCombination, and Unsupported for other markets and persistent requests.
    """
    given = params.get("InstanceMarketOptions", {})
    market, options = given.get("MarketType"), given.get("SpotOptions", {})
    if market is None:
        if options:
            raise InvalidCombination("The parameter spotOptions needs the marketType spot.")
        return False
    if market in _MARKETS:
        raise Unsupported(f"The MarketType {market} is not supported.")
    if market != "spot":
        raise InvalidParameter(f"Value ({market}) for parameter marketType is invalid.")
    check_options(options)
    return True


def check_options(options: Mapping[str, Any]) -> None:
    """Check SpotOptions; raises what `is_spot` raises."""
    kind = options.get("SpotInstanceType", "one-time")
    if kind not in ("one-time", "persistent"):
        raise InvalidParameter(f"Value ({kind}) for parameter spotInstanceType is invalid.")
    check_interruption(options, kind)
    if kind == "persistent":
        raise InvalidCombination(
            "The request with type 'persistent' is not supported when instanceInterruptionBehavior is set to "
            "'terminate'."
        )
    if options.get("ValidUntil") is not None:
        raise InvalidCombination(
            "The parameter validUntil cannot be specified when the SpotRequestType is set to 'one-time'."
        )
    if options.get("BlockDurationMinutes") is not None:
        raise Unsupported("The parameter BlockDurationMinutes is not supported.")


def max_price(params: Mapping[str, Any]) -> Decimal | None:
    """Return the most that an hour of a Spot Instance may cost; None if that is not said. Raises InvalidParameter."""
    given = params.get("InstanceMarketOptions", {}).get("SpotOptions", {}).get("MaxPrice")
    if not given:
        return None
    try:
        price = Decimal(given)
    except InvalidOperation:
        price = Decimal("NaN")
    if not price.is_finite() or price <= 0:
        raise InvalidParameter(f"Value ({given}) for parameter price is invalid.")
    return price


def check_interruption(options: Mapping[str, Any], kind: str) -> None:
    """Check what is to become of interrupted instances of a kind of request.

    Raises InvalidParameter, InvalidCombination for what no one-time request may have, Unsupported for the rest of it.
    """
    behavior = options.get("InstanceInterruptionBehavior", "terminate")
    if behavior in _BEHAVIORS and kind == "persistent":
        raise Unsupported(
            f"The InstanceInterruptionBehavior {behavior} is not supported: interrupted instances are terminated."
        )
    if behavior in _BEHAVIORS:
        raise InvalidCombination(
            f"The request with type 'one-time' is not supported when instanceInterruptionBehavior is set to "
            f"'{behavior}'."
        )
    if behavior != "terminate":
        raise InvalidParameter(f"Value ({behavior}) for parameter instanceInterruptionBehavior is invalid.")
