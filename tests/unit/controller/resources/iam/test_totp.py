"""One-time passwords: the RFCs' own values, and which steps count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.resources.iam import totp

SEED = b"12345678901234567890"


@pytest.mark.parametrize(
    ("seconds", "code"),
    [  # RFC 6238, appendix B, of which six digits are shown
        (59, "94287082"),
        (1111111109, "07081804"),
        (1111111111, "14050471"),
        (1234567890, "89005924"),
        (2000000000, "69279037"),
        (20000000000, "65353130"),
    ],
)
def test_the_values_of_rfc_6238(seconds, code):
    assert totp.code_of(SEED, seconds // 30) == code[-6:]


def test_the_values_of_rfc_4226():
    shown = "755224 287082 359152 969429 338314 254676 287922 162583 399871 520489"
    assert " ".join(totp.code_of(SEED, step) for step in range(10)) == shown


@given(st.binary(min_size=20, max_size=40), st.integers(1000, 1 << 32), st.integers(-200, 200))
def test_a_code_is_good_for_its_step_and_the_ones_beside_it(seed, step, ahead):
    found = totp.find_step(seed, totp.code_of(seed, step + ahead), step)
    near = {totp.code_of(seed, step + beside): step + beside for beside in (-1, 0, 1)}
    assert found == near.get(totp.code_of(seed, step + ahead))
    assert abs(ahead) > 1 or found is not None


@given(st.binary(min_size=20, max_size=40), st.integers(1000, 1 << 32), st.integers(-118, 118))
def test_two_codes_in_a_row_show_how_wrong_a_clock_is(seed, step, ahead):
    first, second = (totp.code_of(seed, step + ahead + place) for place in (0, 1))
    found = totp.find_steps_in_a_row(seed, first, second, step)
    assert found is not None
    assert (totp.code_of(seed, found - 1), totp.code_of(seed, found)) == (first, second)


def test_codes_that_do_not_follow_each_other_are_refused():
    one, two, three = (totp.code_of(SEED, step) for step in (1000, 1001, 1002))
    assert totp.find_steps_in_a_row(SEED, one, two, 1000) == 1001
    for codes in ((two, one), (one, three), (one, one), ("", ""), (one, "é")):
        assert totp.find_steps_in_a_row(SEED, *codes, 1000) is None


@pytest.mark.parametrize("code", ["", "12345", "1234567", "٣٤٥٦٧٨", "\udcff"])
def test_what_is_no_code_is_none(code):
    assert totp.find_step(SEED, code, 1000) is None
