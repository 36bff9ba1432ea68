"""What a path holds before it becomes a snapshot: its files, checked, and its bars, parsed.

Owns the reading of a file or folder on its way in. Nothing here touches the store: what is refused
here leaves no trace. It imports numpy, which finding a snapshot later has no use for.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from research.datasets.bars_file import PARSER, is_bars_file, read_bars
from research.datasets.manifest import (
    MANIFEST_NAME,
    Manifest,
    check_folder,
    list_folder,
    load_manifest,
)
from research.errors import BadInput
from rosdb import FOLDER as STORE_FOLDER

_UNITS_OF = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A dataset's files by their path in it, with the manifest and the bars where there are any."""

    files: Mapping[str, Path]
    stamps: Mapping[str, tuple[int, int, int]]
    manifest: Manifest | None
    bars: Mapping[str, NDArray[Any]] | None

    @property
    def parser(self) -> str | None:
        """The parser that made the bars, and its version."""
        return None if self.bars is None else PARSER

    def checksums(self) -> dict[str, str]:
        """Return the manifest's checksums; of several for one file, the first algorithm by name."""
        found: dict[str, str] = {}
        for checksum in () if self.manifest is None else self.manifest.checksums:
            found.setdefault(checksum.path, f"{checksum.algorithm}:{checksum.digest}")
        return found

    def units(self) -> dict[str, str]:
        """Return the units of the bars: those that the manifest's schema states for columns."""
        units = {"at_ns": "ns since 1970 UTC"}
        schema = None if self.manifest is None else self.manifest.schema
        for described in schema.values() if isinstance(schema, dict) else ():
            columns = described.get("columns") if isinstance(described, dict) else None
            for column in columns if isinstance(columns, list) else ():
                if isinstance(column, dict) and column.get("name") in _UNITS_OF:
                    units[str(column["name"])] = str(column.get("unit", ""))
        return units

    def check_unchanged(self) -> None:
        """Check that no file was written since it was checked; call it when all are stored.

        Raises: BadInput naming the file.
        """
        for path, file in self.files.items():
            if _stamp(file) != self.stamps.get(path):
                raise BadInput(f"{file} changed while it was read; nothing was stored")


def read_source(path: Path, *, finds_bars: bool) -> Source:
    """Read a file or a folder; a folder with a manifest.json is checked against it.

    Every file of bars is checked row by row; where there is just one, its table goes along.

    Raises: BadInput, and DatasetError in all its kinds.
    """
    if not path.exists():
        raise BadInput(f"there is no {path}")
    manifest = None
    if path.is_dir():
        if (path / STORE_FOLDER).exists():
            raise BadInput(f"{path} holds a store; a dataset is a folder of its own")
        files = {f.path: f.source for f in list_folder(path)}
    elif path.is_file():
        files = {path.name: path}
    else:
        raise BadInput(f"{path} is neither a file nor a folder")
    # Taken before the first byte is read: what is stored is what was checked and parsed.
    stamps = {name: _stamp(file) for name, file in files.items()}
    if path.is_dir() and os.path.lexists(path / MANIFEST_NAME):
        files = {f.path: f.source for f in check_folder(path)}
        manifest = load_manifest(path)
    if not files:
        raise BadInput(f"{path} holds no file")
    parsed = [read_bars(file) for file in files.values() if finds_bars and is_bars_file(file)]
    return Source(
        files=files,
        stamps=stamps,
        manifest=manifest,
        bars=parsed[0] if len(parsed) == 1 else None,
    )


def _stamp(file: Path) -> tuple[int, int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino
