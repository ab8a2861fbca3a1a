"""What an idle agent gives back; seen in a process of its own."""

import subprocess
import sys

from stead_proto.resident import unchanged

_SMAPS = """\
55d0c0000000-55d0c0003000 r-xp 00001000 fe:00 1234                       /usr/bin/python3.13
Rss:                  12 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
55d0c0003000-55d0c0005000 r--p 00004000 fe:00 1234                       /usr/bin/python3.13
Shared_Clean:          0 kB
Anonymous:             8 kB
VmFlags: rd mr mw me ac
55d0c0005000-55d0c0006000 rw-p 00006000 fe:00 1234                       /usr/bin/python3.13
Anonymous:             0 kB
55d0c0006000-55d0c0007000 r--s 00006000 fe:00 1235                       /usr/lib/locale/C.utf8/LC_CTYPE
Anonymous:             0 kB
7f0000000000-7f0000001000 r--p 00000000 00:00 0                          [vvar]
Anonymous:             0 kB
7f0000001000-7f0000002000 r--p 00000000 fe:00 77                         /a folder/lib: one.so
Anonymous:             0 kB
"""
_PROGRAM = """
import ctypes, mmap, re, ssl, sys
from pathlib import Path
from stead_proto import resident
def of_files(): return int(re.search(r"RssFile:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
file = open(sys.argv[1], "rb")
mapped = mmap.mmap(file.fileno(), 8192, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
mapped[:3] = b"new"
address = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(address), 8192, mmap.PROT_READ) == 0
other = open(sys.argv[2], "rb")
others = mmap.mmap(other.fileno(), 8192, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
def held(path):
    sizes = re.findall(re.escape(path) + r"\\n(?:.*\\n){1,4}Rss: +(\\d+)", Path("/proc/self/smaps").read_text())
    return sum(map(int, sizes))
program = str(Path("/proc/self/exe").readlink())
others[0], others[5000]
before, program_before = of_files(), held(program)
resident.give_back()
given = before - of_files() > 4000 and held(program) < program_before - 1000
print(given, held(sys.argv[2]), ctypes.string_at(address, 3).decode(), ssl.create_default_context().check_hostname)
"""


def test_only_unchanged_parts_of_files_are_given_back() -> None:
    kept = {"/usr/bin/python3.13", "/usr/lib/locale/C.utf8/LC_CTYPE", "/a folder/lib: one.so", ""}
    assert unchanged(_SMAPS, kept) == [(0x55D0C0000000, 0x3000), (0x7F0000001000, 0x1000)]
    assert unchanged(_SMAPS, kept - {"/a folder/lib: one.so"}) == [(0x55D0C0000000, 0x3000)]


def test_what_was_given_back_can_still_be_used(tmp_path) -> None:
    content = tmp_path / "content"
    content.write_bytes(b"old" * 4096)
    other = tmp_path / "other"  # no library: it may be unmapped meanwhile
    other.write_bytes(b"old" * 4096)
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, content, other], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["True", "8", "new", "True"]
