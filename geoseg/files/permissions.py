"""Who may read and write a file, to be passed on to the file that replaces it.

On Windows, a new file inherits the rights of its folder, and the mode tells only whether it is write-protected.
"""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from geoseg.files.system import WINDOWS

_ACCESS_LIST = "system.posix_acl_access"


@dataclass(frozen=True)
class Permissions:
    """Who may do what with a file.

    Attributes:
        mode: Permission bits.
        owner: Number of the user.
        group: Number of the group.
        access_list: The POSIX access-control list as Linux stores it; None where there is none.
    """

    mode: int
    owner: int
    group: int
    access_list: bytes | None

    @classmethod
    def of(cls, path: Path) -> Permissions | None:
        """Return the permissions of the file that `path` leads to; None if there is no such file, or on Windows."""
        if WINDOWS:
            return None
        try:
            status = path.stat()
        except OSError:
            return None
        access_list = None
        if hasattr(os, "getxattr"):
            with contextlib.suppress(OSError):
                access_list = os.getxattr(path, _ACCESS_LIST)
        return cls(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, access_list)

    def apply(self, path: Path) -> None:
        """Give a new file of this process these permissions, or fewer where the group or the list cannot be kept.

        Only root can give it to another owner.

        Raises:
            OSError: The file system failed.
        """
        # Neither set-user-id nor the like is for data.
        mode = self.mode & 0o777
        status = path.stat()
        if stat.S_IMODE(status.st_mode) != mode:
            path.chmod(mode & 0o700)
        if hasattr(os, "chown") and (status.st_uid, status.st_gid) != (self.owner, self.group):
            with contextlib.suppress(OSError):
                os.chown(path, -1, self.group)
            with contextlib.suppress(OSError):
                os.chown(path, self.owner, -1)
        if path.stat().st_gid != self.group:
            # What the group was allowed is not for another group.
            mode &= 0o707
        if self.access_list is not None:
            try:
                os.setxattr(path, _ACCESS_LIST, self.access_list)
            except OSError:
                # Without the list, the bits of the group are those that the list allowed anybody.
                mode &= 0o707
        if stat.S_IMODE(path.stat().st_mode) != mode:
            path.chmod(mode)
