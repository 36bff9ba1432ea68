"""Trees: a folder as a record.

Owns the schema ``tree/v1`` (``docs/format.md`` section 3) and what names an entry may have. Knows
nothing of how objects are kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, cast

from rosdb.errors import BadName, NotCanonical
from rosdb.objects import Kind, Link, Record

SCHEMA: Final = "tree/v1"
MODE_FILE: Final = 0o644
MODE_EXECUTABLE: Final = 0o755
NAME_BYTES_MAX: Final = 255

EntryKind = Literal["file", "table", "tree"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One name of a tree: what it is, where it is, how large."""

    kind: EntryKind
    link: Link
    size: int
    mode: int = 0


Tree = Mapping[str, Entry]


def check_name(name: str) -> None:
    """Check that a name can stand in a tree, and so in a folder.

    Raises: BadName.
    """
    if name in ("", ".", ".."):
        raise BadName("file name", name, "it names no file")
    if "/" in name or any(ord(c) < 32 or 127 <= ord(c) < 160 for c in name):
        raise BadName("file name", name, "it has a slash or a control character")
    try:
        size = len(name.encode("utf-8"))
    except UnicodeEncodeError:
        raise BadName("file name", name, "it is not valid UTF-8") from None
    if size > NAME_BYTES_MAX:
        raise BadName("file name", name, f"it is longer than {NAME_BYTES_MAX} bytes")


def tree_record(tree: Tree) -> Record:
    """Return the record of a tree, one that ``read_tree`` reads.

    Raises: BadName if a name cannot stand in a folder, NotCanonical if an entry is not one.
    """
    entries = {name: [entry.kind, entry.size, entry.mode] for name, entry in tree.items()}
    links = {name: entry.link for name, entry in tree.items()}
    record = Record(SCHEMA, {"entries": entries}, links)
    read_tree(record)
    return record


def read_tree(record: Record) -> dict[str, Entry]:
    """Read a tree from its record. A foreign tree is checked as our own would be.

    Raises: NotCanonical, BadName.
    """
    entries = record.fields.get("entries")
    if (
        record.schema != SCHEMA
        or type(entries) is not dict
        or entries.keys() != record.links.keys()
    ):
        raise NotCanonical(f"{record.schema} where a {SCHEMA} belongs")
    tree: dict[str, Entry] = {}
    for name, entry in entries.items():
        check_name(name)
        if type(entry) is not list or [type(part) for part in entry] != [str, int, int]:
            raise NotCanonical(f"tree entry {name!r} is not [kind, size, mode]")
        kind, size, mode = entry
        link = record.links[name]
        expected = Kind.BLOB if kind == "file" else Kind.RECORD
        modes = (MODE_FILE, MODE_EXECUTABLE) if kind == "file" else (0,)
        if (
            kind not in ("file", "table", "tree")
            or link.kind is not expected
            or size < 0
            or mode not in modes
        ):
            raise NotCanonical(f"tree entry {name!r} is not one")
        tree[name] = Entry(kind=cast(EntryKind, kind), link=link, size=size, mode=mode)
    return tree
