"""What a machine may deny a run (folders, disks, memory, open files), each in a sentence that says what to do."""

import errno
import getpass
import os
import re
import resource
import shutil
from pathlib import Path

from bandbridge.base.errors import UserError

# PyTorch and open_clip map 3.6 GB before they do anything, and training needs more.
LEAST_ADDRESS_SPACE = 6 << 30
LEAST_ROOM = 1 << 20
# Messages of libraries that do not pass the system's error number on.
_MEMORY = re.compile(
    r"can't allocate memory|std::bad_alloc|failed to map segment|Unable to allocate|Cannot allocate memory"
)
_THREADS = re.compile(r"can't start new thread|Thread creation failed|Resource temporarily unavailable")
_FILES = re.compile(r"Too many open files")
_DISK = re.compile(r"No space left on device|Disk quota exceeded")
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)


def check_writable(folder: Path, what: str) -> None:
    """Refuse a folder that cannot be written, or created if it does not exist yet.

    Args:
        folder: to be written.
        what: its name in the configuration, for the message.

    Raises:
        UserError: it belongs to someone else, is on a read-only file system, is a file, or a link to nothing.
    """
    for place in (folder, *folder.absolute().parents):
        if place.is_symlink() and not place.exists():
            raise UserError(
                f"{what}: {place} is a link to {place.readlink()}, which does not exist; create it, or remove the link"
            )
        if not place.exists():
            continue
        if not place.is_dir():
            raise UserError(f"{what}: {place} is a file, expected a folder; rename it, or set {what} to another folder")
        if not os.access(place, os.W_OK | os.X_OK):
            if os.statvfs(place).f_flag & os.ST_RDONLY:
                why, cure = "is on a read-only file system", ""
            else:
                why = f"cannot be written by {user()}"
                cure = f", or have its owner ({_owner(place)}) permit it"
            raise UserError(f"{what}: {place.absolute()} {why}; set {what} to a folder of your own{cure}")
        return


def check_room(folder: Path) -> None:
    """Raise a `UserError` if the disk of a folder has no room left for Snakemake's records."""
    place = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(place).free
    if free < LEAST_ROOM:
        raise UserError(
            f"{place.absolute()}: the disk or the quota is full ({free:,} bytes are free), and Snakemake keeps its "
            "records there; make room and run again: finished work is kept"
        )


def check_address_space() -> None:
    """Raise a `UserError` if a process may not map as much memory as PyTorch does (`ulimit -v`)."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < LEAST_ADDRESS_SPACE:
        raise UserError(
            f"processes may map {limit / 2**30:.1f} GB of memory (ulimit -v), expected at least "
            f"{LEAST_ADDRESS_SPACE / 2**30:.0f} GB, which PyTorch maps without using all of it: ulimit -v unlimited"
        )


def cure_of(error: BaseException) -> str | None:
    """A sentence that says what to do about an error of the machine, not of the program; None for any other error."""
    number = error.errno if isinstance(error, OSError) else None
    file = getattr(error, "filename", None)
    text = str(error)
    if number in (errno.ENOSPC, errno.EDQUOT) or _DISK.search(text):
        where = f" ({file})" if file else ""
        return f"the disk or the quota is full{where}; make room and run again: finished work is kept"
    if number in (errno.EMFILE, errno.ENFILE) or _FILES.search(text):
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return (
            f"too many open files: a process may open {limit} at once; raise the limit (ulimit -n 4096) and run again"
        )
    if number == errno.ENOMEM or isinstance(error, MemoryError) or _MEMORY.search(text):
        return (
            f"no more memory for this job ({text or 'MemoryError'}). Allow it more (ulimit -v; on a cluster "
            "--set-resources RULE:mem_mb=...), or lower batch_size, or raise accumulate, and run again"
        )
    if _THREADS.search(text):
        return (
            f"no more processes or threads ({text}): raise the limit (ulimit -u), or use fewer --cores, and run again"
        )
    if number in _DENIED and file:
        return f"{file}: {os.strerror(number)} for {user()}; have its owner permit it, or set another folder"
    return None


def user() -> str:
    """The user's name, or number if there is no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except (KeyError, OSError):
        return f"user {path.stat().st_uid}"
