"""The difference of two tables, carried out, is the second one."""

import re
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from stead_agent.firewall.table import Chain, CtTimeout, NamedSet, Statement, Table, changes, whole, written
from stead_agent.roster import Roster

_SETS = ["s1", "s2", "s3"]
_CHAINS = ["c1", "c2", "c3"]
_TIMEOUTS = {name: CtTimeout("", "tcp", (("established", number),)) for number, name in enumerate(("t1", "t2", "t3"))}

elements = st.frozensets(st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3"]))
rules = st.lists(
    st.sampled_from(
        [
            "accept",
            "drop",
            *(f"ip saddr @{name} accept" for name in _SETS),
            *(f"jump {name}" for name in _CHAINS),
            *(f'ct timeout set "{name}"' for name in _TIMEOUTS),
        ]
    ),
    max_size=3,
)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """A table whose rules only name what it has."""
    sets = {name: NamedSet("", "type ipv4_addr", draw(elements)) for name in draw(st.sets(st.sampled_from(_SETS)))}
    timeouts = {name: _TIMEOUTS[name] for name in draw(st.sets(st.sampled_from([*_TIMEOUTS])))}
    names = draw(st.sets(st.sampled_from(_CHAINS)))
    chains = {}
    for name in names:
        known = [rule for rule in draw(rules) if _named(rule) <= sets.keys() | timeouts.keys() | (names - {name})]
        chains[name] = Chain("", tuple(Statement("", rule) for rule in known))
    return Table("inet", "t", "", sets, chains, timeouts=timeouts)


def _named(rule: str) -> set[str]:
    return set(re.findall(r"(?:@|jump |timeout set \")(\w+)", rule))


class Kernel:
    """Does what the kernel would do with the commands, and refuses what it would refuse."""

    def __init__(self, table: Table) -> None:
        self.sets = {name: set(it.elements) for name, it in table.sets.items()}
        self.chains = {name: [rule.text for rule in it.rules] for name, it in table.chains.items()}
        self.timeouts = {name: "\n".join(it.properties) for name, it in table.timeouts.items()}

    def users(self, name: str) -> list[str]:
        return [rule for chain in self.chains.values() for rule in chain if name in _named(rule)]

    def run(self, command: str) -> None:
        words = re.fullmatch(
            r"(add|delete|flush) (set|map|element|chain|rule|ct timeout) inet t (\w+) ?(.*)", command, re.DOTALL
        )
        assert words, command
        verb, kind, name, rest = words.groups()
        given = set(rest.strip("{} ").split(", ")) if kind == "element" else set()
        match verb, kind:
            case "add", "set":
                assert name not in self.sets
                self.sets[name] = set()
            case "delete", "set":
                assert not self.users(name), "the set is in use"
                del self.sets[name]
            case "add", "element":
                assert not given & self.sets[name], "there already"
                self.sets[name] |= given
            case "delete", "element":
                assert given <= self.sets[name], "not there"
                self.sets[name] -= given
            case "add", "ct timeout":
                assert name not in self.timeouts
                self.timeouts[name] = rest[1:-1].strip()
            case "delete", "ct timeout":
                assert not self.users(name), "the timeout is in use"
                del self.timeouts[name]
            case "add", "chain":
                assert name not in self.chains
                self.chains[name] = []
            case "flush", "chain":
                self.chains[name] = []
            case "delete", "chain":
                assert not self.users(name), "the chain is in use"
                assert not self.chains[name], "the chain has rules"
                del self.chains[name]
            case "add", "rule":
                assert _named(rest) <= self.sets.keys() | self.chains.keys() | self.timeouts.keys(), (
                    "names what is not there"
                )
                self.chains[name].append(rest)


@settings(deadline=None)
@given(tables(), tables())
def test_changes_turn_one_table_into_the_other(old: Table, new: Table) -> None:
    kernel = Kernel(old)
    for command in re.split(r"\n(?=add |delete |flush )", changes(old, new).strip()):
        if command:
            kernel.run(command)
    wanted = Kernel(new)
    assert (kernel.sets, kernel.chains, kernel.timeouts) == (wanted.sets, wanted.chains, wanted.timeouts)


@settings(deadline=None)
@given(tables())
def test_no_difference_no_commands(table: Table) -> None:
    assert changes(table, table) == ""


def test_one_element_more_is_one_command() -> None:
    old = Table("inet", "t", "", {"s": NamedSet("", "type ipv4_addr", frozenset(f"10.0.0.{n}" for n in range(200)))})
    more = NamedSet("", "type ipv4_addr", old.sets["s"].elements | {"10.0.1.1"})
    assert changes(old, replace(old, sets={"s": more})) == "add element inet t s { 10.0.1.1 }\n"


def test_changed_value_of_a_map_is_deleted_and_added() -> None:
    old = Table(
        "inet", "t", "", {"m": NamedSet("", "type ipv4_addr : verdict", frozenset({"10.0.0.1 : goto a"}), is_map=True)}
    )
    new = replace(old, sets={"m": replace(old.sets["m"], elements=frozenset({"10.0.0.1 : goto b"}))})
    assert changes(old, new).splitlines() == [
        "delete element inet t m { 10.0.0.1 : goto a }",
        "add element inet t m { 10.0.0.1 : goto b }",
    ]


def test_what_cannot_be_changed_is_made_anew() -> None:
    """Base chains and set declarations: a new version of the agent brings a whole table."""
    hook = Chain("", (), "type filter hook forward priority 0; policy drop;")
    once = {"t": CtTimeout("", "tcp", (("established", 1),))}
    old = Table("inet", "t", "", {"s": NamedSet("", "type ipv4_addr")}, {"f": hook}, timeouts=once)
    for new in (
        replace(old, chains={"f": replace(hook, hook="type filter hook forward priority 1; policy drop;")}),
        replace(old, chains={}),
        replace(old, chains={**old.chains, "g": hook}),
        replace(old, sets={"s": NamedSet("", "type ifname")}),
        replace(old, sets={"s": NamedSet("", "type ipv4_addr : verdict", is_map=True)}),
        replace(old, flags="owner"),
        replace(old, timeouts={"t": CtTimeout("", "tcp", (("established", 2),))}),
    ):
        assert changes(old, new) == whole(new)


def test_written_for_people() -> None:
    table = Table(
        "inet",
        "stead",
        "An example.",
        {"members": NamedSet("Who is in.", "type ipv4_addr", frozenset({"10.0.0.2", "10.0.0.1"}))},
        {
            "in": Chain(
                "Who gets in.",
                (Statement("members", "ip saddr @members accept"),),
                "type filter hook input priority 0;",
            )
        },
        "owner",
    )
    assert (
        written(table)
        == """\
# An example.
table inet stead {
  flags owner

  # Who is in.
  set members {
    type ipv4_addr
    elements = {
      10.0.0.1, 10.0.0.2,
    }
  }

  # Who gets in.
  chain in {
    type filter hook input priority 0;
    # members
    ip saddr @members accept
  }
}
"""
    )
    assert whole(table).startswith("add table inet stead { flags owner; }\ndelete table inet stead\n# An example.\n")


PLAIN = Chain("", (Statement("", "accept"),))
BASE = Chain("", (), "type filter hook forward priority 0; policy drop;")
STATES = CtTimeout("Idle.", "udp", (("unreplied", 30), ("replied", 60)))


def test_a_table_without_flags_replaces_what_has_its_name() -> None:
    empty = Table("inet", "t", "why")
    assert whole(empty) == "add table inet t\ndelete table inet t\n# why\ntable inet t {\n}\n"


def test_empty_sets_plain_chains_maps_and_timeouts_are_written() -> None:
    table = Table(
        "inet",
        "t",
        "why",
        {
            "s": NamedSet("A set.", "type ipv4_addr"),
            "m": NamedSet("A map.", "type ipv4_addr : verdict", frozenset({"10.0.0.1 : drop"}), is_map=True),
        },
        {"c": Chain("A chain.", (Statement("all", "accept"),))},
        timeouts={"t": STATES},
    )
    assert [line.strip() for line in written(table).splitlines() if line] == [
        "# why",
        "table inet t {",
        "# Idle.",
        "ct timeout t {",
        "protocol udp",
        "policy = { unreplied : 30, replied : 60 }",
        "}",
        "# A set.",
        "set s {",
        "type ipv4_addr",
        "}",
        "# A map.",
        "map m {",
        "type ipv4_addr : verdict",
        "elements = {",
        "10.0.0.1 : drop,",
        "}",
        "}",
        "# A chain.",
        "chain c {",
        "# all",
        "accept",
        "}",
        "}",
    ]


def test_eight_elements_stand_in_a_line() -> None:
    numbers = frozenset(f"10.0.0.{number}" for number in range(10, 27))
    table = Table("inet", "t", "", {"s": NamedSet("", "type ipv4_addr", numbers)})
    lines = [line for line in written(table).splitlines() if line.startswith("      ")]
    assert [line.count(",") for line in lines] == [8, 8, 1]
    assert " ".join(lines).replace(",", "").split() == sorted(numbers)


def test_maps_come_and_go_by_their_own_word() -> None:
    none = Table("inet", "t", "")
    one = replace(none, sets={"m": NamedSet("", "type ipv4_addr : verdict", is_map=True)})
    assert changes(none, one) == "add map inet t m { type ipv4_addr : verdict; }\n"
    assert changes(one, none) == "delete map inet t m\n"


def test_base_chains_that_stay_let_all_else_change_by_itself() -> None:
    old = Table("inet", "t", "", {"s": NamedSet("", "type ipv4_addr")}, {"f": BASE, "c": PLAIN}, timeouts={"t": STATES})
    for new in (
        replace(old, chains={"f": BASE}),
        replace(old, chains={**old.chains, "d": PLAIN}),
        replace(old, sets={}),
        replace(old, timeouts={}),
        replace(old, timeouts={**old.timeouts, "u": STATES}),
    ):
        assert "delete table" not in changes(old, new)
    assert changes(old, replace(old, why="in other words")) == ""


def test_a_table_of_another_name_or_family_is_made_whole() -> None:
    old = Table("inet", "t", "")
    for new in (replace(old, name="u"), replace(old, family="bridge")):
        assert changes(old, new) == whole(new)


def test_a_chain_that_gets_or_loses_its_hook_is_made_with_its_table() -> None:
    plain, base = (Table("inet", "t", "", {}, {"f": chain}) for chain in (replace(BASE, hook=""), BASE))
    assert changes(plain, base) == whole(base)
    assert changes(base, plain) == whole(plain)
    assert changes(Table("inet", "t", ""), base) == whole(base)


def test_what_is_named_is_made_before_and_removed_after() -> None:
    using = Chain("", (Statement("", "ip saddr @s jump c"), Statement("", 'ct timeout set "t"')))
    none = Table("inet", "t", "", {}, {"u": Chain("", ())})
    used = Table(
        "inet", "t", "", {"s": NamedSet("", "type ipv4_addr", frozenset({"10.0.0.1"}))}, timeouts={"t": STATES}
    )
    used = replace(used, chains={"u": using, "c": PLAIN})
    made, gone = changes(none, used).splitlines(), changes(used, none).splitlines()
    first_rule = next(index for index, line in enumerate(made) if line.startswith("add rule"))
    assert {"add chain inet t c", "add set inet t s { type ipv4_addr; }"} < {*made[:first_rule]}
    assert [line[:14] for line in made[first_rule - 1 :]] == [
        "flush chain in",
        *["add rule inet "] * 3,
        "add element in",
    ]
    assert gone == [
        "flush chain inet t u",
        "flush chain inet t c",
        "delete chain inet t c",
        "delete set inet t s",
        "delete ct timeout inet t t",
    ]


def test_of_elements_of_which_others_were_made_only_what_has_changed_is_looked_at() -> None:
    before = Roster(f"10.0.0.{number}" for number in range(9))
    after = before.after(("10.0.1.1",), ("10.0.0.3",))
    after.log.now.clear()  # is not looked at
    old, new = (Table("inet", "t", "", {"m": NamedSet("", "type ipv4_addr", each)}) for each in (before, after))
    assert changes(old, new) == "delete element inet t m { 10.0.0.3 }\nadd element inet t m { 10.0.1.1 }\n"
