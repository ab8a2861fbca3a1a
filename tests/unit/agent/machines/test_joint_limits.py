"""How what all volumes of a guest together may do is divided among them."""

from hypothesis import assume, given
from hypothesis import strategies as st

from stead_agent.machines.joint_limits import Want, divide, is_worth_it, total

MOST = 10**9
WANTS = st.lists(
    st.builds(Want, own=st.integers(0, MOST), share=st.integers(0, MOST), used=st.floats(0, MOST, allow_nan=False)),
    min_size=1,
    max_size=28,
)
LIMITS = st.integers(28, MOST)


@given(LIMITS, WANTS)
def test_shares_are_within_the_limit_and_each_volumes_own(limit, wants):
    shares = divide(limit, wants)
    assert len(shares) == len(wants)
    assert sum(shares) <= limit
    for share, want in zip(shares, wants, strict=True):
        assert 1 <= share <= (want.own or limit)


@given(LIMITS, WANTS)
def test_nothing_is_left_that_a_volume_may_use(limit, wants):
    """All is given but what does not divide evenly, or what own limits forbid."""
    assert sum(divide(limit, wants)) > min(limit, total(limit, wants)) - 2 * len(wants)


@given(LIMITS, WANTS)
def test_each_volume_can_begin(limit, wants):
    for share, want in zip(divide(limit, wants), wants, strict=True):
        assert share >= min(want.own or limit, limit // (25 * len(wants)))


@given(LIMITS, st.integers(1, 28), st.data())
def test_volumes_that_all_want_more_get_the_same(limit, count, data):
    owns = data.draw(st.lists(st.integers(1, limit), min_size=count, max_size=count))
    shares = divide(limit, [Want(own) for own in owns])
    capped = [share for share, own in zip(shares, owns, strict=True) if share < own]
    assert all(share + 2 >= max(shares) for share in capped)


def test_a_single_volume_has_the_smaller_limit():
    assert divide(100, [Want(0)]) == divide(100, [Want(300)]) == (100,)
    assert divide(100, [Want(40, share=10, used=0)]) == (40,)


def test_own_limits_within_the_limit_are_the_shares():
    assert divide(100, [Want(40), Want(60, share=1)]) == (40, 60)


def test_what_one_volume_leaves_another_gets():
    idle, busy = Want(0, share=5000, used=0), Want(0, share=5000, used=5000)
    assert divide(10_000, [idle, busy]) == (200, 9800)
    little = Want(0, share=5000, used=1600)
    assert divide(10_000, [little, busy]) == (1800, 8200)
    begins = Want(0, share=200, used=190)
    assert divide(10_000, [begins, Want(0, share=9800, used=9700)]) == (5000, 5000)


@given(LIMITS, WANTS)
def test_shares_that_were_just_set_stay(limit, wants):
    """As long as each volume uses its share in the same measure, nothing is set again."""
    shares = divide(limit, wants)
    again = [
        Want(want.own, share, share if want.is_saturated else share / 2)
        for want, share in zip(wants, shares, strict=True)
    ]
    anew = divide(limit, again)
    settled = [Want(want.own, share, want.used) for want, share in zip(again, anew, strict=True)]
    assume(all(want.is_saturated == before.is_saturated for want, before in zip(settled, again, strict=True)))
    assert not is_worth_it(limit, settled, divide(limit, settled))


def test_new_shares_are_set_where_that_is_worth_it():
    def worth(limit, *wants):
        return is_worth_it(limit, wants, divide(limit, wants))

    assert worth(100, Want(0))  # its share is not known
    assert worth(100, Want(0, share=101))  # too much
    assert worth(100, Want(60, share=61), Want(60, share=30))
    assert worth(100, Want(60, share=51), Want(60, share=50))  # too much together
    assert worth(100, Want(60, share=40), Want(40, share=40))  # its own limit alone counts now
    assert not worth(100, Want(60, share=60), Want(40, share=40))
    assert worth(1000, Want(0, share=500, used=500), Want(0, share=500, used=0))  # it wants more, and gets it
    assert not worth(1000, Want(0, share=980, used=980), Want(0, share=20, used=0))  # and has got it
    assert worth(1000, Want(0, share=980, used=0), Want(0, share=20, used=0))  # could begin with more
    assert not worth(1000, Want(0, share=480, used=300), Want(0, share=520, used=10))
