"""A cloud of `stead up` with its blocks in a bucket: what it says to the controller, and what it refuses."""

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stead_cli import block_store, cloud, settings
from stead_cli.errors import CliError
from stead_proto.certificates import Authority
from tests.support.processes import free_ports


@pytest.fixture
def given(tmp_path: Path) -> dict[str, str]:
    """Settings that name a bucket where no server listens."""
    key = tmp_path / "key"
    key.touch(0o600)
    key.write_text("AKIASTEAD\na/secret+key\n")
    return {
        "STEAD_STATE_DIR": str(tmp_path),
        "STEAD_BLOCK_BUCKET": "blocks",
        "STEAD_BLOCK_ENDPOINT": f"http://127.0.0.1:{free_ports(1)[0]}",
        "STEAD_BLOCK_KEY_FILE": str(key),
    }


def begun(given: dict[str, str]) -> Path:
    """Make keys, as a controller does that has run; return the folder of its blocks."""
    controller = settings.load(given).controller_dir
    controller.mkdir()
    (controller / "ca.pem").touch()
    return controller / "blocks"


def block_in(folder: Path) -> None:
    (folder / "ab" / "cd").mkdir(parents=True)
    (folder / "ab" / "cd" / f"{'abcd' * 16}.0123456789ab").touch()


def test_a_bucket_is_remembered_and_may_be_a_folder_again(given: dict[str, str], tmp_path: Path) -> None:
    here = {"STEAD_STATE_DIR": str(tmp_path)}
    assert block_store.options(settings.load(here)) == []
    settings.load(given).remember()
    options = block_store.options(settings.load(here))
    assert options == [
        "--block-bucket=blocks",
        f"--block-endpoint={given['STEAD_BLOCK_ENDPOINT']}",
        "--block-region=us-east-1",
        f"--block-key-file={tmp_path / 'key'}",
    ]
    assert {*options} <= {*map(str, cloud.controller_program(settings.load(here)).command)}
    settings.load(here | {"STEAD_BLOCK_BUCKET": "none"}).remember()
    assert block_store.options(settings.load(here)) == []
    assert not [word for word in cloud.controller_program(settings.load(here)).command if "--block" in str(word)]


def test_amazons_own_has_no_endpoint_and_a_relative_key_file_is_made_absolute(
    given: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given |= {"STEAD_BLOCK_ENDPOINT": "", "STEAD_BLOCK_REGION": "eu-central-1", "STEAD_BLOCK_KEY_FILE": "key"}
    chosen = settings.load(given)
    assert block_store.options(chosen)[:2] == ["--block-bucket=blocks", "--block-region=eu-central-1"]
    assert block_store.options(chosen)[2:] == [f"--block-key-file={tmp_path / 'key'}"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"STEAD_BLOCK_BUCKET": "My_Bucket"}, "STEAD_BLOCK_BUCKET=My_Bucket is no name"),
        ({"STEAD_BLOCK_BUCKET": "ab"}, "STEAD_BLOCK_BUCKET=ab is no name"),
        ({"STEAD_BLOCK_BUCKET": "", "STEAD_BLOCK_KEY_FILE": ""}, "STEAD_BLOCK_ENDPOINT has no effect"),
        ({"STEAD_BLOCK_BUCKET": "none", "STEAD_BLOCK_ENDPOINT": ""}, "STEAD_BLOCK_KEY_FILE has no effect"),
        (
            {
                "STEAD_BLOCK_ENDPOINT": "",
                "STEAD_BLOCK_KEY_FILE": "",
                "STEAD_BLOCK_BUCKET": "",
                "STEAD_BLOCK_REGION": "a",
            },
            "STEAD_BLOCK_REGION has no effect",
        ),
        (
            {
                "STEAD_BLOCK_BUCKET": "none",
                "STEAD_BLOCK_ENDPOINT": "",
                "STEAD_BLOCK_KEY_FILE": "",
                "STEAD_BLOCK_CA_FILE": "ca",
            },
            "STEAD_BLOCK_CA_FILE has no effect",
        ),
        ({"STEAD_BLOCK_KEY_FILE": ""}, "needs STEAD_BLOCK_KEY_FILE"),
        ({"STEAD_BLOCK_ENDPOINT": "s3.example:8333"}, "STEAD_BLOCK_ENDPOINT is no URL"),
        ({"STEAD_BLOCK_ENDPOINT": "ftp://s3.example"}, "STEAD_BLOCK_ENDPOINT is no URL"),
        ({"STEAD_BLOCK_ENDPOINT": "https://"}, "STEAD_BLOCK_ENDPOINT is no URL"),
        ({"STEAD_BLOCK_ENDPOINT": "https://["}, "STEAD_BLOCK_ENDPOINT is no URL"),
        ({"STEAD_BLOCK_ENDPOINT": "https://id:hidden@s3.example"}, "STEAD_BLOCK_ENDPOINT is no URL"),
    ],
)
def test_what_names_no_bucket_is_refused(given: dict[str, str], more: dict[str, str], said: str) -> None:
    with pytest.raises(CliError, match=said) as refused:
        settings.load(given | more)
    assert "hidden" not in f"{refused.value.message} {refused.value.hint}"


