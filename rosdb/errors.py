"""What can go wrong in a store.

    StoreError
    ├── StoreExists          a store is there already
    ├── NotAStore            no store is there
    ├── UnsupportedFormat    a store of a version that this software does not know
    ├── StoreUnwritable      the disk refused
    ├── StoreUnreadable      the system does not let us read; nothing is said of what is there
    ├── StoreLocked          another process holds the lock for too long
    ├── BadSetting           config.toml says what cannot be
    ├── NotCanonical         a value has no canonical encoding, or bytes are not one
    ├── BadName              a ref, tree or column name that the format does not allow
    ├── BadTable             columns that make no table
    ├── BadExpression        a filter that cannot be read; knows the column
    ├── ObjectMissing        nothing is stored under an id
    ├── ObjectCorrupt        what is stored does not hash to its id
    ├── JournalDamaged       the chain of moves is broken
    ├── CollectionRefused    something that is reached cannot be read; nothing was removed
    ├── RefMoved             a compare-and-swap lost its race
    ├── RefMissing           a revision names nothing
    └── IdAmbiguous          a prefix names more than one run

Each class has typed fields and one template. The fields, not the text, are the exception's
arguments, so that an error survives a process pool.
"""

from collections.abc import Sequence
from typing import ClassVar


class StoreError(Exception):
    """Any error of the store."""

    template: ClassVar[str] = "the store failed"
    hint: ClassVar[str] = ""

    def __str__(self) -> str:
        """Fill the template with the fields."""
        return self.template.format(**vars(self))


class StoreExists(StoreError):
    """A store is there already."""

    template = "{path} is a store already"

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class NotAStore(StoreError):
    """No store is there."""

    template = "no store at {path}"
    hint = "make one with: ros init"

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class UnsupportedFormat(StoreError):
    """The layout's version is not one that this software reads."""

    template = "{path} is a store of an unknown format: {found}"
    hint = "it was made by another version of ros: use that, or a newer one"

    def __init__(self, path: str, found: str) -> None:
        super().__init__(path, found)
        self.path = path
        self.found = found


class StoreUnwritable(StoreError):
    """The disk refused a write: full, read-only or not permitted."""

    template = "cannot write {path}: {reason}"

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason


class StoreUnreadable(StoreError):
    """The system does not let us read: permissions, or too many open files."""

    template = "cannot read {path}: {reason}"

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason


class StoreLocked(StoreError):
    """Another process held the lock for longer than we wait."""

    template = "{path} has been locked by another process for {seconds} s"
    hint = "a running ros holds it; the lock ends with that process"

    def __init__(self, path: str, seconds: float) -> None:
        super().__init__(path, seconds)
        self.path = path
        self.seconds = seconds


class BadSetting(StoreError):
    """The store's settings cannot be read, or one is none."""

    template = "{path}: {reason}"
    hint = "see docs/format.md for the settings"

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason


class NotCanonical(StoreError):
    """A value without a canonical encoding, or bytes that are not one."""

    template = "not canonical: {reason}"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BadName(StoreError):
    """A name that the format does not allow."""

    template = "{what} {name!r} is not allowed: {reason}"

    def __init__(self, what: str, name: str, reason: str) -> None:
        super().__init__(what, name, reason)
        self.what = what
        self.name = name
        self.reason = reason


class BadTable(StoreError):
    """Columns that make no table."""

    template = "column {column!r}: {reason}"

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(column, reason)
        self.column = column
        self.reason = reason


class BadExpression(StoreError):
    """A filter that cannot be read, and where."""

    template = "cannot read {text!r} at column {column}: {reason}"

    def __init__(self, text: str, column: int, reason: str) -> None:
        super().__init__(text, column, reason)
        self.text = text
        self.column = column
        self.reason = reason

    @property
    def hint(self) -> str:  # type: ignore[override]
        """What stands at the column."""
        rest = " ".join(self.text[self.column - 1 :].split())
        return f"it is read up to: {rest[:40]}{'…' if len(rest) > 40 else ''}" if rest else ""


class ObjectMissing(StoreError):
    """Nothing is stored under an id."""

    template = "object {object_id} is missing"
    hint = "see what it touches with: ros fsck"

    def __init__(self, object_id: str) -> None:
        super().__init__(object_id)
        self.object_id = object_id


class ObjectCorrupt(StoreError):
    """What is stored does not hash to its id, or cannot be read at all."""

    template = "object {object_id} is damaged: {reason}"
    hint = "see what it touches with: ros fsck"

    def __init__(self, object_id: str, reason: str) -> None:
        super().__init__(object_id, reason)
        self.object_id = object_id
        self.reason = reason


class JournalDamaged(StoreError):
    """The chain of moves is broken; nothing is appended to it."""

    template = "the journal is damaged at byte {offset}: {reason}"
    hint = "restore .ros/journal from a copy; no object is lost. See: ros fsck"

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(offset, reason)
        self.offset = offset
        self.reason = reason


class CollectionRefused(StoreError):
    """Something that is reached cannot be read, so nothing is known to be garbage."""

    template = "nothing was removed: {reason}"
    hint = "see what is damaged with: ros fsck"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RefMoved(StoreError):
    """A compare-and-swap found another value than it expected."""

    template = "{ref} was moved by another writer: expected {expected}, found {found}"
    hint = "another ros was faster; look, and try again"

    def __init__(self, ref: str, expected: str | None, found: str | None) -> None:
        super().__init__(ref, expected, found)
        self.ref = ref
        self.expected = expected
        self.found = found


class RefMissing(StoreError):
    """A revision that names nothing."""

    template = "no run is called {revision!r}"
    hint = "list the runs with: ros log"

    def __init__(self, revision: str) -> None:
        super().__init__(revision)
        self.revision = revision


class IdAmbiguous(StoreError):
    """A prefix that names more than one run."""

    template = "{prefix!r} is ambiguous: {listing}"
    hint = "give more digits"

    def __init__(self, prefix: str, candidates: Sequence[str]) -> None:
        super().__init__(prefix, candidates)
        self.prefix = prefix
        self.candidates = tuple(candidates)

    @property
    def listing(self) -> str:
        """Show at most eight candidates."""
        shown = ", ".join(c[:16] for c in self.candidates[:8])
        more = len(self.candidates) - 8
        return f"{shown} and {more} more" if more > 0 else shown

    def __str__(self) -> str:
        """Fill the template; the listing is derived."""
        return self.template.format(prefix=self.prefix, listing=self.listing)
