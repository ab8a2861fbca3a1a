"""The single transaction in which a request makes all its changes.

`aws` and `operator` receive it, pass it on and never look inside; `resources` runs its SQL through `tx.session`.
"""

from stead_controller.db.session import Transaction

__all__ = ["Transaction"]
