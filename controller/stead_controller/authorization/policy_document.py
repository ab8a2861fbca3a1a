"""Parse a policy's JSON into statements that can be evaluated: pure.

The grammar is IAM's (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html), read strictly:
unknown elements are refused when a policy is written, never ignored when it is evaluated.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from stead_controller.authorization.conditions import Condition, UnknownOperator, compile_condition
from stead_controller.authorization.patterns import Context, Glob, Pattern, pattern, pieces_of
from stead_controller.authorization.principals import Principals, principals_of
from stead_controller.authorization.text_cache import TextCache
from stead_controller.errors import InvalidParameter

Kind = Literal["identity", "resource", "trust"]

VERSION: Final = "2012-10-17"
"""The version of the grammar that has policy variables."""
_VERSIONS: Final = ("2008-10-17", VERSION)
_DOCUMENT: Final = frozenset({"Version", "Id", "Statement"})
_STATEMENT: Final = frozenset(
    {
        "Sid",
        "Effect",
        "Principal",
        "NotPrincipal",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Condition",
    }
)
_SID: Final = re.compile(r"[0-9A-Za-z]*\Z")
_ACTION: Final = re.compile(r"[a-zA-Z0-9-]+:[a-zA-Z0-9*?-]+\Z")
_CONDITION_KEY: Final = re.compile(r"[a-zA-Z0-9-]+:.+\Z|[a-zA-Z0-9.-]+(/[^:]*)?:[a-zA-Z]+\Z", re.DOTALL)
_CACHE_CHARACTERS: Final = 4 << 20  # compiled documents take about thirty bytes for each
_CACHED_ACTIONS: Final = 64  # in each document


class MalformedPolicy(InvalidParameter):
    """A policy document that IAM's grammar does not allow."""

    def __init__(self, message: str) -> None:
        """Take the message in IAM's words."""
        super().__init__(message, code="MalformedPolicyDocument")


class Actions:
    """The actions that an Action element names, by service, so that one look-up excludes most."""

    __slots__ = ("_every", "_exact", "_globs")

    def __init__(self, texts: Iterable[str]) -> None:
        """Take the element's texts; case does not matter."""
        self._every = False
        self._exact: set[str] = set()
        self._globs: dict[str, list[Glob]] = {}
        for text in texts:
            lower = text.lower()
            service, _, name = lower.partition(":")
            if lower == "*":
                self._every = True
            elif "*" in name or "?" in name:
                compiled = pattern(name, variables=False).fixed
                assert compiled is not None
                self._globs.setdefault(service, []).append(compiled)
            else:
                self._exact.add(lower)

    def include(self, action: str) -> bool:
        """Tell whether an action, in lower case, is among them."""
        if self._every or action in self._exact:
            return True
        if not self._globs:
            return False
        service, _, name = action.partition(":")
        return any(glob.matches(name) for glob in self._globs.get(service, ()))


class Resources:
    """The resources that a Resource element names."""

    __slots__ = ("_every", "_exact", "_patterns", "variables")

    def __init__(self, texts: Iterable[str], *, variables: bool) -> None:
        """Take the element's texts."""
        self._every = False
        self._exact: set[str] = set()
        self._patterns: list[Pattern] = []
        for text in texts:
            pieces = pieces_of(text, variables=variables)
            literal = [piece for piece in pieces if isinstance(piece, str)]
            if text == "*":
                self._every = True
            elif len(literal) == len(pieces):
                self._exact.add("".join(literal))
            else:
                self._patterns.append(pattern(text, variables=variables))
        self.variables = frozenset(key for one in self._patterns for key in one.variables)

    def include(self, arn: str, context: Context) -> bool:
        """Tell whether an ARN, or `*` for an action that has no resource, is among them."""
        if self._every or arn in self._exact:
            return True
        for one in self._patterns:  # noqa: SIM110 - with a thousand statements a generator would be half the cost
            if one.matches(arn, context):
                return True
        return False


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a policy.

    `resources` is None in a role's trust policy, which is about the role itself. `keys` are the condition keys that
    its conditions and variables use, in lower case. `source` is the statement as it was written.
    """

    index: int
    allows: bool
    actions: Actions
    not_actions: bool
    resources: Resources | None
    not_resources: bool
    principals: Principals | None
    not_principals: bool
    conditions: tuple[Condition, ...]
    keys: frozenset[str]
    source: Mapping[str, Any] = field(repr=False)

    @property
    def is_readable(self) -> bool:
        """Whether all values of its conditions are of their operators' types; others would never match."""
        return all(condition.is_readable for condition in self.conditions)

    @property
    def sid(self) -> str:
        """The statement's own name, empty when it has none."""
        return str(self.source.get("Sid", ""))

    def is_about(self, action: str) -> bool:
        """Tell whether the statement covers an action, given in lower case."""
        return self.actions.include(action) != self.not_actions

    def covers(self, arn: str, context: Context) -> bool:
        """Tell whether the statement covers a resource."""
        return self.resources is None or self.resources.include(arn, context) != self.not_resources

    def holds(self, context: Context) -> bool:
        """Tell whether all its conditions are satisfied."""
        return all(condition.holds(context) for condition in self.conditions)


