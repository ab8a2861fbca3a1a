"""Options of instances' metadata service, from the launch, the account's defaults and the image.

For each option the launch has precedence, then the account's defaults, then the image, then EC2's own defaults. See
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-options.html (order of precedence).
"""

from dataclasses import dataclass
from typing import Final

from stead_controller.db.tables import MetadataDefaults
from stead_controller.errors import InvalidParameter, MissingParameter, Unsupported
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction

_HOPS: Final = range(1, 65)
_NO_PREFERENCE: Final = -1  # of a hop limit
_IMDS_V2: Final = "v2.0"


@dataclass(frozen=True, slots=True)
class MetadataOptions:
    """InstanceMetadataOptionsRequest; None where nothing is asked for."""

    enabled: bool | None = None
    tokens_required: bool | None = None
    hop_limit: int | None = None
    tags: bool | None = None
    ipv6: bool | None = None


@dataclass(frozen=True, slots=True)
class SettledOptions:
    """What an instance is launched with."""

    enabled: bool
    tokens_required: bool
    hop_limit: int
    tags: bool
    ipv6: bool


@dataclass(frozen=True, slots=True)
class PreferredOptions:
    """What an account prefers for its launches; None where it has no preference."""

    enabled: bool | None = None
    tokens_required: bool | None = None
    hop_limit: int | None = None
    tags: bool | None = None
    tokens_enforced: bool | None = None


@dataclass(frozen=True, slots=True)
class DefaultsChange:
    """ModifyInstanceMetadataDefaults: new preferences by column, None where the account has none any more."""

    preferences: dict[str, bool | None]
    hop_limit: int | None = None  # not given; -1 = no preference


def check_hop_limit(value: int | None) -> None:
    """Raise InvalidParameter for a number of hops that is not from 1 to 64."""
    if value is not None and value not in _HOPS:
        raise InvalidParameter(
            f"Value ({value}) for parameter HttpPutResponseHopLimit is invalid. It must be {_HOPS[0]} to {_HOPS[-1]}"
        )


def settle(tx: Transaction, account_id: str, asked: MetadataOptions, imds_support: str) -> SettledOptions:
    """Return the options of a new instance; raises Unsupported without tokens if the account enforces them."""
    mine = lookup.get_rare(tx, MetadataDefaults, account_id) or MetadataDefaults(account_id=account_id)
    needs_tokens = imds_support == _IMDS_V2
    settled = SettledOptions(
        enabled=_first(asked.enabled, mine.enabled, True),
        tokens_required=_first(asked.tokens_required, mine.tokens_required, needs_tokens),
        hop_limit=_first(asked.hop_limit, mine.hop_limit, 2 if needs_tokens else 1),
        tags=_first(asked.tags, mine.tags, False),
        ipv6=_first(asked.ipv6, None, False),
    )
    _check_enforced(mine, tokens_required=settled.tokens_required)
    return settled


def check_change(tx: Transaction, account_id: str, *, tokens_required: bool | None) -> None:
    """Raise Unsupported for a change to optional tokens where the account enforces them."""
    mine = tx.session.get(MetadataDefaults, account_id)
    if mine is not None:
        _check_enforced(mine, tokens_required=tokens_required is not False)


def defaults(tx: Transaction, account_id: str) -> PreferredOptions:
    """Return what an account prefers."""
    mine = tx.session.get(MetadataDefaults, account_id)
    if mine is None:
        return PreferredOptions()
    return PreferredOptions(mine.enabled, mine.tokens_required, mine.hop_limit, mine.tags, mine.tokens_enforced)


def set_defaults(tx: Transaction, caller: Caller, change: DefaultsChange) -> None:
    """Change what the caller's account prefers; raises MissingParameter when nothing is given, InvalidParameter."""
    if not change.preferences and change.hop_limit is None:
        raise MissingParameter("HttpTokens")
    if change.hop_limit != _NO_PREFERENCE:
        check_hop_limit(change.hop_limit)
    mine = tx.session.get(MetadataDefaults, caller.account_id)
    if mine is None:
        mine = MetadataDefaults(account_id=caller.account_id)
        tx.session.add(mine)
    for column, value in change.preferences.items():
        setattr(mine, column, value)
    if change.hop_limit is not None:
        mine.hop_limit = None if change.hop_limit == _NO_PREFERENCE else change.hop_limit


def _check_enforced(mine: MetadataDefaults, *, tokens_required: bool) -> None:
    if mine.tokens_enforced and not tokens_required:
        raise Unsupported(
            "Instances of this account must have httpTokens set to required, because httpTokensEnforced is enabled. "
            "Ask for httpTokens=required, or disable httpTokensEnforced with ModifyInstanceMetadataDefaults."
        )


def _first[T](asked: T | None, preferred: T | None, otherwise: T) -> T:
    if asked is not None:
        return asked
    return otherwise if preferred is None else preferred
