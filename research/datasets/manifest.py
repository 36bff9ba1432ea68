"""Folders of files: what they hold, and whether that is what their manifest promises.

Owns the convention of manifest.json and the rules of paths and links. It reads; it stores nothing.
The convention: research/datasets/NAME/VERSION/manifest.json, a JSON object of four keys.

    {
      "source": "https://example.org/prices, fetched by hand",
      "created_at": "2024-01-31T09:30:00Z",
      "schema": {"bars.csv": "daily bars, USD"},
      "checksums": {"bars.csv": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}
    }

source says where the files are from; created_at is an ISO time (UTC where it names no zone); schema
is any JSON but null. Other keys are allowed and mean nothing here. checksums is one of

    {"FILE": "HEX"}                 64 hex digits are sha256, 128 sha512, 40 sha1, 32 md5
    {"FILE": "ALGORITHM:HEX"}       the only way to say blake3 here: its length is sha256's
    {"ALGORITHM": {"FILE": "HEX"}}  a file may stand under more than one; all are checked

told apart by what the values are: texts, or objects. md5 and sha1 find damage, but do not stop a
forger; the store names every file by BLAKE3 in any case. Files are named relative to the folder,
with forward slashes. Every file of the folder but manifest.json itself is listed.

A symbolic link to a file inside the folder is read as that file. A link that leaves the folder,
leads nowhere or in a circle, or leads to a folder, is refused. Folders that hold no file are not
part of a dataset.
"""

import hashlib
import json
import os
import reprlib
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn, Protocol, TypeAlias

from blake3 import blake3

from research.datasets.errors import (
    BadManifest,
    ChecksumMismatch,
    FileMissing,
    FileUnlisted,
    UnsafePath,
)

MANIFEST_NAME: Final = "manifest.json"
MANIFEST_BYTES_MAX: Final = 16 * 1024 * 1024

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

_NAME_BYTES_MAX: Final = 255
_READ_BYTES: Final = 1024 * 1024
_HEX: Final = frozenset("0123456789abcdef")
_KEYS: Final = ("source", "created_at", "schema", "checksums")


class _Hash(Protocol):
    def update(self, data: bytes, /) -> object: ...
    def hexdigest(self) -> str: ...


