"""The journal: a chain that shows every tampering, and a tail that a crash may tear."""

import itertools
import os
import resource
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rosdb import disk, errors, journal
from rosdb.canonical import encode
from rosdb.journal import MAGIC, NO_ENTRY, START, Entry, Journal, Position
from rosdb.journal_frame import ENTRY_CONTEXT
from rosdb.objects import Kind, Link, id_of, link_value

LINKS = [id_of(kind, bytes([i])) for i in range(8) for kind in Kind]
SECTOR = 512


@pytest.fixture
def log(tmp_path: Path) -> Journal:
    journal.create(tmp_path / "journal", tmp_path)
    return Journal(tmp_path / "journal")


def append(log: Journal, *refs: str, why: str = "", size: int = 1) -> Position:
    """Append an entry of moves behind the last whole one."""
    end = Position()
    for entry in log.entries():
        end = entry.end
    moves = [(ref, None, LINKS[i % len(LINKS)]) for i, ref in enumerate(refs * size)]
    return log.append(end, moves, at_ns=end.offset, who="ana@desk", why=why)


def fill(log: Journal, count: int = 5) -> list[Position]:
    return [append(log, f"runs/{i}", f"names/{i}", why=f"entry {i}") for i in range(count)]


def read(log: Journal) -> list[Entry]:
    return list(log.entries())


def forged(payload: object) -> bytes:
    """Frame a payload as an entry that hashes."""
    data = payload if isinstance(payload, bytes) else encode(payload)
    size = struct.pack("<II", len(data), len(data) ^ 0xFFFFFFFF)
    return size + data + blake3(data, derive_key_context=ENTRY_CONTEXT).digest()


# --- The bytes and the chain --------------------------------------------------------------------


def test_an_empty_journal_is_its_magic(log):
    assert log.path.read_bytes() == b"ros journal v1\n\0" == MAGIC
    assert read(log) == []
    assert log.bytes_behind(Position()) == 0


def test_an_entry_byte_for_byte(log):
    end = log.append(
        Position(),
        [("names/a", None, LINKS[0]), ("runs/b", LINKS[1], None)],
        at_ns=7,
        who="ana@desk",
        why="a reason",
    )

    payload = encode(
        {
            "at_ns": 7,
            "moves": [
                ["names/a", None, link_value(LINKS[0])],
                ["runs/b", link_value(LINKS[1]), None],
            ],
            "prev": bytes(32),
            "who": "ana@desk",
            "why": "a reason",
        }
    )
    assert log.path.read_bytes() == MAGIC + forged(payload)
    assert end.offset == log.path.stat().st_size
    assert end.head == blake3(payload, derive_key_context=ENTRY_CONTEXT).digest()


def test_what_is_appended_is_read(log):
    ends = fill(log)

    entries = read(log)

    assert [entry.end for entry in entries] == ends
    assert [move.ref for entry in entries for move in entry.moves][:3] == [
        "runs/0",
        "names/0",
        "runs/1",
    ]
    assert all(move.who == "ana@desk" for entry in entries for move in entry.moves)
    assert [entry.moves[0].why for entry in entries] == [f"entry {i}" for i in range(5)]
    assert [entry.moves[0].hash for entry in entries] == [end.head.hex() for end in ends]
    assert [entry.end for entry in log.entries(ends[2])] == ends[3:]


def test_each_entry_holds_the_hash_of_the_one_before(log):
    ends = fill(log)
    data = log.path.read_bytes()

    for start, end in zip([Position(), *ends], ends, strict=False):
        assert encode({"prev": start.head})[1:] in data[start.offset : end.offset]


@given(
    st.lists(
        st.tuples(
            st.from_regex(r"[a-z]{1,8}(/[a-z0-9]{1,8}){0,2}", fullmatch=True),
            st.none() | st.sampled_from(LINKS),
            st.none() | st.sampled_from(LINKS),
        ),
        min_size=1,
        max_size=20,
    ),
    st.integers(0, 2**63),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=600),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_moves_come_back_as_they_were(tmp_path, moves, at_ns, why):
    journal.create(tmp_path / "journal", tmp_path)
    log = Journal(tmp_path / "journal")

    log.append(Position(), moves, at_ns=at_ns, who="ana@desk", why=why)

    (entry,) = log.entries()
    assert [(move.ref, move.old, move.new) for move in entry.moves] == moves
    kinds = [(link and link.kind) for move in entry.moves for link in (move.old, move.new)]
    assert kinds == [(link and link.kind) for move in moves for link in move[1:]]
    assert {(move.at_ns, move.why) for move in entry.moves} == {(at_ns, why)}


