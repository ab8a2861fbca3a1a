"""A folder of VPC namespaces with the mount that the kernel's namespaces need."""

from pathlib import Path

from stead_agent.network.folder_owner import give_up, mark_of, owned
from stead_agent.network.namespaces import Namespaces

VPC = "vpc-0123456789abcdef0"


def test_a_folder_is_made_owned_and_given_up(tmp_path: Path) -> None:
    folder = tmp_path / "netns"
    with owned(folder, "/one"):
        namespaces = Namespaces(folder)
        namespaces.create(VPC)
    assert mark_of(folder).exists()
    assert namespaces.exists(VPC)
    with owned(folder, "/one"):
        namespaces.delete(VPC)
    namespaces.close()
    assert str(folder) in Path("/proc/self/mountinfo").read_text()
    give_up(folder)
    assert list(tmp_path.iterdir()) == []
