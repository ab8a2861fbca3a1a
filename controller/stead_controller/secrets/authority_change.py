"""The way of a cloud from one authority (CA) to another, in three steps, between which both are trusted.

    settled --begin--> begun: a new one is trusted, too --switch--> switched: it signs --finish--> settled

Each step is the change of one file, so a kill leaves the phase before or the one after; and each may be repeated.
"""

import enum
from pathlib import Path
from typing import Final

from stead_controller.errors import WrongState
from stead_proto.certificates import AUTHORITY_FILE, FORMER_FILE, NEXT_FILE, Authority
from stead_proto.tls import certificates_in, sync_directory, write_private

EARLIER_FILE: Final = "earlier-authorities.pem"
"""Certificates that were trusted once, by which earlier backups are known as of this cloud; nobody trusts them."""


class Phase(enum.StrEnum):
    """How far a change is."""

    SETTLED = "settled"
    BEGUN = "begun"
    SWITCHED = "switched"


class AuthorityChange:
    """Changes the authority of a folder, and the object that all parts of the controller sign by."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        """Take the folder that `authority` was loaded from."""
        self._folder = folder
        self.authority = authority

    @property
    def phase(self) -> Phase:
        """How far the change is."""
        if (self._folder / NEXT_FILE).exists():
            return Phase.BEGUN
        return Phase.SWITCHED if (self._folder / FORMER_FILE).exists() else Phase.SETTLED

    def begin(self) -> bool:
        """Make a new authority, which is trusted beside the present one; tell whether anything was changed."""
        if self.phase is not Phase.SETTLED:
            return False
        # A name of its own: TLS libraries look for an issuer by its name.
        number = 2 + len(self._earlier())
        Authority.create(f"Stead CA {number}").save_once(self._folder / NEXT_FILE)
        return self._load()

    def switch(self) -> bool:
        """Sign by the new authority; tell whether anything was changed. Raises WrongState where there is none."""
        if self.phase is Phase.SWITCHED:
            return False
        if self.phase is Phase.SETTLED:
            raise WrongState("authority", "There is no new authority: begin with: stead certificate rotate.")
        # Until the next line is done, this names the authority that signs: it is trusted twice.
        write_private(self._folder / FORMER_FILE, self.authority.certificate_pem)
        (self._folder / NEXT_FILE).replace(self._folder / AUTHORITY_FILE)
        sync_directory(self._folder)
        return self._load()

    def finish(self) -> bool:
        """Trust the new authority alone; tell whether anything was changed. Raises WrongState before it signs."""
        if self.phase is Phase.SETTLED:
            return False
        if self.phase is Phase.BEGUN:
            raise WrongState("authority", "The new authority does not sign yet: stead certificate switch.")
        former = certificates_in((self._folder / FORMER_FILE).read_bytes())
        known = dict.fromkeys([*self._earlier(), *former])
        write_private(self._folder / EARLIER_FILE, b"".join(pem + b"\n" for pem in known))
        (self._folder / FORMER_FILE).unlink()
        sync_directory(self._folder)
        return self._load()

    def _earlier(self) -> list[bytes]:
        path = self._folder / EARLIER_FILE
        return certificates_in(path.read_bytes()) if path.exists() else []

    def _load(self) -> bool:
        self.authority.read_again(self._folder)
        return True
