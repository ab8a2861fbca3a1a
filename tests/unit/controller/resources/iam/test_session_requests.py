"""The form of what is asked for a session."""

import pytest

from stead_controller.errors import InvalidParameter
from stead_controller.resources.iam import session_requests

FAILED = "failed to satisfy constraint: Member must"
PATTERN = rf"Value 'abc' at 'tokenCode' {FAILED} satisfy regular expression pattern: [\d]*"
LONG = f"at 'tokenCode' {FAILED} have length less than or equal to 6"
SHORT = f"at 'tokenCode' {FAILED} have length greater than or equal to 6"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("12345", f"1 validation error detected: Value '12345' {SHORT}"),
        ("1234567", f"1 validation error detected: Value '1234567' {LONG}"),
        ("abc", f"2 validation errors detected: {PATTERN}; Value 'abc' {SHORT}"),
    ],
)
def test_a_code_that_is_none_breaks_what_it_breaks(code, said):
    with pytest.raises(InvalidParameter) as refusal:
        session_requests.check_mfa(None, code)
    assert refusal.value.message == said
