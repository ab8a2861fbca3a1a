"""The steps of a plan, carried out one by one in a toy kernel, lead from any state to any other."""

from hypothesis import given, settings
from hypothesis import strategies as st

from stead_agent.network.kernel_objects import Address, Bridge, Neighbour, Place, Proxy, Route, Setting, Thing, Up, Veth
from stead_agent.network.plan import Change, Make, Remove, depends_on, is_replaced, key_of, links_of, plan

HOST, VPC = Place.HOST, Place.VPC


class Kernel:
    """Keeps things as a kernel does: what depends on a link needs it, and goes with it."""

    def __init__(self, things: list[Thing]) -> None:
        self.things = {key_of(thing): thing for thing in things}
        assert len(self.things) == len(things)

    def links(self) -> set[tuple[Place, str]]:
        return {(VPC, "lo"), (HOST, "up0")} | {end for thing in self.things.values() for end in links_of(thing)}

    def make(self, thing: Thing) -> None:
        assert key_of(thing) not in self.things, f"there already: {thing}"
        self._put(thing)

    def _put(self, thing: Thing) -> None:
        needed = depends_on(thing)
        assert needed is None or needed in self.links(), f"no link for {thing}"
        if isinstance(thing, Veth) and thing.master:
            assert (HOST, thing.master) in self.links(), "no bridge for the port"
        self.things[key_of(thing)] = thing

    def change(self, old: Thing, new: Thing) -> None:
        assert not is_replaced(old, new)
        before = self.things[key_of(old)]
        if isinstance(before, Veth) and isinstance(new, Veth):
            changed = {(HOST, new.name)} if before.mac != new.mac else set()
            changed |= {(VPC, new.inner)} if before.inner_mac != new.inner_mac else set()
            self.things = {
                key: thing
                for key, thing in self.things.items()
                if not (isinstance(thing, Neighbour) and depends_on(thing) in changed)
            }
        self._put(new)

    def remove(self, thing: Thing) -> None:
        found = self.things.pop(key_of(thing))
        gone = links_of(found)
        self.things = {key: it for key, it in self.things.items() if depends_on(it) not in gone}
        for key, it in list(self.things.items()):
            if isinstance(it, Veth) and (HOST, it.master) in gone:
                self.things[key] = Veth(it.name, it.alias, it.mtu, it.mac, "", it.inner, it.inner_mac)

    def carry_out(self, steps: list[Make | Change | Remove]) -> None:
        for step in steps:
            match step:
                case Make(thing):
                    self.make(thing)
                case Change(old, new):
                    self.change(old, new)
                case Remove(thing):
                    self.remove(thing)


@st.composite
def states(draw: st.DrawFn) -> list[Thing]:
    """A consistent set of things: whatever needs a link has it."""
    pick = st.sampled_from
    things: list[Thing] = [
        Bridge(name, draw(pick(["x", "y"])), draw(pick([1400, 1500]))) for name in draw(st.sets(pick(["b1", "b2"])))
    ]
    bridges = [thing.name for thing in things if isinstance(thing, Bridge)]
    for name in draw(st.sets(pick(["v1", "v2", "v3"]))):
        inner = draw(pick([f"i{name}", f"j{name}"]))
        things.append(
            Veth(
                name,
                "x",
                draw(pick([1400, 1500])),
                draw(pick(["m1", "m2"])),
                draw(pick(["", *bridges])),
                inner,
                draw(pick(["m1", "m2"])),
            )
        )
    ends = [(VPC, "lo"), (HOST, "up0"), *(end for thing in things for end in links_of(thing))]
    found: dict[object, Thing] = {}
    for place, link in draw(st.lists(pick(ends), max_size=12)):
        address = draw(pick(["10.0.0.1/24", "10.0.0.2/24"]))
        choices: list[Thing] = [
            Address(place, link, address),
            Up(place, link),
            Setting(place, f"net/{link}/s", draw(pick(["0", "1"])), link),
            Route(place, address, link, draw(pick(["", "g"]))),
            Neighbour(place, link, address, draw(pick(["m1", "m2"]))),
            *([Proxy(link, address)] if place is HOST else []),
        ]
        thing = draw(pick(choices))
        found[key_of(thing)] = thing
    things += found.values()
    if draw(st.booleans()):
        things.append(Setting(VPC, "net/all", draw(pick(["0", "1"]))))
    return things


@settings(deadline=None)
@given(states(), states())
def test_a_plan_leads_there(old: list[Thing], new: list[Thing]) -> None:
    kernel = Kernel(old)
    kernel.carry_out(plan(old, new))
    kept = {
        key: thing
        for key, thing in kernel.things.items()
        if not isinstance(thing, Setting) or key in Kernel(new).things
    }
    assert kept == Kernel(new).things


@settings(deadline=None)
@given(states())
def test_no_difference_no_steps(state: list[Thing]) -> None:
    assert plan(state, list(reversed(state))) == []


@settings(deadline=None)
@given(states(), states())
def test_what_stays_as_it_was_is_not_touched(old: list[Thing], new: list[Thing]) -> None:
    """A link that both have alike is neither removed nor made: its guests' packets go on."""
    for step in plan(old, new):
        if isinstance(step, Make | Remove) and isinstance(step.thing, Bridge | Veth):
            assert step.thing not in old or step.thing not in new


def test_order() -> None:
    """A link is switched on only after its settings, so that its first packet meets them."""
    setting = Setting(VPC, "net/ipv4/conf/i/proxy_arp", "1", "i")
    pair = Veth("v", "x", 1500, "", "b", "i", "m")
    everywhere = Setting(VPC, "net/ipv6/conf/default/disable_ipv6", "1")
    wanted: list[Thing] = [
        Up(VPC, "i"),
        Route(VPC, "0.0.0.0/0", "i"),
        setting,
        pair,
        Bridge("b", "x", 1500),
        everywhere,
    ]
    assert [step.thing for step in plan([], wanted) if isinstance(step, Make)] == [
        everywhere, Bridge("b", "x", 1500), pair, setting, Up(VPC, "i"), Route(VPC, "0.0.0.0/0", "i"),
    ]  # fmt: skip
    assert plan(wanted, [everywhere]) == [Remove(pair), Remove(Bridge("b", "x", 1500))]
