"""Folders: trees to the disk and back.

Owns how a folder becomes a tree and a tree a folder. Knows nothing of what the files mean.
Symbolic links, devices and sockets are refused: content is files.
"""

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, Protocol

from rosdb import disk
from rosdb.errors import BadName
from rosdb.objects import Link, ObjectId
from rosdb.trees import MODE_EXECUTABLE, MODE_FILE, Entry, Tree, check_name


class Puts(Protocol):
    """Where a folder's files and trees are put: a store or a transaction."""

    def put_blob(self, data: bytes) -> Link:
        """Put bytes."""

    def put_file(self, path: Path) -> Link:
        """Put a file's content."""

    def put_tree(self, tree: Tree) -> Link:
        """Put a tree."""


class Gets(Protocol):
    """Where a folder is read from: a store."""

    def open_blob(self, object_id: ObjectId) -> BinaryIO:
        """Open a blob."""

    def get_tree(self, object_id: ObjectId) -> dict[str, Entry]:
        """Return a tree."""


Special = Callable[[Path], Entry | None]


def put_folder(puts: Puts, folder: Path, special: Special | None = None) -> Link:
    """Put a folder as a tree. ``special`` may turn a subfolder into an entry of another kind.

    Raises: BadName if a name cannot stand in a tree, or something is no file.
    """
    return _put_folder(puts, folder, special).link


def _put_folder(puts: Puts, folder: Path, special: Special | None) -> Entry:
    tree: dict[str, Entry] = {}
    for path in sorted(folder.iterdir()):
        check_name(path.name)
        status = path.lstat()
        if stat.S_ISDIR(status.st_mode):
            entry = special(path) if special is not None else None
            name = path.name
            if entry is not None and entry.kind == "table":
                name = name.removesuffix(".table")
                if name in tree:
                    raise BadName("file name", name, "it is a table and a file at once")
            tree[name] = _put_folder(puts, path, special) if entry is None else entry
        elif stat.S_ISREG(status.st_mode):
            mode = MODE_EXECUTABLE if status.st_mode & 0o100 else MODE_FILE
            tree[path.name] = Entry(
                kind="file", link=puts.put_file(path), size=status.st_size, mode=mode
            )
        else:
            raise BadName("file", path.name, "it is neither a file nor a folder")
    return _put_tree(puts, tree)


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
            link = puts.put_file(source)
            here[name] = Entry(kind="file", link=link, size=source.stat().st_size, mode=MODE_FILE)
    for name, inner in below.items():
        if name in here:
            raise BadName("file name", name, "it is a file and a folder at once")
        here[name] = _put_files(puts, inner)
    return _put_tree(puts, here)


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
    """Write a blob to a file that is not there yet, in bounded memory."""
    with gets.open_blob(object_id) as source:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(target, flags, mode), "wb") as handle:
            while chunk := source.read(1024 * 1024):
                handle.write(chunk)
