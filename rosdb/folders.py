"""Folders: trees to the disk and back.

Owns how a folder becomes a tree and a tree a folder, and when a file outside is read again. Knows
nothing of what the files mean. Symbolic links, devices and sockets are refused: content is files.
"""

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, Protocol

from rosdb import disk
from rosdb.errors import BadName
from rosdb.objects import Link, ObjectId
from rosdb.stat_cache import StatCache, identity, is_settled, listing_hash
from rosdb.trees import MODE_EXECUTABLE, MODE_FILE, Entry, Tree, check_name


class Puts(Protocol):
    """Where a folder's files and trees are put: a store or a transaction."""

    @property
    def stat_cache(self) -> StatCache | None:
        """What is known of the files outside; None where all are to be read."""

    def has(self, object_id: ObjectId) -> bool:
        """Tell whether an object is here, or on its way here."""

    def put_blob(self, data: bytes) -> Link:
        """Put bytes."""

    def put_file(self, path: Path) -> Link:
        """Put a file's content."""

    def put_tree(self, tree: Tree) -> Link:
        """Put a tree."""


class Gets(Protocol):
    """Where a folder is read from: a store."""

    def copy_blob(self, object_id: ObjectId, target: BinaryIO) -> None:
        """Write a blob's content to a file."""

    def get_tree(self, object_id: ObjectId) -> dict[str, Entry]:
        """Return a tree."""


Special = Callable[[Path], Entry | None]
Found = list[tuple[bytes, os.stat_result]]


def put_folder(puts: Puts, folder: Path, special: Special | None = None) -> Link:
    """Put a folder as a tree. ``special`` may turn a subfolder into an entry of another kind.

    Raises: BadName if a name cannot stand in a tree, or something is no file.
    """
    return _put_folder(puts, os.fsencode(folder.absolute()), special).link


def _put_folder(puts: Puts, folder: bytes, special: Special | None) -> Entry:
    found = _scan(folder)
    below: dict[bytes, Entry] = {}
    is_plain = True
    for name, status in found:
        if stat.S_ISDIR(status.st_mode):
            check_name(os.fsdecode(name))
            path = os.path.join(folder, name)
            entry = special(Path(os.fsdecode(path))) if special is not None else None
            is_plain = is_plain and entry is None
            below[name] = _put_folder(puts, path, special) if entry is None else entry

    cache = _cache(puts, folder)
    if cache is None or not is_plain:  # what ``special`` has read, no listing shows
        return _put_entries(puts, folder, found, below)[0]
    listing = listing_hash(found, {name: entry.link for name, entry in below.items()})
    known = cache.tree(folder, listing)
    # The tree is asked for, and not all that it leads to: whoever keeps it keeps that.
    if known is not None and puts.has(known[0]):
        return Entry(kind="tree", link=known[0], size=known[1])
    entry, is_known = _put_entries(puts, folder, found, below)
    if is_known:
        cache.remember_tree(folder, listing, entry.link, entry.size)
    return entry


def _scan(folder: bytes) -> Found:
    """List a folder by name: in bytes, for ten thousand paths take longer than their files."""
    with os.scandir(folder) as entries:
        return sorted([(entry.name, entry.stat(follow_symlinks=False)) for entry in entries])


def _put_entries(
    puts: Puts, folder: bytes, found: Found, below: Mapping[bytes, Entry]
) -> tuple[Entry, bool]:
    """Put a folder's files and its tree; tell whether the cache knows each of the files."""
    cache = _cache(puts, folder)
    tree: dict[str, Entry] = {}
    is_known = True
    for raw_name, status in found:
        name = os.fsdecode(raw_name)
        if raw_name in below:
            entry = below[raw_name]
            if entry.kind == "table":
                name = name.removesuffix(".table")
                if name in tree:
                    raise BadName("file name", name, "it is a table and a file at once")
            tree[name] = entry
        elif stat.S_ISREG(status.st_mode):
            check_name(name)
            link, is_sure = _put_file(puts, cache, folder, raw_name, status)
            mode = MODE_EXECUTABLE if status.st_mode & 0o100 else MODE_FILE
            tree[name] = Entry(kind="file", link=link, size=status.st_size, mode=mode)
            is_known = is_known and is_sure
        else:
            raise BadName("file", name, "it is neither a file nor a folder")
    if cache is not None:
        cache.keep_files(folder, {name for name, _ in found})
    return _put_tree(puts, tree), is_known


