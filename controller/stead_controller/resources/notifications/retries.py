"""When a delivery that failed is tried again. Pure.

SNS tries an HTTPS endpoint three times, 20 seconds apart, unless a policy says otherwise. Here it has the policy that
SNS has for its own endpoints, cut to as many retries as a policy for HTTPS may have: for half an hour.
See https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html.
"""

from typing import Any, Final

AT_ONCE: Final = 3
SOON: Final = 2
GROWING: Final = 10
RETRIES: Final = 100
SHORTEST: Final = 1
LONGEST: Final = 20

POLICY: Final[dict[str, Any]] = {
    "minDelayTarget": SHORTEST,
    "maxDelayTarget": LONGEST,
    "numRetries": RETRIES,
    "numMaxDelayRetries": RETRIES - AT_ONCE - SOON - GROWING,
    "numNoDelayRetries": AT_ONCE,
    "numMinDelayRetries": SOON,
    "backoffFunction": "exponential",
}
"""The same in SNS's words."""


def delay(tries: int) -> float | None:
    """Return the seconds after so many failed attempts until the next one; None if there is none."""
    if tries > RETRIES:
        return None
    if tries <= AT_ONCE:
        return 0
    grown = min(max(tries - AT_ONCE - SOON, 0), GROWING) / GROWING
    return float(SHORTEST * (LONGEST / SHORTEST) ** grown)
