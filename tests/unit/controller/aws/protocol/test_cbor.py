"""CBOR: RFC 8949's own examples, botocore's reading of ours, and what is refused."""

import contextlib
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.aws.protocol import cbor
from stead_controller.aws.protocol.cbor import NotCborError, Time, decode, encode

# https://www.rfc-editor.org/rfc/rfc8949.html#appendix-A
EXAMPLES = [
    ("00", 0), ("17", 23), ("1818", 24), ("1903e8", 1000), ("1a000f4240", 1_000_000),
    ("1b000000e8d4a51000", 1_000_000_000_000), ("1bffffffffffffffff", 2**64 - 1), ("20", -1), ("3903e7", -1000),
    ("fb3ff199999999999a", 1.1), ("f4", False), ("f5", True), ("f6", None), ("40", b""), ("4401020304", b"\1\2\3\4"),
    ("60", ""), ("62c3bc", "ü"), ("80", []), ("83010203", [1, 2, 3]), ("a0", {}),
    ("a26161016162820203", {"a": 1, "b": [2, 3]}),
]  # fmt: skip
READ_ONLY = [
    ("f90000", 0.0), ("f93c00", 1.0), ("f9c400", -4.0), ("fa47c35000", 100000.0), ("f97c00", math.inf), ("f7", None),
    ("5f42010243030405ff", b"\1\2\3\4\5"), ("7f657374726561646d696e67ff", "streaming"), ("9fff", []),
    ("9f018202039f0405ffff", [1, [2, 3], [4, 5]]), ("bf61610161629f0203ffff", {"a": 1, "b": [2, 3]}),
    ("c11a514b67b0", 1363896240), ("c1fb41d452d9ec200000", 1363896240.5),
]  # fmt: skip
REFUSED = [
    "", "18", "1c", "62c3", "61ff", "8301", "9bffffffffffffffff", "0000", "a10101", "a1", "ff", "9f", "81ff", "c249010000000000000000",
    "c16161", "c1f5", "f800", "5f6161ff", "7f40ff", "bf6161ff", "bf0101ff", "81" * 40 + "80",
]  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(("written", "value"), EXAMPLES)
def test_the_examples_of_the_standard(written: str, value: Any) -> None:
    assert decode(bytes.fromhex(written)) == value
    assert type(decode(bytes.fromhex(written))) is type(value)
    assert encode(value).hex() == written


@pytest.mark.parametrize(("written", "value"), READ_ONLY)
def test_what_others_may_write(written: str, value: Any) -> None:
    assert decode(bytes.fromhex(written)) == value


@pytest.mark.parametrize("written", REFUSED)
def test_what_is_refused(written: str) -> None:
    with pytest.raises(NotCborError):
        decode(bytes.fromhex(written))


@given(VALUES)
def test_what_is_written_is_read(value: Any) -> None:
    assert decode(encode(value)) == value


@given(st.binary(max_size=64))
def test_no_bytes_do_harm(content: bytes) -> None:
    with contextlib.suppress(NotCborError):  # which most bytes are, and which is no harm
        decode(content)


def test_times_are_whole_numbers_where_they_can_be() -> None:
    assert encode(Time(1363896240.0)).hex() == "c11a514b67b0"
    assert encode(Time(1363896240.5)).hex() == "c1fb41d452d9ec200000"


@pytest.mark.parametrize("value", [datetime(2026, 1, 1, tzinfo=UTC), {1}, object()])
def test_other_values_are_not_written(value: Any) -> None:
    with pytest.raises(TypeError):
        cbor.encode(value)