@pytest.mark.parametrize(
    ("mode", "content", "said"),
    [
        (0o640, b"id\nsecret\n", "others than root may read"),
        (0o600, b"hidden\n", "is no access key"),
        (0o600, b"hidden\nhidden\nhidden\n", "is no access key"),
        (0o600, "\xe9 hidden\n".encode(), "is no access key"),
        (0o600, b"\xff hidden\n", "is no text in UTF-8"),
    ],
)
def test_a_key_file_that_others_read_or_that_has_no_key_is_refused(
    given: dict[str, str], mode: int, content: bytes, said: str
) -> None:
    key = Path(given["STEAD_BLOCK_KEY_FILE"])
    key.chmod(mode)
    key.write_bytes(content)
    with pytest.raises(CliError, match=said) as refused:
        block_store.require(settings.load(given))
    assert "hidden" not in f"{refused.value.message} {refused.value.hint}"


def test_the_bucket_is_asked_in_its_region(given: dict[str, str]) -> None:
    begun(given)
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as other_end:

        def hear() -> bytes:
            asked, _ = server.accept()
            with asked:
                return asked.recv(4096)

        heard = other_end.submit(hear)
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(CliError, match="cannot be asked"):
            block_store.require(
                settings.load(given | {"STEAD_BLOCK_ENDPOINT": endpoint, "STEAD_BLOCK_REGION": "eu-central-1"})
            )
    assert b"/eu-central-1/s3/aws4_request" in heard.result()


def test_an_authority_is_told_to_the_controller_and_must_have_a_certificate(
    given: dict[str, str], tmp_path: Path
) -> None:
    begun(given)
    file = tmp_path / "authority.pem"
    trusting = settings.load(given | {"STEAD_BLOCK_CA_FILE": str(file)})
    assert block_store.options(trusting)[-1] == f"--block-ca-file={file}"
    trusting.remember()
    with pytest.raises(CliError, match=f"STEAD_BLOCK_CA_FILE={file} is no certificate: No such file"):
        block_store.require(trusting)
    file.write_text("no certificate")
    with pytest.raises(CliError, match=f"STEAD_BLOCK_CA_FILE={file} is no certificate"):
        block_store.require(trusting)
    file.write_bytes(Authority.create().certificate_pem)
    block_store.require(trusting)


def test_a_key_file_that_is_not_there_is_named(given: dict[str, str]) -> None:
    with pytest.raises(CliError, match="STEAD_BLOCK_KEY_FILE=/nowhere/key cannot be read: No such file"):
        block_store.require(settings.load(given | {"STEAD_BLOCK_KEY_FILE": "/nowhere/key"}))


def test_a_server_that_is_away_is_named_where_it_is_new_and_else_not_asked(given: dict[str, str]) -> None:
    with pytest.raises(CliError, match=r"the bucket blocks of http.* cannot be asked") as refused:
        block_store.require(settings.load(given))
    assert "secret" not in f"{refused.value.message} {refused.value.hint}"
    begun(given)
    with pytest.raises(CliError, match="cannot be asked"):
        block_store.require(settings.load(given))
    settings.load(given).remember()
    block_store.require(settings.load(given))
    with pytest.raises(CliError, match=r"the bucket blocks of http://127\.0\.0\.2:1 cannot be asked"):
        block_store.require(settings.load(given | {"STEAD_BLOCK_ENDPOINT": "http://127.0.0.2:1"}))
    with pytest.raises(CliError, match=r"the bucket another of http.* cannot be asked"):
        block_store.require(settings.load(given | {"STEAD_BLOCK_BUCKET": "another"}))


def test_blocks_in_the_folder_are_not_left_behind(given: dict[str, str], tmp_path: Path) -> None:
    folder = begun(given)
    settings.load(given).remember()
    (folder / "incoming").mkdir(parents=True)
    (folder / ".name").touch()
    block_store.require(settings.load(given))
    block_in(folder)
    with pytest.raises(CliError, match=f"are in {folder}, and STEAD_BLOCK_BUCKET names another") as refused:
        block_store.require(settings.load(given))
    assert "to stay: STEAD_BLOCK_BUCKET=none" in str(refused.value.hint)
    block_store.require(settings.load({"STEAD_STATE_DIR": str(tmp_path), "STEAD_BLOCK_BUCKET": "none"}))


def test_blocks_in_a_bucket_are_not_left_behind(given: dict[str, str], tmp_path: Path) -> None:
    away = settings.load({"STEAD_STATE_DIR": str(tmp_path), "STEAD_BLOCK_BUCKET": "none"})
    settings.load(given).remember()
    block_store.require(away)  # nothing has begun
    folder = begun(given)
    with pytest.raises(CliError, match=f"are in the bucket blocks of http.*, and not in {folder}") as refused:
        block_store.require(away)
    assert "to stay: STEAD_BLOCK_BUCKET=blocks" in str(refused.value.hint)
    block_in(folder)
    block_store.require(away)
