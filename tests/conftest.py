"""What holds for every test: no network, no home, and no chance that cannot be repeated.

Chance comes from one seed. It is fixed, so that the suite is the same everywhere. With
``ROS_TEST_PROFILE=thorough`` it is drawn anew, hypothesis looks ten times as far, and the last line
of the run says how to repeat it.
"""

import os
import secrets
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import hypothesis
import pytest

from rosdb import ObjectId, Store, pack_file
from rosdb.objects import Kind
from rosdb.pack_file import Entry, PackFile, PackWriter

FIXED_SEED = 20_261_122
PROFILE = os.environ.get("ROS_TEST_PROFILE", "fixed")
SEED = int(
    os.environ.get("ROS_TEST_SEED") or (FIXED_SEED if PROFILE == "fixed" else secrets.randbits(32))
)

hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile(
    "thorough", max_examples=1000, deadline=None, database=None, print_blob=True
)


@pytest.hookimpl(tryfirst=True)  # before hypothesis reads its own option
def pytest_configure(config: pytest.Config) -> None:
    if PROFILE not in ("fixed", "thorough"):
        raise pytest.UsageError(f"ROS_TEST_PROFILE is {PROFILE!r}; say fixed or thorough")
    hypothesis.settings.load_profile(PROFILE)
    # In the background of a script, or under nohup, these are ignored, and so would be by every
    # process that a test interrupts. One that is caught has its default again after an exec.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda number, frame: None)
    if PROFILE == "thorough" and config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = str(SEED)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if PROFILE != "fixed" or SEED != FIXED_SEED:
        terminalreporter.write_line(
            f"chance: repeat with ROS_TEST_PROFILE={PROFILE} ROS_TEST_SEED={SEED}"
        )


@pytest.fixture(scope="session")
def seed() -> int:
    """Give the one seed from which a test may derive all its chance."""
    return SEED


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Stand in for the caller's home and settings, for this process and its children."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("GIT_", "ROS_", "XDG_")) and not name.startswith("ROS_TEST_"):
                patch.delenv(name)
        for name in (
            "COLUMNS",
            "LINES",
            "NO_COLOR",
            "FORCE_COLOR",
            "CLICOLOR_FORCE",
            "EDITOR",
            "PAGER",
        ):
            patch.delenv(name, raising=False)
        patch.setenv("HOME", str(folder))
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        yield folder


@pytest.fixture(scope="session", autouse=True)
def _no_network() -> Iterator[None]:
    """Refuse every connection but to a process on this machine by way of a file."""

    def guard(method: str) -> None:
        original = getattr(socket.socket, method)

        def reach(self: socket.socket, *arguments: object) -> object:
            if self.family == socket.AF_UNIX:
                return original(self, *arguments)
            refuse(arguments[-1])

        patch.setattr(socket.socket, method, reach)

    def refuse(address: object, *_: object, **__: object) -> NoReturn:
        pytest.fail(f"a test reached for the network: {address!r}")

    with pytest.MonkeyPatch.context() as patch:
        for method in ("connect", "connect_ex", "sendto"):
            guard(method)
        for question in ("getaddrinfo", "gethostbyname"):
            patch.setattr(socket, question, refuse)
        yield


# --- What befalls objects -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Copy:
    """Where one copy of an object is: a part of a pack, or the whole of a loose file."""

    path: Path
    start: int
    end: int

    def read(self) -> bytes:
        return self.path.read_bytes()[self.start : self.end]

    def write(self, data: bytes) -> None:
        """Write other bytes of the same length, in place: whoever has the file open sees them."""
        assert len(data) == self.end - self.start
        self.path.chmod(0o644)
        with self.path.open("r+b") as handle:
            handle.seek(self.start)
            handle.write(data)

    def flip(self, at: int, mask: int = 1) -> None:
        """Flip bits of one byte."""
        data = bytearray(self.read())
        data[at] ^= mask
        self.write(bytes(data))


class Fate:
    """What befalls the objects of a store, wherever they are kept.

    It knows the files and not the store's way to them: a store that is open is closed first, so
    that it looks anew.
    """

    @staticmethod
    def packs(store: Store) -> list[PackFile]:
        folder = store.path / "objects" / "pack"
        return [PackFile(path) for path in sorted(folder.glob("pack-*.pack"))]

    @staticmethod
    def loose(store: Store) -> dict[ObjectId, Copy]:
        return {
            ObjectId.from_hex(path.parent.name + path.name): Copy(path, 0, path.stat().st_size)
            for path in sorted((store.path / "objects").glob("??/*"))
        }

    def copies(self, store: Store) -> dict[ObjectId, list[Copy]]:
        """List every copy of everything: objects, chunks and lists of chunks, by id."""
        found: dict[ObjectId, list[Copy]] = {}
        for pack in self.packs(store):
            for offset, header in pack.scan():
                if header is not None:
                    copy = Copy(pack.path, offset, offset + header.end)
                    found.setdefault(ObjectId(header.digest), []).append(copy)
        for object_id, copy in self.loose(store).items():
            found.setdefault(object_id, []).append(copy)
        return dict(sorted(found.items()))

    def lose(self, store: Store, *lost: ObjectId) -> None:
        """Take objects away, as if they had never been there."""
        store.close()
        for object_id, copy in self.loose(store).items():
            if object_id in lost:
                copy.path.unlink()
        for pack in self.packs(store):
            kept = [(at, h) for at, h in pack.scan() if h and ObjectId(h.digest) not in lost]
            writer = PackWriter(store.path / "tmp")
            for offset, _ in kept:
                _, head, stored = pack.entry(offset)
                writer.append(head, stored)
            pack.path.unlink()
            if kept:
                writer.publish(pack.path.parent, is_synced=False)
            writer.abandon()
        self.forget_indexes(store)

    def damage(self, store: Store, object_id: ObjectId) -> None:
        """Flip a bit in every copy of an object."""
        for copy in self.copies(store)[object_id]:
            copy.flip(-1)
        store.close()

    def loosen(self, store: Store) -> None:
        """Keep all objects as loose files, as a store of version 1 has them."""
        objects = store._objects
        contents = {object_id: objects.load(object_id) for object_id in self.objects(store)}
        store.close()
        for pack in self.packs(store):
            pack.path.unlink()
        self.forget_indexes(store)
        for object_id, (kind, content) in contents.items():
            objects.loose.put(kind, object_id, content, is_synced=False)

    def objects(self, store: Store) -> set[ObjectId]:
        """List the objects: all but inner lists, and chunks that nothing else leads to."""
        parts: set[ObjectId] = set()
        found = set(self.loose(store))
        linked = {ObjectId(link.digest) for _, link in store.refs()}
        for pack in self.packs(store):
            for offset, header in pack.scan():
                assert header is not None
                content = pack_file.decode_content(header, pack.entry(offset)[2])
                if header.entry in (Entry.CHUNKS, Entry.INNER):
                    rows = range(1, len(content), 40)
                    parts |= {ObjectId(bytes(content[at : at + 32])) for at in rows}
                if header.entry is not Entry.INNER:
                    found.add(ObjectId(header.digest))
        for object_id in found:
            if store.typed(object_id).kind is Kind.RECORD:
                links = store.get_record(object_id).links.values()
                linked |= {ObjectId(link.digest) for link in links}
        return found - (parts - linked)

    @staticmethod
    def forget_indexes(store: Store) -> None:
        """Remove what is derived from the packs."""
        for path in (store.path / "objects" / "pack").glob("*.idx"):
            path.unlink()


@pytest.fixture(scope="session")
def fate() -> Fate:
    return Fate()