@dataclass(frozen=True, slots=True)
class PolicyDocument:
    """A policy that can be evaluated."""

    statements: tuple[Statement, ...]
    version: str = VERSION
    _about: dict[str, "_About"] = field(default_factory=dict, repr=False, compare=False)

    def about(self, action: str) -> tuple[Statement, ...]:
        """Return the statements about an action, given in lower case; recent results are cached."""
        return (self._about.get(action) or self._look(action))[0]

    def keys_about(self, action: str) -> frozenset[str]:
        """Return the condition keys, in lower case, that decide about an action, given in lower case."""
        return (self._about.get(action) or self._look(action))[1]

    def _look(self, action: str) -> "_About":
        statements = tuple(statement for statement in self.statements if statement.is_about(action))
        found = (statements, frozenset[str]().union(*(statement.keys for statement in statements)))
        if len(self._about) >= _CACHED_ACTIONS:
            self._about.clear()
        self._about[action] = found
        return found


_CACHE: Final = TextCache[PolicyDocument](_CACHE_CHARACTERS)

type _About = tuple[tuple[Statement, ...], frozenset[str]]
"""The statements about an action, and the condition keys that they use."""


def parse(text: str, kind: Kind = "identity") -> PolicyDocument:
    """Parse a policy's JSON, with a cache; raises MalformedPolicy.

    `resource` is a policy of a resource such as a bucket, which names principals; `trust` is that of a role, whose
    resource is the role.
    """
    found = _CACHE.get(text, kind)
    if found is None:
        found = read(text, kind)
        _CACHE.put(text, kind, found)
    return found


def read(text: str, kind: Kind = "identity") -> PolicyDocument:
    """Parse a policy's JSON without the cache, which takes milliseconds; raises MalformedPolicy."""
    document = _json(text)
    if not isinstance(document, dict):
        raise MalformedPolicy("Syntax errors in policy.")
    unknown = set(document) - _DOCUMENT
    version = document.get("Version", _VERSIONS[0])
    if unknown or version not in _VERSIONS or not isinstance(document.get("Id", ""), str):
        raise MalformedPolicy("Syntax errors in policy.")
    statements = document.get("Statement")
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list) or not statements:
        raise MalformedPolicy("Syntax errors in policy.")
    variables = version == VERSION
    read = tuple(_statement(index, one, kind, variables) for index, one in enumerate(statements, 1))
    sids = [statement.sid for statement in read if statement.sid]
    if len(sids) != len(set(sids)):
        raise MalformedPolicy("Statement IDs (SID) in a single policy must be unique.")
    return PolicyDocument(read, version)


def parse_new(text: str, kind: Kind = "identity") -> PolicyDocument:
    """Parse a policy that is being written; raises MalformedPolicy also for what is tolerated in older policies."""
    document = parse(text, kind)
    if not all(statement.is_readable for statement in document.statements):
        raise MalformedPolicy("The policy failed legacy parsing")
    return document


def _json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise MalformedPolicy("This policy contains invalid Json") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise MalformedPolicy("Syntax errors in policy.")  # a duplicate key is ambiguous
    return made


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _statement(index: int, source: object, kind: Kind, variables: bool) -> Statement:
    if not isinstance(source, dict) or set(source) - _STATEMENT:
        raise MalformedPolicy("Syntax errors in policy.")
    sid = source.get("Sid", "")
    if not isinstance(sid, str) or (kind == "identity" and not _SID.match(sid)):
        raise MalformedPolicy(
            "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression "
            "[0-9A-Za-z]*"
        )
    if source.get("Effect") not in ("Allow", "Deny"):
        if "Effect" not in source:
            raise MalformedPolicy("Missing required field Effect")
        raise MalformedPolicy(f"Invalid effect: {str(source['Effect'])[:80]}")
    allows = source["Effect"] == "Allow"
    actions = _one_of(source, "Action", "NotAction", "Policy statement must contain actions.")
    for action in actions:
        _check_action(action)
    resources = _resources(source, kind)
    conditions = _conditions(source.get("Condition", {}), variables)
    compiled = None if resources is None else Resources(resources, variables=variables)
    keys = {condition.key for condition in conditions}.union(*(condition.variables for condition in conditions))
    return Statement(
        index=index,
        allows=allows,
        actions=Actions(actions),
        not_actions="NotAction" in source,
        resources=compiled,
        not_resources="NotResource" in source,
        principals=_principals(source, kind, allows=allows),
        not_principals="NotPrincipal" in source,
        conditions=conditions,
        keys=frozenset(keys if compiled is None else keys | compiled.variables),
        source=source,
    )


