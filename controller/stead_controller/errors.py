"""Errors with which a request may be refused; only `aws/errors.py` knows how each looks in AWS's protocols.

    SteadError
    ├── BadRequest          the request can never succeed as it is
    │   ├── MissingParameter, UnknownParameter, InvalidParameter, InvalidCombination
        │   ├── MalformedId     an id that does not have the form of its resource type
        │   ├── PriceTooLow     a Spot Instance costs more than it may
        │   └── Unsupported     valid for EC2, not implemented here
    ├── NotFound            a named resource does not exist for this caller
    ├── AlreadyExists       a name or a rule that must be unique is taken
    ├── WrongState          the resource exists, but not in a state that allows this
    ├── InUse               another resource depends on it
    ├── LimitExceeded       a quota of the account
        ├── TooManyRequests     the account calls too often
        │   └── Overloaded      all accounts together change more than the database can follow
        ├── NoCapacity          no host has enough free capacity
    ├── OutOfRoom           the controller's own disk is full
    ├── Unavailable         the database does not answer
    ├── IdempotencyMismatch a ClientToken came again with other parameters
    ├── NotAuthorized       known caller, not allowed
    └── NotAuthenticated    unknown caller, bad signature, expired

Every class carries a message for the user; what only the operator may know goes to the log instead. `code`, if
given, is EC2's own error code where the general rule of the table in `aws/errors.py` would choose another.
"""

from collections.abc import Sequence


class SteadError(Exception):
    """A refusal with a message for the user, and EC2's code where the general table would be wrong."""

    def __init__(self, message: str, *, code: str | None = None) -> None:
        """Store the user's message and, if any, the exact AWS error code."""
        super().__init__(message)
        self.message = message
        self.code = code


class BadRequest(SteadError):
    """The request can never succeed as it is."""


class MissingParameter(BadRequest):
    """A required parameter is absent."""

    def __init__(self, name: str) -> None:
        """Name the parameter as the API spells it."""
        super().__init__(f"The request must contain the parameter {name}")
        self.name = name


class UnknownParameter(BadRequest):
    """A parameter that the operation does not have."""

    def __init__(self, name: str) -> None:
        """Name the parameter as the client sent it."""
        super().__init__(f"The parameter {name} is not recognized")
        self.name = name


class InvalidParameter(BadRequest):
    """A parameter's value is out of its range or set."""


class PriceTooLow(InvalidParameter):
    """A Spot Instance costs more than a request says that it may."""

    def __init__(self, message: str) -> None:
        """Store the message; the code is EC2's."""
        super().__init__(message, code="SpotMaxPriceTooLow")


class InvalidCombination(BadRequest):
    """Parameters that exclude or need each other."""


class Unsupported(BadRequest):
    """EC2 has it, Stead does not (yet)."""


class MalformedId(BadRequest):
    """An id that does not have the form of its resource type."""

    def __init__(self, resource_type: str, bad_id: str) -> None:
        """Store the resource type (as in `catalog/nouns.py`) and the text that is not a valid id of it."""
        super().__init__(f'Invalid id: "{bad_id}"')
        self.resource_type = resource_type
        self.bad_id = bad_id


class NotFound(SteadError):
    """One or several named resources do not exist for this caller."""

    def __init__(
        self, resource_type: str, missing: str | Sequence[str], *, code: str | None = None, message: str | None = None
    ) -> None:
        """Store the resource type (as in `catalog/nouns.py`) and the missing ids or names.

        `message` is for services that word this error in their own way.
        """
        names = [missing] if isinstance(missing, str) else list(missing)
        verb = "does" if len(names) == 1 else "do"
        noun = resource_type.replace("-", " ")
        if len(names) > 1:
            noun += "s"
        quoted = ", ".join(names)
        super().__init__(message or f"The {noun} '{quoted}' {verb} not exist", code=code)
        self.resource_type = resource_type
        self.missing = names
        self.is_worded = message is not None


class AlreadyExists(SteadError):
    """A name or a rule that must be unique is taken."""

    def __init__(self, resource_type: str, message: str, *, code: str | None = None) -> None:
        """Store the resource type whose uniqueness is violated."""
        super().__init__(message, code=code)
        self.resource_type = resource_type


class WrongState(SteadError):
    """The resource is not in a state that allows the request."""

    def __init__(self, resource_type: str, message: str, *, code: str | None = None) -> None:
        """Store the resource type whose state is wrong."""
        super().__init__(message, code=code)
        self.resource_type = resource_type


class InUse(SteadError):
    """Another resource depends on the one to be removed or changed."""


class LimitExceeded(SteadError):
    """A quota of the account is used up."""


class TooManyRequests(SteadError):
    """The account calls an action more often than it may."""

    def __init__(self) -> None:
        """Use a message as short as AWS's."""
        super().__init__("Request limit exceeded.")


class Overloaded(TooManyRequests):
    """A change would have waited too long for the database; nothing was done."""


class NoCapacity(SteadError):
    """No host has enough free capacity for the request.

    `ending` are the Spot Instances that are to end so that it has some later, by their ids.
    """

    def __init__(self, message: str, *, code: str | None = None, ending: Sequence[str] = ()) -> None:
        """Store the message, EC2's code, and the Spot Instances."""
        super().__init__(message, code=code)
        self.ending = tuple(ending)


class OutOfRoom(SteadError):
    """The controller's own disk is full: the requested change could not be stored, or not be recorded."""

    def __init__(self) -> None:
        """State what the caller may do; every service of AWS has this code."""
        message = (
            "The disk of this cloud's controller is full: nothing can be changed until there is room. "
            "Instances, volumes, snapshots and images can be deleted as long as what is reserved for that lasts."
        )
        super().__init__(message, code="ServiceUnavailable")


class Unavailable(SteadError):
    """The database's server is gone, or hangs; whether a change that was asked for is made may not be known."""

    def __init__(self, *, is_known: bool = True) -> None:
        """State what became of the request; every service of AWS has this code."""
        outcome = "nothing was changed" if is_known else "it is not known whether what was asked for is done"
        super().__init__(f"The database of this cloud does not answer: {outcome}.", code="ServiceUnavailable")
        self.is_known = is_known


class IdempotencyMismatch(SteadError):
    """A ClientToken was used before with other parameters."""


class NotAuthorized(SteadError):
    """The caller is known but may not do this."""


class NotAuthenticated(SteadError):
    """The caller could not be established: unknown key, wrong signature, expired request."""
