"""Where settings come from: environment, what `up` ran with last, defaults."""

from pathlib import Path

import pytest

from stead_cli import cloud, settings
from stead_cli.errors import CliError


def test_defaults(tmp_path: Path) -> None:
    chosen = settings.load({"STEAD_STATE_DIR": str(tmp_path)})
    assert (chosen.http_port, chosen.https_port, chosen.host_port, chosen.enrolment_port) == (8773, 8774, 8775, 8776)
    assert chosen.uplink == "auto"
    assert settings.load({}).state_dir == Path("/var/lib/stead")


def test_environment_wins_over_memory_which_wins_over_defaults(tmp_path: Path) -> None:
    first = settings.load({"STEAD_STATE_DIR": str(tmp_path), "STEAD_HTTP_PORT": "9001", "STEAD_UPLINK": "none"})
    first.remember()
    later = settings.load({"STEAD_STATE_DIR": str(tmp_path)})
    assert (later.http_port, later.uplink) == (9001, "none")
    assert settings.load({"STEAD_STATE_DIR": str(tmp_path), "STEAD_HTTP_PORT": "9002"}).http_port == 9002


def test_a_region_has_the_zones_of_its_letters(tmp_path: Path) -> None:
    chosen = settings.load({"STEAD_STATE_DIR": str(tmp_path)})
    assert [word for word in cloud.controller_program(chosen).command if str(word).startswith("--zone")] == [
        "--zone=us-east-1a"
    ]
    more = settings.load({"STEAD_STATE_DIR": str(tmp_path), "STEAD_REGION": "home", "STEAD_ZONES": "acb"})
    words = [word for word in cloud.controller_program(more).command if str(word).startswith("--zone")]
    assert words == ["--zone=homea", "--zone=homec", "--zone=homeb"]


@pytest.mark.parametrize("zones", ["1", "aa", "a,b", "A"])
def test_a_bad_list_of_zones_is_refused_by_name(tmp_path: Path, zones: str) -> None:
    with pytest.raises(CliError, match=f"STEAD_ZONES={zones} is no list"):
        settings.load({"STEAD_STATE_DIR": str(tmp_path), "STEAD_ZONES": zones})


@pytest.mark.parametrize("content", ["", "[]", '{"http_port": 1, "unknown": 2}', "\x00"])
def test_a_memory_of_another_version_is_no_trouble(tmp_path: Path, content: str) -> None:
    (tmp_path / "settings.json").write_text(content)
    settings.load({"STEAD_STATE_DIR": str(tmp_path)})


@pytest.mark.parametrize("port", ["", "0", "65536", "http", "-1"])
def test_a_bad_port_is_refused_by_name(tmp_path: Path, port: str) -> None:
    environment = {"STEAD_STATE_DIR": str(tmp_path), "STEAD_HTTPS_PORT": port}
    if not port:  # an empty variable is none
        assert settings.load(environment).https_port == 8774
        return
    with pytest.raises(CliError, match="STEAD_HTTPS_PORT"):
        settings.load(environment)


def test_pages_for_prometheus_may_be_switched_off_again(tmp_path: Path) -> None:
    on = {"STEAD_STATE_DIR": str(tmp_path), "STEAD_PROMETHEUS_PORT": "9464"}
    settings.load(on).remember()
    assert (settings.load({"STEAD_STATE_DIR": str(tmp_path)}).prometheus_port) == 9464
    settings.load(on | {"STEAD_PROMETHEUS_PORT": "0"}).remember()
    assert (settings.load({"STEAD_STATE_DIR": str(tmp_path)}).prometheus_port) == 0
    with pytest.raises(CliError, match="STEAD_AGENT_PROMETHEUS_PORT"):
        settings.load(on | {"STEAD_AGENT_PROMETHEUS_PORT": "65536"})


def test_pages_for_prometheus_are_this_machines_unless_said_otherwise(tmp_path: Path) -> None:
    on = {"STEAD_PROMETHEUS_LISTEN": "192.0.2.7", "STEAD_AGENT_PROMETHEUS_PORT": "9465"}
    for given, address in (({}, "127.0.0.1"), (on, "192.0.2.7")):
        chosen = settings.load({"STEAD_STATE_DIR": str(tmp_path), **given})
        for program in (cloud.controller_program(chosen), cloud.agent_program(chosen)):
            assert f"--prometheus-listen={address}" in program.command


def test_an_address_of_no_page_is_refused(tmp_path: Path) -> None:
    for port in ("STEAD_PROMETHEUS_PORT", "STEAD_AGENT_PROMETHEUS_PORT"):
        given = {"STEAD_STATE_DIR": str(tmp_path), "STEAD_PROMETHEUS_LISTEN": "192.0.2.7"}
        assert settings.load(given | {port: "9464"}).prometheus_listen == "192.0.2.7"
        with pytest.raises(CliError, match="STEAD_PROMETHEUS_LISTEN has no effect"):
            settings.load(given)
        settings.load(given | {"STEAD_PROMETHEUS_LISTEN": "127.0.0.1"})


@pytest.mark.parametrize(("port", "is_taken"), [(60999, False), (61000, True), (63047, True), (63048, False)])
def test_the_ports_of_volumes_are_refused(tmp_path: Path, port: int, is_taken: bool) -> None:
    environment = {"STEAD_STATE_DIR": str(tmp_path), "STEAD_HTTP_PORT": str(port)}
    if not is_taken:
        assert settings.load(environment).http_port == port
        return
    with pytest.raises(CliError, match=f"STEAD_HTTP_PORT={port} is taken: .* 61000 to 63047"):
        settings.load(environment)


