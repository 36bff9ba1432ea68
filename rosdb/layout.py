"""The layout: which files make a store, and of which version.

Owns making the folder, finding it, and the file ``format``. Version 1 had loose objects only; it is
read as it is, and marked as version 2 before the first pack is written into it.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

from rosdb import disk, journal
from rosdb.errors import NotAStore, StoreExists, StoreUnreadable, UnsupportedFormat
from rosdb.settings import DEFAULT_TEXT

FOLDER: Final = ".ros"
FORMAT: Final = "research-os store 2\n"
FORMAT_1: Final = "research-os store 1\n"
_FORMAT_BYTES_MAX: Final = 64
_ONLY_READ: Final = frozenset({"config.toml", ".gitignore"})


def create(path: Path) -> None:
    """Make a store.

    Raises: StoreExists, StoreUnreadable, StoreUnwritable.
    """
    with disk.refusals(path):
        if (path / "format").exists():
            raise StoreExists(str(path))
        _refuse_links(path)
        for folder in ("objects/pack", "tmp", "leases"):
            disk.make_folder(path / folder)
    with disk.exclusive_lock(path / "lock"):
        if (path / "format").exists():
            raise StoreExists(str(path))
        if not (path / "journal").exists():
            journal.create(path / "journal", path / "tmp")
        disk.replace_file(path / ".gitignore", b"*\n", path / "tmp")
        if not (path / "config.toml").exists():  # a store that has lost its format has settings
            disk.replace_file(path / "config.toml", DEFAULT_TEXT.encode(), path / "tmp")
        # The format is written last: a folder that has it is a whole store.
        disk.replace_file(path / "format", FORMAT.encode(), path / "tmp")


def find(path: Path) -> Path:
    """Return the folder of the store at a path, or in its folder ``.ros``.

    Raises: NotAStore, UnsupportedFormat, StoreUnreadable.
    """
    try:
        if (path / FOLDER / "format").exists():
            path = path / FOLDER
        found = _version(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise NotAStore(str(path)) from None
    except OSError as error:
        disk.refuse_to_guess(error, path)
        raise UnsupportedFormat(str(path), error.strerror or "unreadable") from error
    if found not in (FORMAT, FORMAT_1):
        raise UnsupportedFormat(str(path), repr(found.strip()[:40]))
    _refuse_links(path)
    return path


def upgrade(path: Path) -> None:
    """Mark a store of version 1 as one that may hold packs.

    Raises: StoreUnwritable.
    """
    if _version(path) == FORMAT_1:
        disk.replace_file(path / "format", FORMAT.encode(), path / "tmp")


def _version(path: Path) -> str:
    with (path / "format").open("rb") as handle:
        return handle.read(_FORMAT_BYTES_MAX).decode("utf-8", errors="replace")


def _refuse_links(path: Path) -> None:
    """Refuse a store with a part that lies elsewhere: what is written there is not ours.

    A collection through such a link would remove what belongs to another store. A link to the
    store's folder itself is fine, and so is one to a single object: it is read, and verified.
    Raises: StoreUnreadable.
    """
    for folder in (path, path / "objects"):
        with contextlib.suppress(OSError), os.scandir(folder) as found:
            for each in found:
                if each.is_symlink() and each.name not in _ONLY_READ:
                    raise StoreUnreadable(
                        each.path, "it is a symbolic link, and may lead out of the store"
                    )
