"""A hostile disk: full, read-only, not ours, and with files that somebody has made to harm.

Whatever is met ends in one line that says so; nothing that was stored is lost, nothing outside of
the store is touched, and no claim takes memory before it is checked.
"""

import contextlib
import errno
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard
from blake3 import blake3

import rosdb.disk
from rosdb import Link, Store, errors
from rosdb.errors import StoreError
from rosdb.journal import START
from rosdb.objects import RECORD_CONTEXT
from rosdb.pack_file import ENTRY_MAGIC, HEADER, LIST_CONTEXT, Entry, encode_header
from rosdb.pack_index import encode_index

ROS = Path(sys.executable).with_name("ros")
UNPRIVILEGED = ("setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner", "--")
MEMORY_BYTES_MAX = 700 * 1024 * 1024
needs_bounds = pytest.mark.skipif(
    os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root may all"
)


# --- A full disk ----------------------------------------------------------------------------------

CALLS = (
    "open_temporary", "write", "write_synced", "publish", "replace_file", "sync", "sync_folder",
    "make_folder", "open_existing", "link", "freshen",
)  # fmt: skip


class FullDisk:
    """Refuses the k-th call to the disk, and all that follow."""

    def __init__(self, patch: pytest.MonkeyPatch, room: int | None) -> None:
        self.count = 0
        self.room = room
        for name in CALLS:
            patch.setattr(rosdb.disk, name, self._limited(getattr(rosdb.disk, name)))

    def _limited(self, call: Callable[..., object]) -> Callable[..., object]:
        def limited(*arguments: object, **options: object) -> object:
            if self.room is not None and self.count >= self.room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.count += 1
            return call(*arguments, **options)

        return limited


def work(store: Store) -> None:
    """Do what writes in every way: loose, packed, in chunks, a move, a merge, a collection."""
    store.put_blob(b"a loose one")
    for number in range(9):
        with store.transaction() as tx:
            link = tx.put_blob(b"%d" % number * 300)
            tx.move_ref("names/new", link, expected=store.ref("names/new"))
    with store.transaction() as tx:
        tx.put_blob(bytes(range(256)) * 2000)
        tx.move_ref("names/new", None, expected=store.ref("names/new"))
    store.plan_collection(grace_seconds=0).execute()
    store.repair()


def hold(store: Store) -> dict[Link, bytes]:
    """Put what must outlast everything, under a ref."""
    with store.transaction() as tx:
        contents = [b"kept " * 50, b"also kept", os.urandom(300_000)]
        links = {tx.put_blob(content): content for content in contents}
        record = tx.put_record("note/v1", {}, {str(n): link for n, link in enumerate(links)})
        tx.move_ref("names/kept", record, expected=None)
    return links


def assert_kept(path: Path, kept: dict[Link, bytes]) -> None:
    store = Store.open(path)
    for link, content in kept.items():
        assert store.get_blob(link) == content
    assert store.ref("names/kept") is not None
    assert store.check().ok
    store.close()


def test_a_disk_that_is_full_from_any_call_on(store, tmp_path):
    kept = hold(store)
    store.close()
    with pytest.MonkeyPatch.context() as patch:
        counted = FullDisk(patch, None)
        work(open_copy(store.path, tmp_path / "count"))

    for room in range(0, counted.count, 2):
        path = tmp_path / str(room)
        copy = open_copy(store.path, path)
        with pytest.MonkeyPatch.context() as patch:
            FullDisk(patch, room)
            with contextlib.suppress(errors.StoreUnwritable, errors.CollectionRefused):
                work(copy)
            copy.close()
        assert_kept(path, kept)
        shutil.rmtree(path)


