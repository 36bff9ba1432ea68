"""Snapshots: a dataset as it was when it was added, for good.

Owns the record ``snapshot/v1`` and the refs ``datasets/NAME/VERSION``: adding, finding, verifying
and checking out. Files are checked before anything is stored, and parsed once, here: a run is
given the parsed table, so that a corrected parser changes no old answer.
"""

from __future__ import annotations

import contextlib
import difflib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from research.context import Context
from research.errors import BadInput, DatasetMissing, NameTaken
from rosdb import (
    DATASETS,
    Link,
    ObjectId,
    Store,
    check_label,
    errors,
    put_files,
    write_folder,
)

if TYPE_CHECKING:
    from research.datasets.source import Source

SCHEMA: Final = "snapshot/v1"
VERSION_DEFAULT: Final = "1"
SHIPPED: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A dataset's version, with the links to what it holds."""

    link: Link
    fields: Mapping[str, Any]
    files: Link
    bars: Link | None

    @property
    def name(self) -> str:
        """What the dataset is called."""
        return str(self.fields["name"])

    @property
    def version(self) -> str:
        """Which version of it this is."""
        return str(self.fields["version"])

    @property
    def label(self) -> str:
        """Name and version, as a revision of a dataset is written."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What adding a dataset came to."""

    snapshot: Snapshot
    is_new: bool
    new_bytes: int


def add_snapshot(
    context: Context,
    path: Path,
    *,
    name: str,
    version: str | None = None,
    origin: str | None = None,
    schema: Any = None,
    reads_all: bool = False,
) -> Added:
    """Snapshot a file or a folder; ``origin`` says where it came from.

    A folder with a ``manifest.json`` is checked against it first. Adding identical content again
    changes nothing. ``reads_all`` stores every file from its bytes, where one that looks unchanged
    would be known from before.

    Raises: BadInput, NameTaken if the version holds other content, and DatasetError in all its
    kinds: then nothing is stored.
    """
    # It imports numpy, which finding a snapshot has no use for.
    from research.datasets.source import read_source

    check_label("dataset name", name)
    source = read_source(path, finds_bars=schema is None)
    if version is None:
        version = path.resolve().name if source.manifest is not None else VERSION_DEFAULT
    check_label("dataset version", version)
    fields = _fields(source, name, version, origin, schema)
    try:
        return _store(context, source, fields, reads_all)
    except errors.RefMoved:
        # Somebody else added it in the meantime: now it is there, to be compared with.
        return _store(context, source, fields, reads_all)


def _store(context: Context, source: Source, fields: Mapping[str, Any], reads_all: bool) -> Added:
    """Put a source's files and its record, unless the version is there already.

    Raises: NameTaken if it holds other content, RefMoved if another writer was faster.
    """
    store, label = context.store, f"{fields['name']}/{fields['version']}"
    with store.transaction(f"data add {label}", reads_all=reads_all) as tx:
        links = {"files": put_files(tx, source.files)}
        source.check_unchanged()
        if source.bars is not None:
            links["bars"] = tx.put_table(source.bars, source.units())
        link = tx.put_record(SCHEMA, fields, links)
        existing = store.ref(DATASETS + label)
        if existing is None:
            tx.move_ref(DATASETS + label, link, expected=None)
        elif existing != link:
            snapshot = read_snapshot(store, existing)
            tx.abandon()  # the same files, told of in other words
            if snapshot.files != links["files"]:
                raise NameTaken(
                    "dataset", snapshot.label, "it holds other content; give another --version"
                )
            return Added(snapshot=snapshot, is_new=False, new_bytes=0)
    # What was there already has been put all the same: it brings back what was lost of it.
    is_new = existing is None
    new_bytes = tx.stored_bytes if is_new else 0
    return Added(snapshot=read_snapshot(store, link), is_new=is_new, new_bytes=new_bytes)


def _fields(
    source: Source, name: str, version: str, origin: str | None, schema: Any
) -> dict[str, Any]:
    manifest = source.manifest
    return {
        "name": name,
        "version": version,
        "source": origin or (manifest.source if manifest else ""),
        "created_at": manifest.created_at.isoformat() if manifest else "",
        "schema": schema if schema is not None else (manifest.schema if manifest else None),
        "checksums": source.checksums(),
        "parser": source.parser,
        "file_count": len(source.files),
        "size_bytes": sum(size for size, _, _ in source.stamps.values()),
    }


def find_snapshot(context: Context, label: str) -> Snapshot:
    """Return ``NAME@VERSION``, or the newest of ``NAME``; a shipped one is added on the way.

    Raises: DatasetMissing with the nearest names.
    """
    name, _, version = label.partition("@")
    link = _ref_of(context.store, name, version)
    if link is None:
        shipped = _shipped(name, version)
        if shipped is None:
            known = sorted({s.name for s in list_snapshots(context.store)} | set(shipped_names()))
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
            if name in known:
                near = [s.label for s in list_snapshots(context.store) if s.name == name]
            raise DatasetMissing(label, near)
        context.say(f"adding {name}@{shipped.name}, which comes with Research OS")
        return add_snapshot(context, shipped, name=name).snapshot
    return read_snapshot(context.store, link)


def list_snapshots(store: Store) -> Iterator[Snapshot]:
    """List every version of every dataset, by name."""
    for _, link in store.refs(DATASETS):
        yield read_snapshot(store, link)


def verify_snapshot(store: Store, snapshot: Snapshot) -> tuple[int, dict[str, str]]:
    """Re-hash everything that a snapshot holds: how many objects, and what is wrong by id."""
    count, damaged = store.verify_closure([snapshot.link])
    return count, {str(object_id): str(error) for object_id, error in damaged.items()}


def checkout_snapshot(store: Store, snapshot: Snapshot, folder: Path) -> list[Path]:
    """Write a snapshot's files below a new or empty folder.

    Raises: BadInput if something is there already.
    """
    with new_folder(folder):
        return write_folder(store, snapshot.files, folder)


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[None]:
    """Make a folder, or take an empty one, to write to; if that fails, nothing half-written stays.

    Raises: BadInput if something is there already.
    """
    was_there = folder.exists()
    if was_there and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(f"{folder} is there already, and not empty")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        if was_there:
            folder.mkdir()
        raise


def read_snapshot(store: Store, link: ObjectId) -> Snapshot:
    """Read a snapshot's record.

    Raises: ObjectMissing, ObjectCorrupt.
    """
    record = store.get_record(link)
    return Snapshot(
        link=store.typed(link),
        fields=record.fields,
        files=record.links["files"],
        bars=record.links.get("bars"),
    )


def shipped_names() -> list[str]:
    """Return the datasets that come with Research OS."""
    return sorted({manifest.parent.parent.name for manifest in SHIPPED.glob("*/*/manifest.json")})


def _ref_of(store: Store, name: str, version: str) -> ObjectId | None:
    if version:
        return store.ref(f"{DATASETS}{name}/{version}")
    newest = store.newest_ref(f"{DATASETS}{name}/")
    return None if newest is None else newest[1]


def _shipped(name: str, version: str) -> Path | None:
    if name not in shipped_names():
        return None
    versions: Sequence[Path] = sorted(m.parent for m in (SHIPPED / name).glob("*/manifest.json"))
    wanted = [folder for folder in versions if version in ("", folder.name)]
    return wanted[-1] if wanted else None
