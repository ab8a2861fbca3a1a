"""Formats of flow logs: EC2's fields, each once, in any order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.errors import InvalidParameter, Unsupported
from stead_controller.resources.network.flow_log_format import DEFAULT, KNOWN, VERSION_2, check_format


def test_the_default_is_version_2():
    assert DEFAULT.startswith("${version} ${account-id} ${interface-id} ${srcaddr}")
    assert DEFAULT.split() == [f"${{{name}}}" for name in VERSION_2]
    assert check_format(DEFAULT) == DEFAULT


@pytest.mark.parametrize(
    "text", ["", "  ", "version", "${version", "${nonsense}", "${version} ${version}", "${version},${action}", "$(id)"]
)
def test_no_format(text):
    with pytest.raises(InvalidParameter):
        check_format(text)


def test_fields_of_other_services():
    with pytest.raises(Unsupported):
        check_format("${version} ${ecs-cluster-name}")


@given(st.permutations(sorted(KNOWN)), st.integers(1, len(KNOWN)), st.sampled_from([" ", "  ", "\n"]))
def test_any_choice_of_known_fields(names, count, space):
    chosen = [f"${{{name}}}" for name in names[:count]]
    assert check_format(space.join(chosen)) == " ".join(chosen)


@given(st.text(max_size=60))
def test_nothing_else_gets_through(text):
    try:
        parsed = check_format(text)
    except (InvalidParameter, Unsupported):
        return
    assert all(word[2:-1] in KNOWN for word in parsed.split())