def open_copy(source: Path, target: Path) -> Store:
    shutil.copytree(source, target)
    return Store.open(target)


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """Give a file system of half a megabyte."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0755", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_file_system_that_fills_up(tiny):
    store = Store.init(tiny / ".ros")
    kept = hold(store)
    with pytest.raises(errors.StoreUnwritable, match="No space left"):
        for number in range(100):
            with store.transaction() as tx:
                link = tx.put_blob(os.urandom(50_000))
                tx.move_ref(f"names/{number}", link, expected=None)
    landed = [name for name, _ in store.refs("names/")]
    for command in ("fsck", "refs"):
        assert ros(tiny, command).returncode == 0
    assert_one_error(ros(tiny, "gc", "--prune-older-than", "now"), 5, may_pass=True)
    assert [name for name, _ in Store.open(tiny / ".ros").refs("names/")] == landed
    assert_kept(tiny / ".ros", kept)
    (tiny / ".ros" / "filler").unlink(missing_ok=True)


def test_a_read_only_file_system(tiny):
    store = Store.init(tiny / ".ros")
    kept = hold(store)
    store.put_blob(b"garbage")
    store.close()
    subprocess.run(["mount", "-o", "remount,ro", str(tiny)], check=True)
    for command in ("fsck", "refs"):
        assert ros(tiny, command).returncode == 0, command
    assert_one_error(ros(tiny, "gc", "--prune-older-than", "now"), 5)
    assert_one_error(ros(tiny, "fsck", "--repair"), 5)
    with pytest.raises(errors.StoreUnwritable, match="Read-only"):
        store.put_blob(b"new")
    assert_kept(tiny / ".ros", kept)


@needs_bounds
@pytest.mark.parametrize("secret", ["objects", "objects/pack", "journal", "format", "a pack", "."])
def test_permission_denied(store, secret):
    """Another user meets files that are not for him: one line, and no word of damage."""
    hold(store)
    store.put_blob(b"loose")
    store.close()
    path = (
        next(store.path.glob("objects/pack/*.pack")) if secret == "a pack" else store.path / secret
    )
    path.chmod(0)
    seen = []
    for command in (["fsck"], ["gc"]):
        done = ros(store.path.parent, *command, is_bound=True)
        seen.append(done.returncode)
        assert_one_error(done, 5, 1, 2, 3, may_pass=True)
        assert "damaged" not in done.stderr.partition("hint:")[0]

    assert any(seen)
    path.chmod(0o755)
    assert Store.open(store.path).check().ok


# --- Names and links ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [" ", "a\nb", "é\u202e", "-rf", "%s{}", "x" * 200, "\udcff"])
def test_a_store_in_a_folder_with_an_odd_name(tmp_path, name):
    store = Store.init(tmp_path / name / ".ros")
    kept = hold(store)
    store.close()

    assert_kept(tmp_path / name / ".ros", kept)
    assert ros(tmp_path / name, "fsck").returncode == 0


def test_a_path_that_no_system_takes():
    with pytest.raises(errors.NotAStore):
        Store.open("a\0b")


@pytest.mark.parametrize(
    "name",
    ["a\nb.pack", "pack-é.pack", "pack-\udcff.pack", "multi-.idx", "pack-" + "A" * 64 + ".pack"],
)
def test_a_file_with_an_odd_name_is_none_of_ours(store, name):
    kept = hold(store)
    odd = store.path / "objects" / "pack" / name
    odd.write_bytes(b"somebody's")
    store.plan_collection(grace_seconds=0).execute()
    store.repair()

    assert odd.read_bytes() == b"somebody's"
    assert_kept(store.path, kept)


PLANTED = (
    "objects", "objects/pack", "objects/ab", "tmp", "leases", "damaged", "journal", "lock",
    "writers.lock", "gate.lock", "merge.lock", "index.lock", "index.db", "stat.db", "index.new",
    "doomed", "config.toml", "format",
)  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_a_link_that_leads_out_of_the_store(store, tmp_path, name):
    """What lies outside is not ours: nothing there is changed, whatever is asked."""
    hold(store)
    store.put_blob(b"loose")
    store.close()
    outside = tmp_path / "outside"
    outside.mkdir()
    inside = store.path / name
    if inside.is_dir():
        shutil.copytree(inside, outside / "target")
        (outside / "target" / ("run-" + "0" * 64)).mkdir()
        (outside / "target" / ("run-" + "0" * 64) / "mine").write_bytes(b"mine")
        shutil.rmtree(inside)
    elif inside.is_file():
        shutil.copyfile(inside, outside / "target")
        inside.unlink()
    else:
        (outside / "target").write_bytes(b"mine")
    inside.parent.mkdir(exist_ok=True)
    inside.symlink_to(outside / "target")
    before = snapshot(outside)

    refused = 0
    for command in (["gc", "--prune-older-than", "now"], ["fsck", "--repair"]):
        done = ros(store.path.parent, *command)
        assert_one_error(done, 5, may_pass=True)
        refused += done.returncode
    with contextlib.suppress(StoreError):
        work(Store.open(store.path))

    assert snapshot(outside) == before
    assert refused or name in ("config.toml", "format")
    inside.unlink()


def test_a_link_in_the_place_of_an_object_is_read_and_no_more(store, tmp_path):
    kept = hold(store)
    loose = store.put_blob(b"loose")
    with store.transaction() as tx:
        tx.move_ref("names/loose", loose, expected=None)
    store.close()
    outside = tmp_path / "outside"
    outside.mkdir()
    for number, path in enumerate([*store.path.glob("objects/*/*")]):
        shutil.move(path, outside / str(number))
        path.symlink_to(outside / str(number))
    before = snapshot(outside)

    assert_kept(store.path, kept)
    store.repair()
    store.plan_collection(grace_seconds=0).execute()
    work(store)
    assert_kept(store.path, kept)
    assert snapshot(outside) == before


def test_a_pipe_in_the_place_of_a_pack_makes_nobody_wait(store):
    kept = hold(store)
    os.mkfifo(store.path / "objects" / "pack" / f"pack-{'0' * 64}.pack")

    done = ros(store.path.parent, "fsck", timeout=20)

    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    store.repair()
    assert_kept(store.path, kept)


def snapshot(folder: Path) -> dict[str, tuple[int, bytes | None]]:
    """Return what can be changed of files: their modes and bytes."""
    return {
        str(path): (path.stat().st_mode, path.read_bytes() if path.is_file() else None)
        for path in sorted(folder.rglob("*"))
    }


# --- Claims ---------------------------------------------------------------------------------------


def entry_of(entry: Entry, code: int, size: int, stored: bytes, digest: bytes) -> bytes:
    return encode_header(entry, code, size, stored, digest) + stored


def frame(size: int, *, states_size: bool) -> bytes:
    compressor = zstandard.ZstdCompressor(write_content_size=states_size)
    return compressor.compress(bytes(size))


def chunk_list(height: int, rows: list[tuple[bytes, int]]) -> bytes:
    return bytes([height]) + b"".join(struct.pack("<32sQ", *row) for row in rows)


def inner(height: int, rows: list[tuple[bytes, int]]) -> tuple[bytes, bytes]:
    content = chunk_list(height, rows)
    return blake3(content, derive_key_context=LIST_CONTEXT).digest(), content


def tower() -> list[bytes]:
    """Build lists upon lists, each row leading to the same one below: 256 to the power of 6."""
    chunk = bytes(4096)
    digest, size = blake3(chunk).digest(), len(chunk)
    entries = [entry_of(Entry.BLOB, 0, size, chunk, digest)]
    for height in range(6):
        digest, content = inner(height, [(digest, size)] * 256)
        size *= 256
        entries.append(entry_of(Entry.INNER, 0, len(content), content, digest))
    content = chunk_list(height + 1, [(digest, size)])
    return [*entries, entry_of(Entry.CHUNKS, 0, len(content), content, VICTIM)]


VICTIM = blake3(b"the blob that is asked for").digest()
BIG = 60 * 1024 * 1024
DEEP = b"\x91" * 10_000 + b"\xc0"
WIDE = (b"\xdd" + struct.pack(">I", 1 << 20)) * 200 + bytes(1 << 20)


def listed(content: bytes) -> list[bytes]:
    return [entry_of(Entry.CHUNKS, 0, len(content), content, VICTIM)]


def forged_record(content: bytes) -> list[bytes]:
    digest = blake3(content, derive_key_context=RECORD_CONTEXT).digest()
    return [entry_of(Entry.RECORD, 0, len(content), content, digest)]


CLAIMS: dict[str, Callable[[], list[bytes]]] = {
    "bomb-without-size": lambda: [
        entry_of(Entry.BLOB, 1, BIG, frame(BIG * 20, states_size=False), VICTIM)
    ],
    "bomb-with-another-size": lambda: [
        entry_of(Entry.BLOB, 1, 100, frame(BIG * 20, states_size=True), VICTIM)
    ],
    "bomb-of-frames": lambda: [
        entry_of(Entry.BLOB, 1, 100, frame(100, states_size=True) * 1000, VICTIM)
    ],
    "bomb-as-a-list": lambda: [
        entry_of(
            Entry.CHUNKS, 1, 40 * 1_500_000 + 1, frame(40 * 1_500_000 + 1, states_size=True), VICTIM
        )
    ],
    "raw-of-exabytes": lambda: [
        HEADER.pack(ENTRY_MAGIC, 1, 0, 0, 1 << 60, 1 << 60, VICTIM, bytes(16)) + b"x"
    ],
    "stored-beyond-the-pack": lambda: [
        HEADER.pack(ENTRY_MAGIC, 1, 0, 0, 1 << 25, 1 << 25, VICTIM, bytes(16)) + b"x"
    ],
    "list-of-itself": lambda: listed(chunk_list(0, [(VICTIM, 100)])),
    "list-of-itself-as-inner": lambda: listed(chunk_list(1, [(VICTIM, 100)])),
    "list-of-exabytes": lambda: listed(chunk_list(0, [(VICTIM, 1 << 62)] * 3)),
    "list-of-exabytes-in-lists": tower,
    "list-255-high": lambda: listed(chunk_list(255, [(VICTIM, 100)])),
    "list-of-nothing": lambda: listed(b""),
    "list-cut-off": lambda: listed(chunk_list(0, [(VICTIM, 100)])[:-1]),
    "record-10000-deep": lambda: forged_record(DEEP),
    "record-of-wide-lists": lambda: forged_record(WIDE),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_takes_no_memory(store, claim):
    kept = hold(store)
    store.close()
    entries = CLAIMS[claim]()
    target = entries[-1][24:56]
    write_pack(store.path, entries)

    said = in_little_memory(store.path, target.hex())

    assert said["get_blob"].startswith("ObjectCorrupt ") or claim.startswith("record")
    assert said["get_record"].startswith("ObjectCorrupt ")
    assert said["open_blob"].startswith("ObjectCorrupt ")
    assert said["check"] == "False", said
    assert said["check_quick"] == "False" or claim in QUICK_PASSES
    assert said["repair"] == "done"
    reopened = Store.open(store.path)
    for link, content in kept.items():
        assert reopened.get_blob(link) == content


# Their bytes pass their check; that they are no content, only the content says.
QUICK_PASSES = ("bomb-without-size", "bomb-with-another-size", "bomb-of-frames", "list-of-itself",
                "list-of-itself-as-inner")  # fmt: skip


def write_pack(path: Path, entries: list[bytes]) -> None:
    """Write a pack of forged entries, with no index: it is made by whoever comes."""
    names = blake3()
    for entry in entries:
        names.update(entry[: HEADER.size])
    pack = path / "objects" / "pack" / f"pack-{names.hexdigest()}.pack"
    pack.write_bytes(b"rospack\x01" + b"".join(entries))
    rows = []
    offset = 8
    for entry in entries:
        rows.append((entry[24:56], 0, offset, entry[4]))
        offset += len(entry)
    pack.with_suffix(".idx").write_bytes(encode_index([names.hexdigest()], rows))


ASK = """\
import resource, sys
import rosdb
from rosdb import Store
from rosdb.errors import StoreError

