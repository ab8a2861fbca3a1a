"""Which cores an instance gets: all of one memory node, found whenever there are enough, and the tightest gap."""

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from stead_controller.placement.cores import Choice, Core, CoreNeed, Node, choose, needed

MIB = 1 << 20
cores = st.lists(st.tuples(st.integers(1, 2), st.booleans()), max_size=5)
nodes = st.lists(st.tuples(cores, st.integers(-1, 4)), max_size=3).map(
    lambda found: tuple(
        Node(number, tuple(Core(10 * number + place, *each) for place, each in enumerate(has)), pages)
        for number, (has, pages) in enumerate(found)
    )
)
needs = st.builds(CoreNeed, st.integers(1, 4), st.integers(1, 2), st.integers(0, 4))


def usable(node, need):
    return [core.number for core in node.cores if core.free and core.threads >= need.threads_per_core]


@given(nodes, needs, st.sets(st.integers(0, 2)))
def test_cores_of_one_node_are_found_whenever_there_are_enough(found, need, near):
    fitting = [n for n in found if len(usable(n, need)) >= need.cores and n.huge_pages >= need.huge_pages]
    chosen = choose(found, need, near)
    if not fitting:
        assert chosen is None
        return
    node = next(node for node in fitting if node.number == chosen.node)
    assert chosen.cores == tuple(usable(node, need)[: need.cores])
    assert len(chosen.cores) == need.cores
    if any(each.number in near for each in fitting):
        assert node.number in near
    rivals = [each for each in fitting if (each.number in near) == (node.number in near)]
    assert len(usable(node, need)) == min(len(usable(each, need)) for each in rivals)


def test_the_node_that_is_near_goes_before_the_one_with_the_tighter_gap():
    roomy = Node(0, (Core(0, 1), Core(1, 1), Core(2, 1)))
    tight = Node(1, (Core(3, 1),))
    assert choose([roomy, tight], CoreNeed(1)) == Choice(1, (3,))
    assert choose([roomy, tight], CoreNeed(1), {0}) == Choice(0, (0,))
    assert choose([roomy, tight], CoreNeed(2), {1}) == Choice(0, (0, 1))


def test_what_a_type_needs():
    plain = {"whole_cores": False, "huge_pages": False, "memory": 64 * MIB}
    assert needed(SimpleNamespace(**plain), 2, 2) is None
    assert needed(SimpleNamespace(**plain | {"whole_cores": True}), 2, 2) == CoreNeed(2, 2, 0)
    assert needed(SimpleNamespace(**plain | {"whole_cores": True, "huge_pages": True}), 1, 2) == CoreNeed(1, 2, 32)