def test_an_entry_tells_where_it_moved_a_ref(log):
    ends = [append(log, *(f"runs/{i}-{j}" for j in range(4))) for i in range(100)]
    starts = [START, *(end.offset for end in ends)]

    for _ in range(2):
        for i, start in enumerate(starts[:-1]):
            assert log.targets([(start, f"runs/{i}-1")])[0] == LINKS[1]
            assert log.targets([(start, f"runs/{i}-9")])[0] is None
            assert log.targets([(start + 1, f"runs/{i}-1")])[0] is None
    for nowhere in (-1, 0, starts[-1], starts[-1] + 1000):
        assert log.targets([(nowhere, "runs/0-1")])[0] is None
    data = log.path.read_bytes()
    log.path.write_bytes(data[: START + 50] + bytes([data[START + 50] ^ 1]) + data[START + 51 :])
    assert Journal(log.path).targets([(START, "runs/0-1")])[0] is None


def test_an_instant_is_a_time(log):
    log.append(Position(), [("a", None, None)], at_ns=1_700_000_000_123_456_789, who="", why="")

    ((move,),) = [entry.moves for entry in log.entries()]

    assert move.at.isoformat() == "2023-11-14T22:13:20.123456+00:00"


def test_a_reason_with_a_nul_is_refused(log):
    """A sector of them would make a sound entry look like a torn one."""
    fill(log, 1)
    before = log.path.read_bytes()

    with pytest.raises(errors.BadName, match="it has a NUL"):
        append(log, "runs/x", why="\0" * 2000)

    assert log.path.read_bytes() == before


# --- Torn tails ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 20])
def test_a_tail_torn_at_any_byte_is_cut(log, size):
    whole = fill(log, 3)[-1]
    append(log, "runs/last", size=size, why="the last")
    data = log.path.read_bytes()

    for length in range(whole.offset, len(data)):
        log.path.write_bytes(data[:length])
        assert [entry.end for entry in log.entries()][-1] == whole
        assert log.bytes_behind(whole) == length - whole.offset
    log.path.write_bytes(data)
    assert len(read(log)) == 4


def test_the_next_writer_cuts_the_tail_and_says_so(log, caplog):
    whole = fill(log, 3)[-1]
    append(log, "runs/torn", why="a long reason that is lost")
    os.truncate(log.path, whole.offset + 30)
    caplog.clear()

    after = append(log, "runs/new")

    assert [entry.end for entry in log.entries()][-2:] == [whole, after]
    assert log.path.stat().st_size == after.offset
    assert "cut 30 bytes" in caplog.text
    caplog.clear()
    append(log, "runs/newer")
    assert caplog.text == ""


def test_zeroed_sectors_of_the_last_entry_are_a_torn_tail(log):
    """An append that was never synced: any of its sectors may be missing, the length kept."""
    whole = fill(log, 3)[-1]
    end = append(log, "runs/last", size=30, why="the last")
    data = log.path.read_bytes()
    first = whole.offset // SECTOR * SECTOR
    sectors = [
        (max(at, whole.offset), min(at + SECTOR, end.offset))
        for at in range(first, end.offset, SECTOR)
    ]
    assert len(sectors) > 3

    for lost in range(1, 2 ** len(sectors)):
        torn = bytearray(data)
        for i, (a, b) in enumerate(sectors):
            if lost >> i & 1:
                torn[a:b] = bytes(b - a)
        log.path.write_bytes(torn)
        assert len(read(log)) == 3, f"sectors {lost:b} of {sectors}"


def test_a_long_torn_tail_leaves_nothing_behind_a_short_entry(log):
    fill(log, 3)
    append(log, "runs/torn", size=50)
    os.truncate(log.path, log.path.stat().st_size - 1)

    after = append(log, "runs/short")

    assert log.path.stat().st_size == after.offset
    assert len(read(log)) == 4


@pytest.mark.parametrize("size", [8, 100, 511, 512, 513, 5000])
def test_a_tail_of_zeros_is_torn(log, size):
    whole = fill(log, 3)[-1]
    with log.path.open("ab") as handle:
        handle.write(bytes(size))

    assert len(read(log)) == 3
    assert append(log, "runs/next").offset > whole.offset
    assert len(read(log)) == 4


def test_zeroed_sectors_ahead_of_a_whole_entry_are_damage(log):
    """What was synced once and is followed by more was no torn append."""
    ends = [append(log, "runs/x", size=20, why=f"{i}") for i in range(4)]
    data = log.path.read_bytes()

    for at in range(0, ends[-2].offset - SECTOR, SECTOR):
        zeroed = data[:at] + bytes(SECTOR) + data[at + SECTOR :]
        log.path.write_bytes(zeroed)
        with pytest.raises(errors.JournalDamaged):
            read(log)


