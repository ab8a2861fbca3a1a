"""A second evaluator, written from the documentation with no thought of speed: policies are dicts, read as they stand."""

import ipaddress
import re
from datetime import datetime


def decide(action, arn, principal, context, identity, *, boundary, session, resource, account, must):
    """Give (allowed, explicit deny)."""
    context = {key.lower(): values for key, values in context.items()}

    def effects(documents):
        return [effect for one in documents for effect, _ in spoken(one, action, arn, principal, context)]

    groups = {
        "identity": effects(identity),
        "boundary": None if boundary is None else effects([boundary]),
        "session": None if session is None else effects(session),
        "resource": [] if resource is None else spoken(resource, action, arn, principal, context),
    }
    if "Deny" in [effect for effect, _ in groups["resource"]]:
        return False, True
    if any("Deny" in (groups[name] or []) for name in ("identity", "boundary", "session")):
        return False, True
    grants = {how for _, how in groups["resource"]}
    if principal.kind == "service":
        return bool(grants), False
    limits = all(groups[name] is None or "Allow" in groups[name] for name in ("boundary", "session"))
    own = "Allow" in groups["identity"] and limits
    if account not in ("", principal.account_id):
        return bool(grants) and own, False
    if must and not grants:
        return False, False
    if "session" in grants or ("identity" in grants and principal.kind == "user"):
        return True, False
    if "identity" in grants:
        return limits, False
    return own, False


def spoken(document, action, arn, principal, context):
    """The effects of the statements that are about the request, with how its principal was named."""
    found = []
    for statement in document["Statement"]:
        variables = document["Version"] == "2012-10-17"
        named = who(statement, principal)
        if named is None:
            continue
        actions = statement.get("Action") or statement["NotAction"]
        if any(alike(one.lower(), action.lower()) for one in actions) == ("NotAction" in statement):
            continue
        arns = statement.get("Resource") or statement["NotResource"]
        patterns = [filled(one, context, variables) for one in arns]
        if any(alike(one, arn) for one in patterns if one is not None) == ("NotResource" in statement):
            continue
        block = statement["Condition"]
        if all(
            holds(op, key, values, context, variables) for op, tests in block.items() for key, values in tests.items()
        ):
            found.append((statement["Effect"], named))
    return found


def who(statement, principal):
    """How a statement names the principal; None when it does not."""
    if "Principal" not in statement and "NotPrincipal" not in statement:
        return "identity"
    hows = [how(text, principal) for text in (statement.get("Principal") or statement["NotPrincipal"])["AWS"]]
    if "NotPrincipal" in statement:
        return None if any(hows) else "identity"
    return next((one for one in ("session", "identity", "account") if one in hows), None)


def how(text, principal):
    if principal.kind == "service":
        return None
    if principal.session_arn and text == principal.session_arn:
        return "session"
    if text in ("*", principal.arn) and not text.endswith(":root"):
        return "identity"
    return "account" if text in (principal.account_id, f"arn:aws:iam::{principal.account_id}:root") else None


def filled(text, context, variables):
    """A text with its variables put in: their own wildcards are marked as plain; None when one has no value."""
    missing = []

    def value(found):
        key, _, default = found[1].partition(",")
        values = context.get(key.strip().lower(), [])
        if not values and default:
            return default.strip().strip("'").replace("*", "\1").replace("?", "\2")
        if len(values) != 1:
            missing.append(key)
            return ""
        return values[0].replace("*", "\1").replace("?", "\2")

    made = re.sub(r"\$\{([^}]*)\}", value, text) if variables else text
    return None if missing else made


def alike(pattern, text):
    """Whether a text is what a pattern with wildcards stands for, by trying all ways."""
    if not pattern:
        return not text
    head, rest = pattern[0], pattern[1:]
    if head == "*":
        return alike(rest, text) or (bool(text) and alike(pattern, text[1:]))
    plain = {"\1": "*", "\2": "?"}.get(head, head)
    return bool(text) and (head == "?" or plain == text[0]) and alike(rest, text[1:])


def holds(operator, key, values, context, variables):
    given = context.get(key.lower(), [])
    if operator == "Null":
        return (values == ["true"]) == (not given)
    quantifier, _, name = operator.rpartition(":")
    optional = name.endswith("IfExists")
    name = name.removesuffix("IfExists")
    negated = "Not" in name
    name = name.replace("Not", "")
    if not given:
        return optional or quantifier == "ForAllValues" or (negated and not quantifier)
    fits = [any(same(name, value, one, context, variables) for value in values) for one in given]
    if quantifier == "ForAllValues":
        return not any(fits) if negated else all(fits)
    if quantifier == "ForAnyValue":
        return not all(fits) if negated else any(fits)
    return not any(fits) if negated else any(fits)


def same(name, value, given, context, variables):
    if name.startswith(("String", "Arn", "Bool")):
        value = filled(value, context, variables)
        if value is None:
            return False
        plain = value.replace("\1", "*").replace("\2", "?")
        if name == "Bool":
            return plain.lower() == given.lower() and given.lower() in ("true", "false")
        if name == "StringEquals":
            return plain == given
        if name == "StringEqualsIgnoreCase":
            return plain.lower() == given.lower()
        if name == "ArnLike":
            patterns, parts = value.split(":", 5), given.split(":", 5)
            if len(parts) < 6 or (len(patterns) < 6 and not value.endswith("*")):
                return False
            parts = given.split(":", len(patterns) - 1)
            return all(alike(one, part) for one, part in zip(patterns, parts, strict=True))
        return alike(value, given)
    try:
        if name == "IpAddress":
            return ipaddress.ip_address(given) in ipaddress.ip_network(value)
        if name == "NumericLessThan":
            return float(given) < float(value)
        if name == "NumericEquals":
            return float(given) == float(value)
        return moment(given) > moment(value)  # DateGreaterThan
    except ValueError:
        return False


def moment(text):
    try:
        return float(text)
    except ValueError:
        return datetime.fromisoformat(text).timestamp()