def _one_of(source: Mapping[str, Any], name: str, negation: str, missing: str) -> list[str]:
    """Return the strings of an element or of its negation; a statement has exactly one of the two."""
    if (name in source) == (negation in source):
        raise MalformedPolicy("Syntax errors in policy." if name in source else missing)
    texts = _texts(source.get(name, source.get(negation)))
    if not texts:
        raise MalformedPolicy(missing)
    return texts


def _texts(value: object) -> list[str]:
    texts = [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]
    if not isinstance(value, str) and (not isinstance(value, list) or len(texts) != len(value)):
        raise MalformedPolicy("Syntax errors in policy.")
    return texts


def _check_action(action: str) -> None:
    if action == "*" or _ACTION.match(action):
        return
    service, colon, _ = action.partition(":")
    if not colon:
        raise MalformedPolicy("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")
    if not re.fullmatch(r"[a-zA-Z0-9-]+", service):
        raise MalformedPolicy(f"Vendor {service[:80]} is not valid")
    raise MalformedPolicy("Actions/Condition can contain only one colon.")


def _resources(source: Mapping[str, Any], kind: Kind) -> list[str] | None:
    if kind == "trust":
        for name in ("Resource", "NotResource"):
            if name in source:
                raise MalformedPolicy(f"Has prohibited field {name}")
        return None
    resources = _one_of(source, "Resource", "NotResource", "Policy statement must contain resources.")
    for resource in resources:
        _check_resource(resource)
    return resources


def _check_resource(resource: str) -> None:
    if resource == "*":
        return
    parts = resource.split(":", 5)
    if parts[0] != "arn" or len(parts) < 3:
        raise MalformedPolicy(f'Resource {resource[:200]} must be in ARN format or "*".')
    partition, service = parts[1], parts[2]
    if partition not in ("aws", "aws-cn", "aws-us-gov", "*"):
        raise MalformedPolicy(f'Partition "{partition[:40]}" is not valid for resource "{resource[:200]}".')
    if len(parts) < 6 and not parts[-1].endswith("*"):
        raise MalformedPolicy(f'Resource {resource[:200]} must be in ARN format or "*".')
    if not re.fullmatch(r"[a-zA-Z0-9*?-]+", service):
        raise MalformedPolicy(f"Vendor {service[:80]} is not valid")


def _principals(source: Mapping[str, Any], kind: Kind, *, allows: bool) -> Principals | None:
    names = [name for name in ("Principal", "NotPrincipal") if name in source]
    if kind == "identity":
        if names:
            raise MalformedPolicy("Policy document should not specify a principal.")
        return None
    if not names:
        raise MalformedPolicy("Missing required field Principal")
    if len(names) > 1:
        raise MalformedPolicy("Syntax errors in policy.")
    (name,) = names
    if name == "NotPrincipal" and (kind == "trust" or allows):
        raise MalformedPolicy("Has prohibited field NotPrincipal")
    try:
        return principals_of(source[name])
    except ValueError as error:
        raise MalformedPolicy(str(error)) from error


def _conditions(block: object, variables: bool) -> tuple[Condition, ...]:
    if not isinstance(block, dict):
        raise MalformedPolicy("Syntax errors in policy.")
    conditions = []
    for operator, tests in block.items():
        if not isinstance(tests, dict):
            raise MalformedPolicy("Syntax errors in policy.")
        for key, values in tests.items():
            if not _CONDITION_KEY.match(key):
                raise MalformedPolicy("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")
            try:
                conditions.append(compile_condition(operator, key, _values(values), variables=variables))
            except UnknownOperator as error:
                raise MalformedPolicy(f"Invalid Condition type : {operator[:80]}.") from error
    return tuple(conditions)


def _values(values: object) -> Sequence[str]:
    items = values if isinstance(values, list) else [values]
    texts = []
    for item in items:
        if isinstance(item, bool):
            texts.append("true" if item else "false")
        elif isinstance(item, str | int | float):
            texts.append(str(item))
        else:
            raise MalformedPolicy("Syntax errors in policy.")
    return texts