def put_files(puts: Puts, files: Mapping[str, Path | bytes]) -> Link:
    """Put files, or contents, under the relative paths that they are to have, as a tree.

    None is executable: a mode belongs to the machine that the files happen to come from.

    Raises: BadName if a path cannot stand in a tree.
    """
    return _put_files(puts, files).link


def _put_files(puts: Puts, files: Mapping[str, Path | bytes]) -> Entry:
    here: dict[str, Entry] = {}
    below: dict[str, dict[str, Path | bytes]] = {}
    for relative, source in sorted(files.items()):
        name, slash, rest = relative.partition("/")
        check_name(name)
        if slash:
            below.setdefault(name, {})[rest] = source
        elif isinstance(source, bytes):
            link = puts.put_blob(source)
            here[name] = Entry(kind="file", link=link, size=len(source), mode=MODE_FILE)
        else:
            here[name] = put_path(puts, source)
    for name, inner in below.items():
        if name in here:
            raise BadName("file name", name, "it is a file and a folder at once")
        here[name] = _put_files(puts, inner)
    return _put_tree(puts, here)


def put_path(puts: Puts, path: Path) -> Entry:
    """Put one file, or what a symbolic link leads to, unless it is known to be unchanged."""
    status = path.stat()
    folder, name = os.path.split(os.fsencode(path.absolute()))
    cache = _cache(puts, folder) if stat.S_ISREG(status.st_mode) else None
    link, _ = _put_file(puts, cache, folder, name, status)
    return Entry(kind="file", link=link, size=status.st_size, mode=MODE_FILE)


def _put_file(
    puts: Puts, cache: StatCache | None, folder: bytes, name: bytes, status: os.stat_result
) -> tuple[Link, bool]:
    """Put a file, unless it is known to be unchanged; tell whether the cache knows it now."""
    path = Path(os.fsdecode(os.path.join(folder, name)))
    if cache is None:
        return puts.put_file(path), False
    known = cache.file(folder, name, status)
    if known is not None and puts.has(known):
        return known, True
    before_ns = cache.now_ns()
    link = puts.put_file(path)
    if not is_settled(status, before_ns) or not _is_still(path, status):
        return link, False
    cache.remember_file(folder, name, status, link)
    return link, True


def _is_still(path: Path, status: os.stat_result) -> bool:
    """Tell whether a file is the one that it was, and has not changed."""
    try:
        return identity(path.stat()) == identity(status)
    except OSError:
        return False  # it was read before it went


def _cache(puts: Puts, folder: bytes) -> StatCache | None:
    cache = puts.stat_cache
    return cache if cache is not None and cache.covers(folder) else None


def _put_tree(puts: Puts, tree: Tree) -> Entry:
    """Put a tree; return the entry that a folder above has for it."""
    size = sum(entry.size for entry in tree.values())
    return Entry(kind="tree", link=puts.put_tree(tree), size=size)


def write_folder(gets: Gets, tree_id: ObjectId, folder: Path) -> list[Path]:
    """Write a tree's files and subtrees below a new or empty folder; return the files.

    Tables are left to the caller, who knows in what form they are wanted.
    """
    written: list[Path] = []
    with disk.refusals(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, entry in gets.get_tree(tree_id).items():
            target = folder / name
            if entry.kind == "tree":
                written += write_folder(gets, entry.link, target)
            elif entry.kind == "file":
                write_blob(gets, entry.link, target, entry.mode)
                written.append(target)
    return written


def write_blob(gets: Gets, object_id: ObjectId, target: Path, mode: int = MODE_FILE) -> None:
    """Write a blob to a file that is not there yet, in bounded memory.

    An error leaves nothing of it behind; a process that is killed may leave a part.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    handle = os.open(target, flags, mode)
    try:
        with os.fdopen(handle, "wb") as opened:
            gets.copy_blob(object_id, opened)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
