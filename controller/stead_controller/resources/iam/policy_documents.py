"""Check policy documents in requests: their grammar and their size, in which IAM does not count white space."""

import re
from typing import Final

from stead_controller.authorization.policy_document import VERSION, MalformedPolicy, parse_new
from stead_controller.resources.iam import iam_quotas

_CHARACTERS: Final = re.compile(r"[\t\n\r\x20-\xff]*")


def check_identity(text: str) -> str:
    """Check and return the document of a managed policy; raises MalformedPolicy, LimitExceeded."""
    _check_characters(text)
    if parse_new(text).version != VERSION:
        raise MalformedPolicy(f"Policy document must be version {VERSION} or greater.")
    if size(text) > iam_quotas.POLICY_SIZE:
        raise iam_quotas.exceeded("PolicySize", iam_quotas.POLICY_SIZE)
    return text


def check_inline(text: str) -> str:
    """Check and return an inline policy's document; raises MalformedPolicy. Its size is checked with the others'."""
    _check_characters(text)
    parse_new(text)
    return text


def check_trust(text: str) -> str:
    """Check and return a role's trust policy; raises MalformedPolicy, LimitExceeded."""
    _check_characters(text)
    for statement in parse_new(text, "trust").statements:
        actions = statement.source.get("Action", [])
        # Checked only here: policies written before this check existed stay valid.
        if any(not one.lower().startswith("sts:") for one in ([actions] if isinstance(actions, str) else actions)):
            raise MalformedPolicy("AssumeRole policy may only specify STS AssumeRole actions.")
    if size(text) > iam_quotas.TRUST_POLICY_SIZE:
        raise iam_quotas.exceeded("ACLSizePerRole", iam_quotas.TRUST_POLICY_SIZE)
    return text


def size(text: str) -> int:
    """The number of characters of a document that count."""
    return len("".join(text.split()))


def _check_characters(text: str) -> None:
    if not _CHARACTERS.fullmatch(text):
        raise MalformedPolicy("The policy contains characters that are not allowed.")
