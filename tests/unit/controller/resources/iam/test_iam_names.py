import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.errors import InvalidParameter
from stead_controller.resources.iam import iam_names

NAME = string.ascii_letters + string.digits + "_+=,.@-"


@given(st.text(alphabet=NAME, min_size=1, max_size=128))
def test_names_of_allowed_characters_are_returned(name):
    assert iam_names.check_name("userName", name) == name


@given(st.text(alphabet=NAME, max_size=5), st.characters(exclude_characters=NAME), st.text(alphabet=NAME, max_size=5))
def test_any_other_character_is_refused(before, bad, after):
    with pytest.raises(InvalidParameter, match="userName"):
        iam_names.check_name("userName", before + bad + after)


@pytest.mark.parametrize("path", ["/", "/a/", "/a/b/", "/!~/", "/" + "x" * 510 + "/"])
def test_good_paths(path):
    assert iam_names.check_path(path) == path


@pytest.mark.parametrize("path", ["a", "/a", "a/", "/a b/", "/é/", "/" + "x" * 511 + "/", "/a\n/"])
def test_bad_paths(path):
    with pytest.raises(InvalidParameter):
        iam_names.check_path(path)


@pytest.mark.parametrize(("path", "fine"), [("/", True), ("/a/b/", True), ("/a!/", False), ("//", False)])
def test_policies_have_fewer_paths(path, fine):
    if fine:
        assert iam_names.check_policy_path(path) == path
    else:
        with pytest.raises(InvalidParameter):
            iam_names.check_policy_path(path)


def test_ids_have_the_prefix_of_their_kind_and_do_not_repeat():
    ids = {iam_names.new_id("role") for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch(r"AROA[A-Z2-7]{17}", one) for one in ids)
    assert re.fullmatch(r"AKIA[A-Z2-7]{16}", iam_names.new_access_key_id())
