"""The one transaction in which a request does all its changes.

`aws` and `operator` receive it, hand it on and never look inside; `resources` does its SQL through `tx.session`.
"""

from stead_controller.db.session import Transaction

__all__ = ["Transaction"]