def test_a_zeroed_head_is_torn_only_in_the_last_entry(log):
    """An entry that starts with a sector: its head can be lost and all before it be sound."""
    for pad in range(SECTOR):
        log.path.write_bytes(MAGIC)
        aligned = append(log, "runs/0", why="x" * pad)
        if aligned.offset % SECTOR == 0:
            break
    start, end = aligned.offset, append(log, "runs/1", size=40).offset
    alone = log.path.read_bytes()
    append(log, "runs/2")
    followed = log.path.read_bytes()
    zeros = bytes(SECTOR)

    log.path.write_bytes(alone[:start] + zeros + alone[start + SECTOR :])
    assert [entry.end for entry in log.entries()] == [aligned]
    log.path.write_bytes(followed[:start] + zeros + followed[start + SECTOR :])
    assert end - start > SECTOR
    with pytest.raises(errors.JournalDamaged):
        read(log)


def test_zeros_behind_a_damaged_length_excuse_nothing(log):
    """A flipped bit in a committed entry, and then a torn tail: still damage."""
    start = fill(log, 3)[-1]
    append(log, "runs/committed")
    data = bytearray(log.path.read_bytes())
    data[start.offset] ^= 1
    log.path.write_bytes(data + bytes(4096))

    with pytest.raises(errors.JournalDamaged, match="the length of an entry is damaged"):
        read(log)


# --- Damage -------------------------------------------------------------------------------------


def test_every_flipped_bit_is_damage(log):
    """In any byte of any committed entry, the last one too; nothing is cut silently."""
    append(log, "runs/0", size=8, why="an entry longer than a sector, with room for zeros")
    fill(log, 2)
    data = log.path.read_bytes()

    for at in range(len(data)):
        for bit in (0, 3, 7) if at < len(data) - 400 else range(8):
            log.path.write_bytes(data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :])
            with pytest.raises(errors.JournalDamaged) as caught:
                read(log)
            assert caught.value.offset <= at


@pytest.mark.parametrize("pad", range(0, 520, 13))
def test_every_flipped_bit_is_damage_wherever_the_sectors_fall(log, pad):
    append(log, "runs/0", why="x" * pad)
    start = append(log, "runs/1").offset
    append(log, "runs/2", why="the last")
    data = log.path.read_bytes()

    for at in range(start, len(data)):
        log.path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        with pytest.raises(errors.JournalDamaged):
            read(log)


def pieces(log: Journal, ends: Sequence[Position]) -> list[bytes]:
    data = log.path.read_bytes()
    cuts = [START, *(end.offset for end in ends)]
    return [data[a:b] for a, b in itertools.pairwise(cuts)]


@pytest.mark.parametrize(
    "order",
    [
        [1, 2, 3, 4],
        [0, 2, 3, 4],
        [0, 1, 2, 4],
        [1, 0, 2, 3, 4],
        [0, 1, 2, 4, 3],
        [4, 3, 2, 1, 0],
        [0, 0, 1, 2, 3, 4],
        [0, 1, 2, 3, 4, 4],
        [0, 1, 2, 3, 4, 0],
        [4],
    ],
    ids=str,
)
def test_a_removed_moved_or_doubled_entry_is_damage(log, order):
    parts = pieces(log, fill(log))

    log.path.write_bytes(MAGIC + b"".join(parts[i] for i in order))

    with pytest.raises(errors.JournalDamaged, match="does not follow the one before"):
        read(log)


def test_an_entry_of_another_journal_is_damage(log, tmp_path):
    fill(log)
    (tmp_path / "other").mkdir()
    journal.create(tmp_path / "other" / "journal", tmp_path)
    other = Journal(tmp_path / "other" / "journal")
    append(other, "runs/foreign")

    for data in (pieces(other, [read(other)[0].end])[0], forged({"prev": NO_ENTRY})):
        with log.path.open("ab") as handle:
            handle.write(data)
        with pytest.raises(errors.JournalDamaged):
            read(log)


GOOD = {"at_ns": 1, "moves": [["names/a", None, None]], "prev": NO_ENTRY, "who": "", "why": ""}


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        encode(GOOD) + b"\xc0",
        encode([GOOD]),
        *(encode({k: v for k, v in GOOD.items() if k != key}) for key in GOOD),
        encode(GOOD | {"at_ns": 1.0}),
        encode(GOOD | {"at_ns": True}),
        encode(GOOD | {"who": None}),
        encode(GOOD | {"why": b""}),
        encode(GOOD | {"prev": None}),
        encode(GOOD | {"prev": bytes(31)}),
        encode(GOOD | {"moves": None}),
        encode(GOOD | {"moves": [None]}),
        encode(GOOD | {"moves": [["names/a", None]]}),
        encode(GOOD | {"moves": [[1, None, None]]}),
        encode(GOOD | {"moves": [["names/a", bytes(32), None]]}),
        encode(GOOD | {"moves": [["names/a", None, "x"]]}),
    ],
)
def test_an_entry_that_hashes_and_says_nothing_is_damage(log, payload):
    log.path.write_bytes(MAGIC + forged(payload))

    with pytest.raises(errors.JournalDamaged):
        read(log)


