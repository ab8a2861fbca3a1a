"""Which files of a host are noticed when nothing should be left."""

from pathlib import Path

from tests.recovery.storm import left

ID = "0123456789abcdef0"


def test_files_of_resources_are_left_and_what_stays_by_design_is_not(tmp_path: Path) -> None:
    for name in (
        f"disks/volumes/vol-{ID}.qcow2",
        f"consoles/i-{ID}/console",
        f"disks/bases/snap-{ID}.raw",
        f"disks/bases/unused/snap-{ID}.raw",
        f"disks/trash/vol-{ID}.qcow2.17",
        f"disks/made/vol-{ID}",
        f"other/trash/vol-{ID}",
        "disks/volumes/other",
        "desired.sqlite",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert left.files(tmp_path) == [
        f"file consoles/i-{ID}",
        f"file disks/volumes/vol-{ID}.qcow2",
        f"file other/trash/vol-{ID}",
    ]


def test_routes_of_the_rigs_own_links_are_none_of_steads() -> None:
    its = ["routes: local fe80::1 underlay local", "routes: unicast default uplink"]
    steads = ["routes: unicast 10.0.0.0/8 stb0123456789", "links: uplink", "namespaces: vpc-1"]
    assert left.of_stead([*its, *steads]) == steads
