"""A tree of files becomes a tar and a cpio: same bytes each time, links followed, nothing outside."""

import io
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from images.packages import ImageBuildError
from images.tree import Tree, rewrite_as_gnu_tar


def make_tree() -> Tree:
    tree = Tree()
    tree.add_link("sbin", "usr/bin")
    tree.add_folder("tmp", 0o1777)
    tree.add_file("sbin/su", b"program", 0o4755)
    tree.add_file("home/ec2-user/x", b"mine", 0o600, owner=1000)
    return tree


def test_adding_below_a_link_adds_to_its_target() -> None:
    paths = [path for path, _ in make_tree()]
    assert "usr/bin/su" in paths
    assert "sbin/su" not in paths
    assert "sbin/su" in make_tree()


def test_folders_come_before_their_contents() -> None:
    paths = [path for path, _ in make_tree()]
    assert paths.index("home") < paths.index("home/ec2-user") < paths.index("home/ec2-user/x")


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x"])
def test_paths_outside_are_refused(path: str) -> None:
    with pytest.raises(ImageBuildError):
        Tree().add_file(path, b"")


def test_tar_keeps_modes_owners_and_the_one_time(tmp_path: Path) -> None:
    make_tree().write_tar(tmp_path / "1.tar", 1_000_000)
    make_tree().write_tar(tmp_path / "2.tar", 1_000_000)
    assert (tmp_path / "1.tar").read_bytes() == (tmp_path / "2.tar").read_bytes()
    with tarfile.open(tmp_path / "1.tar") as tar:
        assert {member.mtime for member in tar} == {1_000_000}
        assert tar.getmember("usr/bin/su").mode == 0o4755
        assert tar.getmember("home/ec2-user/x").uid == 1000
        assert tar.getmember("sbin").linkname == "usr/bin"
        assert tar.getmember("tmp").mode == 0o1777


def test_cpio_is_read_by_another_program() -> None:
    archive = make_tree().to_cpio(1_000_000)
    listed = subprocess.run(["busybox", "cpio", "-t"], input=archive, capture_output=True, check=True).stdout.decode()
    assert listed.split() == [path for path, _ in make_tree()]


def test_package_members_keep_their_modes() -> None:
    tree = Tree()
    member = tarfile.TarInfo("usr/bin/x")
    member.mode = 0o755
    tree.add_member(member, b"x")
    assert stat.S_IMODE(dict(tree)["usr/bin/x"].mode) == 0o755
    device = tarfile.TarInfo("dev/console")
    device.type = tarfile.CHRTYPE
    with pytest.raises(ImageBuildError):
        tree.add_member(device, b"")


def test_a_file_of_ours_is_executable_where_git_says_so(tmp_path: Path) -> None:
    (tmp_path / "run").write_bytes(b"#!/bin/sh\n")
    (tmp_path / "run").chmod(0o700)
    (tmp_path / "data").write_bytes(b"")
    (tmp_path / "data").chmod(0o600)
    tree = Tree()
    tree.add_contents_of(tmp_path)
    assert {path: stat.S_IMODE(node.mode) for path, node in tree} == {"run": 0o755, "data": 0o644}


def test_an_empty_cpio_ends_properly() -> None:
    archive = io.BytesIO(Tree().to_cpio(0)).read()
    assert b"TRAILER!!!" in archive
    assert len(archive) % 512 == 0


def test_any_tar_becomes_a_gnu_tar_without_attributes(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "pax.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo("./Főtanúsítvány.crt")
        member.size = 1
        member.mode = 0o4755
        member.pax_headers = {"SCHILY.xattr.user.x": "y"}
        tar.addfile(member, io.BytesIO(b"x"))
    rewrite_as_gnu_tar(tmp_path / "pax.tar", tmp_path / "gnu.tar")
    assert b"SCHILY" not in (tmp_path / "gnu.tar").read_bytes()
    with tarfile.open(tmp_path / "gnu.tar") as tar:
        (member,) = tar.getmembers()
        assert (member.name, member.mode, member.size) == ("./Főtanúsítvány.crt", 0o4755, 1)