@pytest.mark.parametrize(
    "data", [b"", b"ros", MAGIC[:-1], b"x" * 16, b"ros journal v2\n\0", bytes(16)]
)
def test_a_file_that_is_no_journal_is_damage(log, data):
    log.path.write_bytes(data)

    with pytest.raises(errors.JournalDamaged, match="does not start as a journal does"):
        read(log)


def test_a_journal_that_is_gone_or_no_file_is_damage(log):
    log.path.unlink()
    for ask in (lambda: read(log), lambda: log.bytes_behind(Position())):
        with pytest.raises(errors.JournalDamaged, match="the file is missing"):
            ask()
    log.path.mkdir()
    with pytest.raises(errors.JournalDamaged, match="directory"):
        read(log)


def test_a_cut_or_rewritten_journal_is_noticed_from_a_position(log):
    ends = fill(log)
    data = log.path.read_bytes()

    log.path.write_bytes(data[: ends[3].offset])
    for ask in (lambda: log.bytes_behind(ends[4]), lambda: list(log.entries(ends[4]))):
        with pytest.raises(errors.JournalDamaged):
            ask()
    assert log.bytes_behind(ends[3]) == 0
    log.path.write_bytes(MAGIC)
    longer = [append(log, "runs/rewritten", why="x" * 1000) for _ in range(5)]
    assert longer[-1].offset > ends[4].offset
    with pytest.raises(errors.JournalDamaged):
        log.bytes_behind(ends[4])


def test_a_writer_whose_journal_was_cut_appends_nothing(log):
    ends = fill(log)
    os.truncate(log.path, ends[2].offset)
    before = log.path.read_bytes()

    with pytest.raises(errors.JournalDamaged, match="was cut"):
        log.append(ends[4], [("runs/x", None, LINKS[0])], at_ns=1, who="", why="")

    assert log.path.read_bytes() == before


# --- Disks that refuse --------------------------------------------------------------------------


def test_a_refused_sync_leaves_nothing(log, monkeypatch):
    ends = fill(log)
    before = log.path.read_bytes()

    def refuse(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(disk, "sync", refuse)
        with pytest.raises(errors.StoreUnwritable, match="No space left on device"):
            append(log, "runs/x")

    assert log.path.read_bytes() == before
    assert append(log, "runs/x").offset > ends[-1].offset


@pytest.mark.parametrize("room", [1, 7, 8, 100, 5_000, 20_000])
def test_a_full_disk_leaves_nothing(log, room):
    """By the kernel: a file of ours may not grow beyond a limit, in the middle of the entry."""
    ends = fill(log)
    before = log.path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + room, hard))
    try:
        with pytest.raises(errors.StoreUnwritable, match="File too large"):
            append(log, "runs/x", size=500)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert log.path.read_bytes() == before
    assert append(log, "runs/x", size=500).offset > ends[-1].offset
    assert len(read(log)) == 6


def test_a_short_write_is_carried_on(tmp_path):
    class Slow:
        """A file that takes three bytes at a time."""

        def __init__(self) -> None:
            self.data = b""

        def write(self, data: memoryview) -> int:
            self.data += bytes(data[:3])
            return len(data[:3])

        def flush(self) -> None:
            pass

        def fileno(self) -> int:
            return handle.fileno()

    slow = Slow()
    with (tmp_path / "x").open("wb") as handle:
        disk.write_synced(slow, b"a long line of text")  # type: ignore[arg-type]

    assert slow.data == b"a long line of text"


def test_a_reader_beside_a_writer_that_cuts_sees_no_damage(log, monkeypatch):
    """A reader that has read a torn tail, when a writer cuts it and writes a longer entry there."""
    whole = fill(log, 3)[-1]
    append(log, "runs/torn", size=5)
    os.truncate(log.path, log.path.stat().st_size - 1)
    written: list[Position] = []
    real = os.fstat

    def write_meanwhile(handle: int) -> os.stat_result:
        if not written:
            written.append(whole)
            written.append(append(log, "runs/new", size=20))
        return real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", write_meanwhile)
        seen = read(log)

    assert [entry.end for entry in seen][-2:] == written


def test_links_of_both_kinds_stay_what_they_are(log):
    blob, record = Link(bytes(32), Kind.BLOB), Link(bytes(32), Kind.RECORD)
    log.append(Position(), [("a", blob, record)], at_ns=1, who="", why="")

    ((move,),) = [entry.moves for entry in log.entries()]

    assert move.old is not None
    assert move.new is not None
    assert (move.old.kind, move.new.kind) == (Kind.BLOB, Kind.RECORD)
