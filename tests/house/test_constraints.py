"""What the launcher installs is pinned to versions and to the hashes of their files."""

import re
import sys
import tomllib

from tests.house.checkout import ROOT, complain

_PIN = re.compile(r"^([a-z0-9._-]+)==\S+ \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE)


def test_each_version_has_the_hashes_of_its_files() -> None:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    rest = [line for line in _PIN.sub("", text).splitlines() if line and not line.startswith("#")]
    complain("A version without hashes may be any bytes of that name (tests/README.md says how to renew):", rest)


def test_all_that_is_named_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    named = [
        *project["build-system"]["requires"],
        *project["project"]["dependencies"],
        *(one for extra in project["project"]["optional-dependencies"].values() for one in extra),
    ]
    pinned = {match[1] for match in _PIN.finditer((ROOT / "constraints.txt").read_text(encoding="utf-8"))}
    wanted = {re.split(r"[\[<>=!~; ]", one)[0].lower().replace("_", "-") for one in named}
    complain("pyproject.toml names these, constraints.txt does not pin them:", sorted(wanted - pinned - {"stead"}))
    assert "uv" in pinned, "the launcher installs it first, from its lines alone"


def test_no_version_is_promised_that_the_tests_do_not_run_with() -> None:
    """An older botocore lacks members that answers have, and generated code refuses an older grpcio by itself."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = dict(
        re.findall(r"^([a-z0-9._-]+)==(\S+)", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    )
    extras = project["optional-dependencies"]
    of_users = [*project["dependencies"], *(one for extra in extras.keys() - {"dev", "bench"} for one in extras[extra])]
    assert len(of_users) > 20
    wrong = []
    for one in of_users:
        named = re.fullmatch(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)(?:,<[\d.]+)?", one)
        assert named is not None, f"{one} does not say from which version on"
        name, lower = named.groups()
        if _numbers(lower)[:2] != _numbers(pinned[name])[:2]:
            wrong.append(f"{one}: {pinned[name]} is what constraints.txt pins")
    complain("pyproject.toml promises versions with which no test runs:", wrong)


def test_what_is_generated_runs_with_all_that_is_promised() -> None:
    needs = {one.split(">=")[0]: one.split(">=")[1] for one in _dependencies()}
    for file, name, pattern in (
        ("host_pb2_grpc.py", "grpcio", r"GRPC_GENERATED_VERSION = '([\d.]+)'"),
        ("host_pb2.py", "protobuf", r"# Protobuf Python Version: ([\d.]+)"),
    ):
        text = (ROOT / "proto" / "stead_proto" / "v1" / file).read_text(encoding="utf-8")
        generated = re.search(pattern, text)
        assert generated is not None
        assert _numbers(needs[name]) >= _numbers(generated[1]), f"{file} refuses {name} before {generated[1]}"


def test_python_is_the_one_that_the_tests_run_with() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    major, minor = sys.version_info[:2]
    assert project["requires-python"] == f">={major}.{minor}"
    assert f"sys.version_info < ({major}, {minor})" in (ROOT / "stead").read_text(encoding="utf-8")


def _dependencies() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [str(one) for one in project["dependencies"]]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