SERVER = "postgresql+psycopg://stead@db.example/stead?passfile=/etc/stead-pgpass"


def test_a_database_on_a_server_is_remembered_and_may_be_a_file_again(tmp_path: Path) -> None:
    given = {"STEAD_STATE_DIR": str(tmp_path)}
    assert cloud.database_options(settings.load(given)) == []
    settings.load(given | {"STEAD_DATABASE_URL": SERVER}).remember()
    chosen = settings.load(given)
    assert cloud.database_options(chosen) == [f"--database-url={SERVER}"]
    assert f"--database-url={SERVER}" in cloud.controller_program(chosen).command
    settings.load(given | {"STEAD_DATABASE_URL": "sqlite"}).remember()
    assert cloud.database_options(settings.load(given)) == []
    cloud.require_database(settings.load(given))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://stead@db/stead", "names no database of PostgreSQL"),
        ("mysql://stead@db/stead", "names no database of PostgreSQL"),
        ("here", "names no database of PostgreSQL"),
        ("postgresql+psycopg://[", "names no database of PostgreSQL"),
        ("postgresql+psycopg://stead:secret@db/stead", "has a password"),
        ("postgresql+psycopg://stead@db/stead?password=secret", "has a password"),
        ("postgresql+psycopg://stead:@db/stead", "has a password"),
    ],
)
def test_a_url_that_is_none_or_has_a_password_is_refused(tmp_path: Path, url: str, said: str) -> None:
    with pytest.raises(CliError, match=said) as refused:
        settings.load({"STEAD_STATE_DIR": str(tmp_path), "STEAD_DATABASE_URL": url})
    assert "secret" not in f"{refused.value.message} {refused.value.hint}"


def test_a_server_needs_its_driver_and_no_database_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = settings.load({"STEAD_STATE_DIR": str(tmp_path), "STEAD_DATABASE_URL": SERVER})
    chosen.controller_dir.mkdir()
    (chosen.controller_dir / "ca.pem").touch()
    cloud.require_database(chosen)
    chosen.database_file.touch()
    with pytest.raises(CliError, match="STEAD_DATABASE_URL names another"):
        cloud.require_database(chosen)
    chosen.database_file.unlink()
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(CliError, match="the driver of PostgreSQL is not installed") as refused:
        cloud.require_database(chosen)
    assert "pip install 'psycopg[binary]'" in str(refused.value.hint)


def test_new_keys_are_not_begun_where_the_server_does_not_answer(tmp_path: Path) -> None:
    url = f"postgresql+psycopg://stead@/stead?host={tmp_path}"
    chosen = settings.load({"STEAD_STATE_DIR": str(tmp_path), "STEAD_DATABASE_URL": url})
    with pytest.raises(CliError, match="the database cannot be reached"):
        cloud.require_database(chosen)


def test_relative_state_directory_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert settings.load({"STEAD_STATE_DIR": "here"}).state_dir == tmp_path / "here"


@pytest.mark.parametrize(
    ("listen", "expected", "is_reached"),
    [
        ("127.0.0.1", "198.19.7.1", False),
        ("localhost", "198.19.7.1", False),
        ("192.0.2.1", "198.19.7.1", True),
        ("0.0.0.0", "", False),
    ],
)
def test_guests_find_the_apis_of_the_controller_of_this_machine(
    tmp_path: Path, listen: str, expected: str, is_reached: bool
) -> None:
    chosen = settings.Settings(tmp_path, listen=listen, public_pool="198.19.7.0/24", http_port=81, https_port=82)
    assert chosen.guest_listen == expected
    assert chosen.guest_ports == (81, 82)
    assert chosen.guests_may_reach_listen is is_reached


def test_no_host_opens_its_ports_for_a_controller_that_guests_reach_elsewhere(tmp_path: Path) -> None:
    chosen = settings.Settings(tmp_path, listen="192.0.2.1", guest_address="203.0.113.9")
    assert chosen.guest_listen == "203.0.113.9"
    assert chosen.guest_ports == ()
    assert not chosen.guests_may_reach_listen


def test_places_for_volumes_are_the_agents_options_and_are_remembered(tmp_path: Path) -> None:
    first = settings.load({"STEAD_STATE_DIR": str(tmp_path), "STEAD_POOLS": "fast:lvm:a/b:io2  far:rbd:stead"})
    first.remember()
    later = settings.load({"STEAD_STATE_DIR": str(tmp_path)})
    options = [word for word in cloud.agent_program(later).command if str(word).startswith("--pool=")]
    assert options == ["--pool=fast:lvm:a/b:io2", "--pool=far:rbd:stead"]


def test_several_controllers_need_a_server(tmp_path: Path) -> None:
    environment = {"STEAD_STATE_DIR": str(tmp_path), "STEAD_HOST_ADDRESS": "192.0.2.1"}
    with pytest.raises(CliError, match="several controllers"):
        settings.load(environment)
    loaded = settings.load({**environment, "STEAD_DATABASE_URL": "postgresql+psycopg://stead@db.example/stead"})
    assert "--host-address=192.0.2.1" in cloud.controller_program(loaded).command
