"""What can be wrong with a dataset on disk.

    DatasetError
    ├── BadLine                a line of a bars file cannot be read as a row
    ├── BadBar                 one value of a bars file is no value of a bar
    ├── BadManifest            manifest.json is absent or breaks the convention
    ├── UnsafePath             a path, a link or a special file that no snapshot may hold
    └── IntegrityError
        ├── ChecksumMismatch   a file's bytes are not those that the manifest promises
        ├── FileUnlisted       a file that the manifest says nothing about
        └── FileMissing        a file that the manifest promises and the folder lacks

Each class has typed fields and one template. The fields, not the text, are the exception's
arguments, so that an error survives a process pool. What the operating system refuses (a file that
does not exist, a folder without permission) stays an OSError.
"""

from typing import ClassVar


class DatasetError(Exception):
    """A file or folder that cannot become a dataset as it is."""

    template: ClassVar[str] = "no dataset"
    hint: ClassVar[str] = ""

    def __str__(self) -> str:
        """Fill the template with the fields."""
        return self.template.format(**vars(self))


class BadLine(DatasetError):
    """A line of a bars file that cannot be read as a row; lines count from 1, the header's."""

    template = "{path}, line {line}: {reason}"

    def __init__(self, path: str, line: int, reason: str) -> None:
        super().__init__(path, line, reason)
        self.path = path
        self.line = line
        self.reason = reason


class BadBar(DatasetError):
    """One value that breaks a rule of bars; the column has the name that the file gives it."""

    template = "{path}, line {line}, column {column}: {reason}"

    def __init__(self, path: str, line: int, column: str, reason: str) -> None:
        super().__init__(path, line, column, reason)
        self.path = path
        self.line = line
        self.column = column
        self.reason = reason


class BadManifest(DatasetError):
    """A manifest.json that is absent, unreadable, or not of the convention."""

    template = "{path}: {reason}"
    hint = "it needs source, created_at, schema and checksums: see docs/datasets.md"

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason


class UnsafePath(DatasetError):
    """A path that no snapshot may hold; it is relative to the folder, as found or as listed."""

    # !a keeps control characters, and bytes that are no UTF-8, out of the terminal.
    template = "{folder}: {path!a} {reason}"

    def __init__(self, folder: str, path: str, reason: str) -> None:
        super().__init__(folder, path, reason)
        self.folder = folder
        self.path = path
        self.reason = reason


class IntegrityError(DatasetError):
    """A folder that is not what its manifest says."""


class ChecksumMismatch(IntegrityError):
    """A file whose bytes hash to something else; both hashes are lower-case hex."""

    template = (
        "{folder}: {path} is not what the manifest says: {algorithm} {actual}, not {expected}"
    )
    hint = "fetch the file again; or, if it was changed on purpose, write a new version's manifest"

    def __init__(self, folder: str, path: str, algorithm: str, expected: str, actual: str) -> None:
        super().__init__(folder, path, algorithm, expected, actual)
        self.folder = folder
        self.path = path
        self.algorithm = algorithm
        self.expected = expected
        self.actual = actual


class FileUnlisted(IntegrityError):
    """A file that stands in the folder but not in the manifest's checksums."""

    template = "{folder}: {path} is not listed in the checksums of manifest.json"
    hint = "list it there, or move it out of the folder"

    def __init__(self, folder: str, path: str) -> None:
        super().__init__(folder, path)
        self.folder = folder
        self.path = path


class FileMissing(IntegrityError):
    """A file that stands in the manifest's checksums but not in the folder."""

    template = "{folder}: {path} is listed in the checksums of manifest.json, but is not there"

    def __init__(self, folder: str, path: str) -> None:
        super().__init__(folder, path)
        self.folder = folder
        self.path = path
