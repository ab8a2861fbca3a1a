"""Reads a user's key from Ceph's keyring files."""

import base64
import binascii
from pathlib import Path

from stead_agent.disks.volumes.interface import VolumeError


def key_of(keyrings: str, user: str) -> str:
    """Read a user's key, base64, from the first file that has it; `keyrings` lists the files as Ceph's setting does.

    The files must be readable by root only (ceph-authtool(8)); the key appears in no message.
    """
    for path in map(Path, keyrings.replace(";", ",").split(",")):
        if path.is_file() and (key := parse_keyring(path.read_text(encoding="utf-8"), path).get(user)):
            return key
    raise VolumeError(f"there is no key of {user} in {keyrings}")


def parse_keyring(text: str, path: Path) -> dict[str, str]:
    """Parse the keys in a keyring, by user; raises VolumeError if it is invalid."""
    import configparser  # noqa: PLC0415 - only hosts with pools of Ceph need it

    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string("\n".join(line.strip() for line in text.splitlines()))
    except configparser.Error as error:
        raise VolumeError(f"{path} is no keyring of Ceph's") from error
    keys = {user: parser[user].get("key", "") for user in parser.sections()}
    for user, key in keys.items():
        try:
            base64.b64decode(key, validate=True)
        except binascii.Error as error:
            raise VolumeError(f"{path}: the key of {user} is not base64") from error
    return keys
