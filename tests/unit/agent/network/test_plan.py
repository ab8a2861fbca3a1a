"""The steps of a plan, carried out one by one in a toy kernel, lead from any state to any other."""

from hypothesis import given, settings
from hypothesis import strategies as st

from stead_agent.network.kernel_objects import (
    Address,
    Bridge,
    KernelObject,
    Neighbour,
    Place,
    Proxy,
    Route,
    Setting,
    Up,
    Veth,
)
from stead_agent.network.plan import Change, Make, Remove, depends_on, is_replaced, key_of, links_of, plan

HOST, VPC = Place.HOST, Place.VPC


class Kernel:
    """Has objects as a kernel does: what depends on a link needs it, and goes with it."""

    def __init__(self, objects: list[KernelObject]) -> None:
        self.objects = {key_of(obj): obj for obj in objects}
        assert len(self.objects) == len(objects)

    def links(self) -> set[tuple[Place, str]]:
        return {(VPC, "lo"), (HOST, "up0")} | {end for obj in self.objects.values() for end in links_of(obj)}

    def make(self, obj: KernelObject) -> None:
        assert key_of(obj) not in self.objects, f"there already: {obj}"
        self._put(obj)

    def _put(self, obj: KernelObject) -> None:
        needed = depends_on(obj)
        assert needed is None or needed in self.links(), f"no link for {obj}"
        if isinstance(obj, Veth) and obj.master:
            assert (HOST, obj.master) in self.links(), "no bridge for the port"
        self.objects[key_of(obj)] = obj

    def change(self, old: KernelObject, new: KernelObject) -> None:
        assert not is_replaced(old, new)
        before = self.objects[key_of(old)]
        if isinstance(before, Veth) and isinstance(new, Veth):
            changed = {(HOST, new.name)} if before.mac != new.mac else set()
            changed |= {(VPC, new.inner)} if before.inner_mac != new.inner_mac else set()
            self.objects = {
                key: obj
                for key, obj in self.objects.items()
                if not (isinstance(obj, Neighbour) and depends_on(obj) in changed)
            }
        self._put(new)

    def remove(self, obj: KernelObject) -> None:
        found = self.objects.pop(key_of(obj))
        gone = links_of(found)
        self.objects = {key: it for key, it in self.objects.items() if depends_on(it) not in gone}
        for key, it in list(self.objects.items()):
            if isinstance(it, Veth) and (HOST, it.master) in gone:
                self.objects[key] = Veth(it.name, it.alias, it.mtu, it.mac, "", it.inner, it.inner_mac)

    def carry_out(self, steps: list[Make | Change | Remove]) -> None:
        for step in steps:
            match step:
                case Make(obj):
                    self.make(obj)
                case Change(old, new):
                    self.change(old, new)
                case Remove(obj):
                    self.remove(obj)


@st.composite
def states(draw: st.DrawFn) -> list[KernelObject]:
    """A consistent set of objects: whatever needs a link has it."""
    pick = st.sampled_from
    objects: list[KernelObject] = [
        Bridge(name, draw(pick(["x", "y"])), draw(pick([1400, 1500]))) for name in draw(st.sets(pick(["b1", "b2"])))
    ]
    bridges = [obj.name for obj in objects if isinstance(obj, Bridge)]
    for name in draw(st.sets(pick(["v1", "v2", "v3"]))):
        inner = draw(pick([f"i{name}", f"j{name}"]))
        objects.append(
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
    ends = [(VPC, "lo"), (HOST, "up0"), *(end for obj in objects for end in links_of(obj))]
    found: dict[object, KernelObject] = {}
    for place, link in draw(st.lists(pick(ends), max_size=12)):
        address = draw(pick(["10.0.0.1/24", "10.0.0.2/24"]))
        choices: list[KernelObject] = [
            Address(place, link, address),
            Up(place, link),
            Setting(place, f"net/{link}/s", draw(pick(["0", "1"])), link),
            Route(place, address, link, draw(pick(["", "g"]))),
            Neighbour(place, link, address, draw(pick(["m1", "m2"]))),
            *([Proxy(link, address)] if place is HOST else []),
        ]
        obj = draw(pick(choices))
        found[key_of(obj)] = obj
    objects += found.values()
    if draw(st.booleans()):
        objects.append(Setting(VPC, "net/all", draw(pick(["0", "1"]))))
    return objects


@settings(deadline=None)
@given(states(), states())
def test_a_plan_leads_there(old: list[KernelObject], new: list[KernelObject]) -> None:
    kernel = Kernel(old)
    kernel.carry_out(plan(old, new))
    remaining = {
        key: obj for key, obj in kernel.objects.items() if not isinstance(obj, Setting) or key in Kernel(new).objects
    }
    assert remaining == Kernel(new).objects


@settings(deadline=None)
@given(states())
def test_no_difference_no_steps(state: list[KernelObject]) -> None:
    assert plan(state, list(reversed(state))) == []


@settings(deadline=None)
@given(states(), states())
def test_what_stays_as_it_was_is_not_touched(old: list[KernelObject], new: list[KernelObject]) -> None:
    """A link that both have alike is neither removed nor made: its guests' packets go on."""
    for step in plan(old, new):
        if isinstance(step, Make | Remove) and isinstance(step.obj, Bridge | Veth):
            assert step.obj not in old or step.obj not in new


def test_order() -> None:
    """A link is switched on only after its settings, so that its first packet meets them."""
    setting = Setting(VPC, "net/ipv4/conf/i/proxy_arp", "1", "i")
    pair = Veth("v", "x", 1500, "", "b", "i", "m")
    everywhere = Setting(VPC, "net/ipv6/conf/default/disable_ipv6", "1")
    wanted: list[KernelObject] = [
        Up(VPC, "i"),
        Route(VPC, "0.0.0.0/0", "i"),
        setting,
        pair,
        Bridge("b", "x", 1500),
        everywhere,
    ]
    assert [step.obj for step in plan([], wanted) if isinstance(step, Make)] == [
        everywhere, Bridge("b", "x", 1500), pair, setting, Up(VPC, "i"), Route(VPC, "0.0.0.0/0", "i"),
    ]  # fmt: skip
    assert plan(wanted, [everywhere]) == [Remove(pair), Remove(Bridge("b", "x", 1500))]