_HASHES: Final[dict[str, Callable[[], _Hash]]] = {
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "md5": lambda: hashlib.md5(usedforsecurity=False),
    "blake3": blake3,
}
_HEX_LENGTHS: Final = {"sha256": 64, "sha512": 128, "sha1": 40, "md5": 32, "blake3": 64}
_BARE: Final = {64: "sha256", 128: "sha512", 40: "sha1", 32: "md5"}


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Checksum:
    """A promise about one file; the digest is lower-case hex."""

    path: str
    algorithm: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A manifest.json of the convention; its checksums in the order of their paths."""

    source: str
    created_at: datetime
    schema: Json
    checksums: tuple[Checksum, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderFile:
    """A file of a folder: its path there, and where its bytes are (a link's target)."""

    path: str
    source: Path
    size_bytes: int


def load_manifest(folder: Path) -> Manifest:
    """Read a folder's manifest.json; no other file is looked at.

    Raises: BadManifest; UnsafePath if the checksums name a path that no folder may hold.
    """
    path = folder / MANIFEST_NAME
    document = _load_json(path)
    if not isinstance(document, dict):
        raise BadManifest(str(path), "is not a JSON object")
    missing = [key for key in _KEYS if document.get(key) is None]
    if missing:
        raise BadManifest(str(path), f"has no {' and no '.join(missing)}")
    source = document["source"]
    if not isinstance(source, str) or not source.strip():
        raise BadManifest(str(path), "source is not a text")
    return Manifest(
        source=source,
        created_at=_instant(path, document["created_at"]),
        schema=document["schema"],
        checksums=tuple(sorted(_checksums(folder, document["checksums"]))),
    )


def check_folder(folder: Path) -> tuple[FolderFile, ...]:
    """List a folder's files but manifest.json, after checking every one against the manifest.

    Raises: BadManifest, UnsafePath, FileMissing, FileUnlisted; ChecksumMismatch for the first file,
    in the order of paths, that is not what the manifest says.
    """
    # Listed first: manifest.json itself must not be a link out of the folder, or a pipe.
    files = {file.path: file for file in list_folder(folder)}
    manifest = load_manifest(folder)
    del files[MANIFEST_NAME]
    promises: dict[str, list[Checksum]] = {}
    for checksum in manifest.checksums:
        promises.setdefault(checksum.path, []).append(checksum)
    for path in promises:
        if path not in files:
            raise FileMissing(str(folder), path)
    for path in files:
        if path not in promises:
            raise FileUnlisted(str(folder), path)
    for path, file in files.items():
        _check_file(folder, file, promises[path])
    return tuple(files.values())


def list_folder(folder: Path) -> tuple[FolderFile, ...]:
    """List every file below a folder, in the order of their paths.

    Raises: UnsafePath if a name, a link or a special file may stand in no snapshot.
    """
    root = Path(os.path.realpath(folder, strict=True))
    files = [_folder_file(folder, root, entry) for entry in _walk(root)]
    return tuple(sorted(files, key=lambda file: file.path))


# ---- the folder ----


def _walk(root: Path) -> Iterator[os.DirEntry[str]]:
    """Yield what stands below a folder and is no folder itself; links are not followed."""
    pending = [root]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(Path(entry.path))
                else:
                    yield entry


def _folder_file(folder: Path, root: Path, entry: os.DirEntry[str]) -> FolderFile:
    path = Path(entry.path).relative_to(root).as_posix()
    reason = _path_fault(path)
    if reason is not None:
        raise UnsafePath(str(folder), path, reason)
    source = Path(entry.path)
    if entry.is_symlink():
        try:
            source = Path(os.path.realpath(source, strict=True))
        except OSError as error:
            reason = f"is a link that leads nowhere: {error.strerror}"
            raise UnsafePath(str(folder), path, reason) from error
        if not source.is_relative_to(root):
            raise UnsafePath(str(folder), path, "is a link that leaves the folder")
    status = source.stat()
    if stat.S_ISDIR(status.st_mode):
        raise UnsafePath(str(folder), path, "is a link to a folder")
    if not stat.S_ISREG(status.st_mode):
        raise UnsafePath(str(folder), path, "is neither a file nor a folder")
    return FolderFile(path=path, source=source, size_bytes=status.st_size)


def _path_fault(path: str) -> str | None:
    """Say why no file of a snapshot may have a path: for files found and files listed alike."""
    parts = path.split("/")
    if path.startswith("/"):
        return "is an absolute path"
    if ".." in parts:
        return "leads up, out of the folder"
    if "" in parts or "." in parts:
        return "has a part that is empty or a dot"
    if "\\" in path:
        return "has a backslash"
    if any(ord(character) < 32 or ord(character) == 127 for character in path):
        return "has a control character"
    try:
        is_long = any(len(part.encode()) > _NAME_BYTES_MAX for part in parts)
    except UnicodeEncodeError:
        return "is not UTF-8"
    return f"has a name of more than {_NAME_BYTES_MAX} bytes" if is_long else None


def _check_file(folder: Path, file: FolderFile, promises: list[Checksum]) -> None:
    """Hash a file once, by every algorithm that it is promised under."""
    hashes = {promise.algorithm: _HASHES[promise.algorithm]() for promise in promises}
    with file.source.open("rb") as content:
        while chunk := content.read(_READ_BYTES):
            for state in hashes.values():
                state.update(chunk)
    for promise in promises:
        actual = hashes[promise.algorithm].hexdigest()
        if actual != promise.digest:
            raise ChecksumMismatch(
                str(folder), file.path, promise.algorithm, promise.digest, actual
            )


# ---- the manifest ----


def _load_json(path: Path) -> Json:
    """Read JSON that has one meaning: UTF-8, no key twice, only numbers that JSON has."""
    # Asked before opening: to open a pipe waits for its writer.
    if not path.is_file():
        raise BadManifest(str(path), "there is no such file")
    with path.open("rb") as file:
        content = file.read(MANIFEST_BYTES_MAX + 1)
    if len(content) > MANIFEST_BYTES_MAX:
        raise BadManifest(str(path), f"is larger than {MANIFEST_BYTES_MAX} bytes")
    try:
        document: Json = json.loads(
            content.decode("utf-8-sig"),
            object_pairs_hook=_without_duplicates,
            parse_constant=_refuse_constant,
        )
        # Writing it back finds what reading let pass: half a surrogate pair, 1e400.
        json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeError as error:
        raise BadManifest(str(path), "is not UTF-8") from error
    except RecursionError as error:
        raise BadManifest(str(path), "is nested too deep") from error
    except ValueError as error:
        raise BadManifest(str(path), f"is not JSON: {error}") from error
    return document


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for key, value in pairs:
        if key in members:
            raise ValueError(f"the key {reprlib.repr(key)} stands twice in one object")
        members[key] = value
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _instant(path: Path, value: Json) -> datetime:
    try:
        instant = datetime.fromisoformat(value) if isinstance(value, str) else None
        if instant is not None:
            return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):  # The last hours of the year 9999 overflow on the way.
        pass
    raise BadManifest(str(path), f"created_at is not an ISO time: {reprlib.repr(value)}")


def _checksums(folder: Path, value: Json) -> Iterator[Checksum]:
    where = str(folder / MANIFEST_NAME)
    if not isinstance(value, dict):
        raise BadManifest(where, "checksums is not an object")
    if len({isinstance(inner, dict) for inner in value.values()}) > 1:
        raise BadManifest(where, "checksums mixes files and algorithms as keys")
    for key, inner in value.items():
        if not isinstance(inner, dict):
            yield _checksum(folder, key, inner, under="")
            continue
        if key not in _HASHES:
            known = ", ".join(_HASHES)
            raise BadManifest(where, f"checksums: {reprlib.repr(key)} is none of {known}")
        for path, text in inner.items():
            yield _checksum(folder, path, text, under=key)


def _checksum(folder: Path, path: str, text: Json, *, under: str) -> Checksum:
    """Read one checksum, which stands under an algorithm or says or implies its own."""
    where = str(folder / MANIFEST_NAME)
    reason = _path_fault(path)
    if reason is not None:
        raise UnsafePath(str(folder), path, reason)
    if path == MANIFEST_NAME:
        raise BadManifest(where, "checksums lists manifest.json, which cannot hold its own hash")
    what = f"checksums: the hash of {path!r}"
    if not isinstance(text, str):
        raise BadManifest(where, f"{what} is not a text")
    prefix, colon, digest = text.lower().rpartition(":")
    algorithm = prefix if colon else under or _BARE.get(len(digest), "")
    if under and algorithm != under:
        raise BadManifest(where, f"{what} stands under {under}, but says {reprlib.repr(prefix)}")
    if algorithm not in _HASHES:
        raise BadManifest(where, f"{what} is of no known algorithm: {reprlib.repr(text)}")
    if len(digest) != _HEX_LENGTHS[algorithm] or not _HEX.issuperset(digest):
        raise BadManifest(where, f"{what} is no {algorithm}: {reprlib.repr(text)}")
    return Checksum(path=path, algorithm=algorithm, digest=digest)