store = Store.open(sys.argv[1])
wanted = rosdb.ObjectId.from_hex(sys.argv[2])
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[3]), int(sys.argv[3])))

def ask(name, call):
    try:
        print(name, call())
    except StoreError as error:
        print(name, type(error).__name__, *str(error).split())

def read():
    with store.open_blob(wanted) as handle:
        return len(handle.read())

ask("get_blob", lambda: len(store.get_blob(wanted)))
ask("get_record", lambda: store.get_record(wanted))
ask("open_blob", read)
ask("check_quick", lambda: store.check(is_quick=True).ok)
ask("check", lambda: store.check().ok)
ask("repair", lambda: store.repair() and "done")
"""


def in_little_memory(path: Path, object_id: str) -> dict[str, str]:
    """Ask for an object, and for all, in a process that may take little memory."""
    done = subprocess.run(
        [sys.executable, "-c", ASK, path, object_id, str(MEMORY_BYTES_MAX)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


@pytest.mark.parametrize("at", [8, 12])
@pytest.mark.parametrize("claimed", [0, 1, 0x7FFFFFFF, 0xFFFFFFFF])
def test_an_index_with_a_lying_count(store, at, claimed):
    kept = hold(store)
    store.close()
    index = next(store.path.glob("objects/pack/*.idx"))
    data = bytearray(index.read_bytes())
    struct.pack_into("<I", data, at, claimed)
    index.unlink()
    index.write_bytes(data)

    assert_kept(store.path, kept)


def test_an_index_with_lying_offsets(store):
    """With a checksum that holds: the entries say otherwise, and they are believed."""
    kept = hold(store)
    store.close()
    index = next(store.path.glob("objects/pack/*.idx"))
    data = bytearray(index.read_bytes())
    for at in range(len(data) - 32 - 8, len(data) - 32 - 8 - 12 * 3, -12):
        struct.pack_into("<Q", data, at, 0xFFFF_FFFF_FFFF_FFFF)
    data[-32:] = blake3(data[:-32]).digest()
    index.unlink()
    index.write_bytes(data)

    with contextlib.suppress(StoreError):
        for link, content in kept.items():
            assert store.get_blob(link) == content
    report = store.check()
    assert report.damaged or report.missing or report.ok
    store.close()
    index.unlink(missing_ok=True)
    assert_kept(store.path, kept)


@pytest.mark.parametrize("claimed", [1 << 20, 1 << 31, 0xFFFFFFFF])
def test_a_journal_entry_with_a_lying_length(store, claimed):
    kept = hold(store)
    store.close()
    with (store.path / "journal").open("ab") as handle:
        handle.write(struct.pack("<II", claimed, claimed ^ 0xFFFFFFFF) + b"x")

    store.repair()

    with contextlib.suppress(errors.JournalDamaged):
        assert_kept(store.path, kept)
    for link, content in kept.items():
        assert store.get_blob(link) == content


@pytest.mark.parametrize(
    "text",
    [
        b"x = " + b"[" * 10_000,
        b"x" * 10_000_000,
        b'durability = "full"\n' * 2,
        b"\xff\xfe",
        b"durability = 1",
        b'durability = ["full"]',
        b'"a\\nb" = 1',
    ],
    ids=["nested", "huge", "twice", "no-text", "number", "list", "odd-name"],
)
def test_settings_that_are_none(store, text):
    hold(store)
    store.close()
    config = store.path / "config.toml"
    config.unlink()
    config.write_bytes(text)

    with pytest.raises(errors.BadSetting) as caught:
        Store.open(store.path).put_blob(b"x")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert [fault.name for fault in Store.open(store.path).check().files] == ["config.toml"]


def test_a_format_that_is_huge(store):
    (store.path / "format").write_bytes(b"x" * 50_000_000)

    with pytest.raises(errors.UnsupportedFormat) as caught:
        Store.open(store.path)
    assert len(str(caught.value)) < 500


def test_a_note_of_removal_cannot_reach_outside(store, tmp_path):
    kept = hold(store)
    mine = tmp_path / "mine"
    mine.write_bytes(b"mine")
    names = ["../../mine", "/" + str(mine), str(mine), "..", "", "\0", "é", "a" * 63, "A" * 64]
    lines = [f"{kind} {name}\n" for name in names for kind in ("pack", "loose", "rm", "")]
    (store.path / "doomed").write_text("".join(lines), "utf-8")
    store.put_blob(b"whoever comes finishes what the note says")

    assert mine.read_bytes() == b"mine"
    assert not (store.path / "doomed").exists()
    assert_kept(store.path, kept)


# --- By way of the command line -------------------------------------------------------------------


def ros(
    folder: Path, *arguments: str, is_bound: bool = False, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*(UNPRIVILEGED if is_bound and os.geteuid() == 0 else ()), ROS, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=timeout,
    )


def assert_one_error(
    done: subprocess.CompletedProcess[str], *statuses: int, may_pass: bool = False
) -> None:
    """Check that a command failed in one line, and one more with a hint; or found damage."""
    assert "Traceback" not in done.stderr
    assert "defect" not in done.stderr
    if done.returncode == 0 and may_pass:
        return
    assert done.returncode in statuses, (done.args, done.stderr, done.stdout)
    lines = done.stderr.splitlines()
    if done.returncode != 1:
        assert lines[0].startswith("error: ")
        assert all(line.startswith("hint: ") for line in lines[1:])
        assert len(lines) <= 2


HARM: dict[str, tuple[Callable[[Path], None], dict[str, int]]] = {
    "bomb": (
        lambda path: write_pack(path, CLAIMS["bomb-with-another-size"]()),
        {"fsck": 1, "log": 0, "gc": 0, "show": 5},
    ),
    "tower": (
        lambda path: write_pack(path, CLAIMS["list-of-exabytes-in-lists"]()),
        {"fsck": 1, "log": 0, "gc": 0, "show": 5},
    ),
    "journal": (
        lambda path: flip(path / "journal", START + 30),
        {"fsck": 1, "log": 5, "gc": 5, "show": 5},
    ),
    "config": (
        lambda path: spoil(path / "config.toml", b"x = " + b"[" * 9000),
        {"fsck": 1, "log": 5, "gc": 5, "show": 5},
    ),
    "format": (
        lambda path: spoil(path / "format", b"\xff" * 100_000),
        {"fsck": 5, "log": 5, "gc": 5, "show": 5},
    ),
    "link": (
        lambda path: (path / "tmp").rename(path.parent / "away")
        and (path / "tmp").symlink_to(path.parent / "away"),
        {"fsck": 5, "log": 5, "gc": 5, "show": 5},
    ),
}  # fmt: skip


def put_run(store: Store) -> Link:
    """Put a run with all the fields that showing it asks for."""
    with store.transaction() as tx:
        empty = tx.put_tree({})
        recipe = tx.put_record(
            "recipe/v1",
            {
                "capsule": 1, "experiment": "sma", "entry": "sma", "parameters": {"fast": 1},
                "seed": 42, "environment": {
                    **dict.fromkeys(("python", "implementation", "system", "libc", "machine"), "x"),
                    "instructions": [], "variables": {}, "distributions": {},
                },
            },
            {"code": empty},
        )  # fmt: skip
        run = tx.put_record(
            "run/v1",
            {
                "created_at_ns": 1_700_000_000_000_000_000, "process_id": 1, "kind": "run",
                "user": "ana", "host": "desk", "agent": None, "ros": "1", "git": None,
                "dataset": None, "metric_names": ["sharpe"],
            },
            {"recipe": recipe},
        )  # fmt: skip
        outcome = tx.put_record("outcome/v1", {"metrics": {"sharpe": 1.0}}, {"artifacts": empty})
        fields = {"status": "completed", "at_ns": 2, "seconds": 1.5, "error": None}
        status = tx.put_record(
            "status/v1", {**fields, "log_bytes_cut": 0}, {"run": run, "outcome": outcome}
        )
        tx.move_ref(f"runs/{run}", status, expected=None)
    return run


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("command", ["fsck", "log", "gc", "show"])
def test_the_command_line(store, harm, command):
    run = put_run(store)
    store.close()
    for path in store.path.glob("index.db*"):
        path.unlink()
    do, statuses = HARM[harm]
    do(store.path)
    arguments = {"show": ["show", str(run)[:12]]}.get(command, [command])

    done = ros(store.path.parent, *arguments)

    assert_one_error(done, 1, 2, 3, 5, may_pass=True)
    if harm not in ("bomb", "tower"):
        assert done.returncode == statuses[command], done.stderr


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    spoil(path, bytes(data))


def spoil(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)
