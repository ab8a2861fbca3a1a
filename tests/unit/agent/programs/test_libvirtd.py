"""Libvirtd's notes of starts that it was killed in, and whose process a pid file names."""

import os

from stead_agent.programs.libvirtd import _forget_cut_off_starts, _is_local_system, _own, without_core_files

NOTES = "<!--\nWARNING\n-->\n\n<domstatus state='{}' reason='starting up' pid='{}'>\n  <monitor/>\n</domstatus>\n"


def test_only_notes_without_a_process_are_forgotten(tmp_path):
    (tmp_path / "i-1.xml").write_text(NOTES.format("paused", 0))
    (tmp_path / "i-2.xml").write_text(NOTES.format("paused", 4711))
    (tmp_path / "i-3.xml").write_text(NOTES.format("running", 1000))
    (tmp_path / "autostarted").write_text("")
    _forget_cut_off_starts(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["autostarted", "i-2.xml", "i-3.xml"]
    _forget_cut_off_starts(tmp_path / "missing")


def test_a_process_is_ours_only_if_it_was_started_with_the_pid_file(tmp_path):
    pid_file = tmp_path / "libvirtd.pid"
    assert _own(pid_file) is None
    for content in (str(os.getpid()), "0", "", "x", "999999999"):
        pid_file.write_text(content)
        assert _own(pid_file) is None


def test_which_daemons_can_be_started_from_here():
    assert _is_local_system("qemu:///system")
    assert _is_local_system("qemu+unix:///system?socket=/run/libvirt/libvirt-sock")
    for uri in ("qemu:///session", "qemu+tls://host/system", "qemu+unix:///system?socket=/tmp/x", "test:///default"):
        assert not _is_local_system(uri)


def test_core_files_are_switched_off_whatever_the_configuration_says():
    assert without_core_files('user = "x"\n#max_core = 1\nmax_core = "unlimited"\n') == (
        'user = "x"\n#max_core = 1\nmax_core = 0\n'
    )
    assert without_core_files("") == "max_core = 0\n"
