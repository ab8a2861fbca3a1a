"""Releases of this checkout, as `stead release` makes them, and what an upgrade may go to."""

import base64
import hashlib
import io
import re
import tarfile
import zipfile
from pathlib import Path
from typing import Final

from stead_cli import release_file
from tests.support import outside_clients
from tests.support.processes import ROOT

NEXT_REVISION: Final = "following"
"""The revision of the next release's database."""

_VERSIONS: Final = "stead_controller/db/migrations/versions"
_MIGRATION: Final = '''"""a table of the next release."""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{before}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table("next_{revision}", sa.Column("id", sa.Integer, primary_key=True))


def downgrade() -> None:
    op.drop_table("next_{revision}")
'''


def make_release(folder: Path) -> Path:
    """Make a release of this checkout, of libraries that were fetched before, and unpack its playbooks beside it."""
    made = release_file.make(ROOT, folder, outside_clients.folder_of("release") / "wheels", allow_dirty=True)
    with tarfile.open(made) as tar:
        members = [member for member in tar.getmembers() if member.name.split("/")[1] == "ansible"]
        tar.extractall(folder, members, filter="tar")
    return made


def migration(revision: str, before: str) -> str:
    """The text of a migration that a later release has."""
    return _MIGRATION.format(revision=revision, before=before)


def another_release(made: Path, *, works: bool = True) -> Path:
    """Make what an upgrade may go to: a later release, with a further table in the database.

    The controller of one that does not work ends once it has changed the database.
    """
    name = f"{made.stem}-{'next' if works else 'broken'}"
    later = made.with_name(f"{name}.tar")
    with tarfile.open(made) as old, tarfile.open(later, "w", format=tarfile.PAX_FORMAT) as new:
        entries = {member.name.partition("/")[2]: member for member in old.getmembers()}
        [wheel] = (entry for entry in entries if entry.endswith(".whl") and "/" not in entry)
        contents = {entry: _content(old, member) for entry, member in entries.items()}
        digest = hashlib.sha256(contents[wheel]).hexdigest()
        contents[wheel] = _changed(contents[wheel], works=works)
        needs = contents["requirements.txt"].decode()
        contents["requirements.txt"] = needs.replace(digest, hashlib.sha256(contents[wheel]).hexdigest()).encode()
        for entry, member in entries.items():
            header = tarfile.TarInfo(f"{name}/{entry}")
            header.mode, header.mtime, header.size = member.mode, int(member.mtime) + 1, len(contents[entry])
            new.addfile(header, io.BytesIO(contents[entry]))
    return later


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None, member.name
    return file.read()


def _changed(wheel: bytes, *, works: bool) -> bytes:
    """Return our wheel with another migration, and perhaps a controller that ends."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(wheel)) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        texts = [old.read(entry).decode() for entry in old.namelist() if entry.startswith(f"{_VERSIONS}/")]
        known = [dict(re.findall(r'^(revision|down_revision) = "(\w+)"$', text, re.MULTILINE)) for text in texts]
        [newest] = {each["revision"] for each in known if each} - {each.get("down_revision", "") for each in known}
        others = {f"{_VERSIONS}/{NEXT_REVISION}.py": migration(NEXT_REVISION, newest).encode()}
        if not works:
            main = old.read("stead_controller/__main__.py").decode()
            serves = "asyncio.run(_serve(Controller, settings, say))"
            assert serves in main
            others["stead_controller/__main__.py"] = main.replace(
                serves, 'raise click.ClickException("it is broken")'
            ).encode()
        for info in old.infolist():
            content = others.pop(info.filename, None) or old.read(info)
            if info.filename.endswith("/RECORD"):
                content = _recorded(content.decode(), others).encode()
            new.writestr(info, content)
        for name, content in others.items():
            new.writestr(name, content)
    return made.getvalue()


def _recorded(record: str, others: dict[str, bytes]) -> str:
    """Name further files in the list of a wheel's files, by which pip removes them again."""
    lines = [
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip('=')},{len(content)}\n"
        for name, content in others.items()
    ]
    return record + "".join(lines)
