"""Snapshots: a dataset as it was when it was added, for good.

Owns the record ``snapshot/v1`` and the refs ``datasets/NAME/VERSION``: adding, finding, verifying
and checking out. Files are checked before anything is stored, and parsed once, here: a run is
given the parsed table, so that a corrected parser changes no old answer.
"""

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from research.context import Context
from research.errors import BadInput, DatasetMissing, NameTaken
from rosdb import DATASETS, Link, ObjectId, Store, check_label, put_files, write_folder

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
    source: str | None = None,
    schema: Any = None,
) -> Added:
    """Snapshot a file or a folder.

    A folder with a ``manifest.json`` is checked against it first. Adding identical content again
    changes nothing.

    Raises: BadInput, NameTaken if the version holds other content, and DatasetError in all its
    kinds: then nothing is stored.
    """
    # These import numpy, which finding a snapshot has no use for.
    from research.datasets.bars_file import PARSER, is_bars_file, read_bars
    from research.datasets.manifest import MANIFEST_NAME, check_folder, list_folder, load_manifest

    check_label("dataset name", name)
    if not path.exists():
        raise BadInput(f"there is no {path}")
    manifest = None
    if path.is_dir():
        if os.path.lexists(path / MANIFEST_NAME):
            files = {f.path: f.source for f in check_folder(path)}
            manifest = load_manifest(path)
        else:
            files = {f.path: f.source for f in list_folder(path)}
        if not files:
            raise BadInput(f"{path} holds no file")
    else:
        files = {path.name: path}
    version = version or (path.resolve().name if manifest is not None else VERSION_DEFAULT)
    check_label("dataset version", version)
    tables = [p for p, f in files.items() if schema is None and is_bars_file(f)]
    bars = read_bars(files[tables[0]]) if len(tables) == 1 else None
    with context.store.transaction(f"data add {name}@{version}") as tx:
        links = {"files": put_files(tx, files)}
        if bars is not None:
            links["bars"] = tx.put_table(bars, _units(manifest.schema if manifest else None))
        fields = {
            "name": name,
            "version": version,
            "source": source or (manifest.source if manifest else ""),
            "created_at": manifest.created_at.isoformat() if manifest else "",
            "schema": schema if schema is not None else (manifest.schema if manifest else None),
            "checksums": _checksums(manifest),
            "parser": PARSER if bars is not None else None,
            "files": len(files),
            "bytes": sum(f.stat().st_size for f in files.values()),
        }
        ref = f"{DATASETS}{name}/{version}"
        existing = context.store.ref(ref)
        if existing is not None:
            snapshot = read_snapshot(context.store, existing)
            tx.abandon()
            if snapshot.files != links["files"]:
                raise NameTaken(
                    "dataset", f"{name}@{version}", "it holds other content; give another --version"
                )
            return Added(snapshot=snapshot, is_new=False, new_bytes=0)
        link = tx.put_record(SCHEMA, fields, links)
        tx.move_ref(ref, link, expected=None)
    return Added(
        snapshot=read_snapshot(context.store, link), is_new=True, new_bytes=tx.stored_bytes
    )


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


def verify_snapshot(store: Store, snapshot: Snapshot) -> int:
    """Re-hash everything that a snapshot holds; return the number of objects.

    Raises: ObjectMissing, ObjectCorrupt for the first that is not what it was.
    """
    waiting, seen = [snapshot.link], set[ObjectId]()
    while waiting:
        link = waiting.pop()
        if link not in seen:
            seen.add(link)
            waiting += store.verify(link)
    return len(seen)


def checkout_snapshot(store: Store, snapshot: Snapshot, folder: Path) -> list[Path]:
    """Write a snapshot's files below a new or empty folder.

    Raises: BadInput if something is there already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(f"{folder} is there already, and not empty")
    return write_folder(store, snapshot.files, folder)


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


def _checksums(manifest: Any) -> dict[str, str]:
    """Return the manifest's checksums; of several for one file, the first algorithm by name."""
    found: dict[str, str] = {}
    for checksum in manifest.checksums if manifest is not None else ():
        found.setdefault(checksum.path, f"{checksum.algorithm}:{checksum.digest}")
    return found


def _units(schema: Any) -> dict[str, str]:
    """Return the units of bars: those that a manifest's schema states for its columns."""
    units = {"at_ns": "ns since 1970 UTC"}
    for described in schema.values() if isinstance(schema, dict) else ():
        columns = described.get("columns") if isinstance(described, dict) else None
        for column in columns if isinstance(columns, list) else ():
            if isinstance(column, dict) and column.get("name") in (
                "open", "high", "low", "close", "volume"
            ):  # fmt: skip
                units[column["name"]] = str(column.get("unit", ""))
    return units
