"""The page ``docs/format.md``, held against the bytes.

A stranger who has only that page could write this file: it encodes, hashes and reads with
``struct``, ``blake3`` and ``zstandard``, and asks the project's own code for something to read.
"""

import json
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zstandard
from blake3 import blake3

from rosdb import (
    Store,
    chunks,
    encode_value,
    journal_frame,
    layout,
    objects,
    pack_file,
    pack_index,
    tables,
)

PAGE = (Path(__file__).parents[1] / "docs" / "format.md").read_text(encoding="utf-8")
RECORD_CONTEXT = "research-os 2026-11-22 record"
ENTRY_CONTEXT = "research-os 2026-11-22 journal entry"
LIST_CONTEXT = "research-os 2026-11-22 chunk list"


# --- A stranger's encoder and reader ------------------------------------------------------------


class Link(tuple[int, bytes]):
    """An ext type and 32 bytes."""


def head(size: int, short: tuple[int, int] | None, codes: list[tuple[int, str]]) -> bytes:
    """Write a type and a size in the shortest form: ``short`` holds sizes in the type's byte."""
    if short is not None and size < short[1]:
        return bytes([short[0] | size])
    for code, form in codes:
        if size < 256 ** struct.calcsize(form):
            return bytes([code]) + struct.pack(">" + form, size)
    raise ValueError(size)


def encoded(value: object) -> bytes:
    """Encode as section 2 says."""
    match value:
        case None:
            return b"\xc0"
        case bool():
            return b"\xc3" if value else b"\xc2"
        case int() if value >= 0:
            return head(value, (0, 128), [(0xCC, "B"), (0xCD, "H"), (0xCE, "I"), (0xCF, "Q")])
        case int():
            if value >= -32:
                return struct.pack("b", value)
            forms = [(0xD0, "b"), (0xD1, "h"), (0xD2, "i"), (0xD3, "q")]
            code, form = next(f for f in forms if -value <= 256 ** struct.calcsize(f[1]) // 2)
            return bytes([code]) + struct.pack(">" + form, value)
        case float():
            return b"\xcb" + struct.pack(">d", value)
        case str():
            text = value.encode()
            return head(len(text), (0xA0, 32), [(0xD9, "B"), (0xDA, "H"), (0xDB, "I")]) + text
        case bytes():
            return head(len(value), None, [(0xC4, "B"), (0xC5, "H"), (0xC6, "I")]) + value
        case Link():
            return bytes([0xC7, 32, value[0]]) + value[1]
        case list():
            items = [encoded(item) for item in value]
            return head(len(items), (0x90, 16), [(0xDC, "H"), (0xDD, "I")]) + b"".join(items)
        case dict():
            pairs = sorted((key.encode(), encoded(key) + encoded(value[key])) for key in value)
            start = head(len(pairs), (0x80, 16), [(0xDE, "H"), (0xDF, "I")])
            return start + b"".join(pair for _, pair in pairs)
    raise TypeError(type(value))


def blob_id(content: bytes) -> str:
    return blake3(content).hexdigest()


def record_id(content: bytes) -> str:
    return blake3(content, derive_key_context=RECORD_CONTEXT).hexdigest()


def loose_object(data: bytes) -> tuple[int, bytes]:
    """Read a loose object's file as section 5 says; return kind and content."""
    magic, kind, codec, zero, size = struct.unpack("<4sBBHQ", data[:16])
    content = data[16:]
    assert (magic, zero) == (b"ros\x01", 0)
    if codec == 1:
        frame, crc = content[:-4], content[-4:]
        assert struct.pack("<I", zlib.crc32(frame)) == crc
        content = zstandard.ZstdDecompressor().decompress(frame)
    assert len(content) == size
    return kind, content


def pack_entries(data: bytes) -> Iterator[tuple[int, int, str, bytes]]:
    """Read a pack as section 5 says; give offset, kind, id and content of each entry."""
    assert data[:8] == b"rospack\x01"
    at = 8
    while at < len(data):
        magic, kind, codec, zero, size, stored_size, digest, check = struct.unpack_from(
            "<4sBBHQQ32s16s", data, at
        )
        content = data[at + 72 : at + 72 + stored_size]
        assert (magic, zero, len(content)) == (b"rosE", 0, stored_size)
        assert check == blake3(data[at : at + 56] + content).digest()[:16]
        if codec == 1:
            assert zstandard.frame_content_size(content) == size
            content = zstandard.ZstdDecompressor().decompress(content)
        assert len(content) == size
        yield at, kind, digest.hex(), content
        at += 72 + stored_size


def pack_name(data: bytes) -> str:
    ends = [at for at, *_ in pack_entries(data)]
    return blake3(b"".join(data[at : at + 72] for at in ends)).hexdigest()


def rows_of(content: bytes) -> list[tuple[str, int]]:
    return [(digest.hex(), size) for digest, size in struct.iter_unpack("<32sQ", content[1:])]


def joined(content: bytes, entries: dict[str, tuple[int, bytes]]) -> bytes:
    """Put a blob together from its list of chunks, as section 5 says."""
    parts = []
    for digest, size in rows_of(content):
        kind, part = entries[digest]
        if content[0] > 0:
            assert kind == 4
            assert part[0] == content[0] - 1
            assert blake3(part, derive_key_context=LIST_CONTEXT).hexdigest() == digest
            part = joined(part, entries)
        else:
            assert kind == 1
            assert blob_id(part) == digest
        assert len(part) == size
        parts.append(part)
    return b"".join(parts)


def index_rows(data: bytes) -> tuple[list[str], dict[str, tuple[int, int, int]]]:
    """Read an index as section 5 says; return its packs, and for each id place and kind."""
    magic, packs, rows = struct.unpack_from("<8sII", data)
    assert magic == b"rospidx\x01"
    assert data[-32:] == blake3(data[:-32]).digest()
    names = [data[at : at + 32].hex() for at in range(16, 16 + 32 * packs, 32)]
    at = 16 + 32 * packs
    fanout = struct.unpack_from("<256I", data, at)
    at += 1024
    ids = [data[start : start + 32] for start in range(at, at + 32 * rows, 32)]
    at += 32 * rows
    places = [
        (pack, int.from_bytes(offset, "little"), kind)
        for pack, offset, kind in struct.iter_unpack("<I7sB", data[at : at + 12 * rows])
    ]
    assert at + 12 * rows + 32 == len(data)
    assert ids == sorted(set(ids))
    assert list(fanout) == [sum(each[0] <= first for each in ids) for first in range(256)]
    return names, {each.hex(): place for each, place in zip(ids, places, strict=True)}


def objects_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Read all objects of a store, loose and packed: by id the kind and the content."""
    found = {
        path.parent.name + path.name: loose_object(path.read_bytes())
        for path in (folder / "objects").glob("??/*")
    }
    entries: dict[str, tuple[int, bytes]] = {}
    for path in (folder / "objects" / "pack").glob("pack-*.pack"):
        data = path.read_bytes()
        assert path.name == f"pack-{pack_name(data)}.pack"
        every = list(pack_entries(data))
        entries |= {digest: (kind, content) for _, kind, digest, content in every}
        names, rows = index_rows(path.with_suffix(".idx").read_bytes())
        assert names == [pack_name(data)]
        assert rows == {digest: (0, at, kind) for at, kind, digest, _ in every}
    for digest, (kind, content) in entries.items():
        if kind == 3:
            found[digest] = (1, joined(content, entries))
        elif kind in (1, 2):
            found[digest] = (kind, content)
    return found


def journal_entries(data: bytes) -> Iterator[bytes]:
    """Read a journal's payloads as section 4 says, checking the chain."""
    assert data[:16] == b"ros journal v1\n\x00"
    at, previous = 16, bytes(32)
    while at < len(data):
        length, inverted = struct.unpack_from("<II", data, at)
        payload, digest = data[at + 8 : at + 8 + length], data[at + 8 + length : at + 40 + length]
        assert inverted == length ^ 0xFFFFFFFF
        assert blake3(payload, derive_key_context=ENTRY_CONTEXT).digest() == digest
        assert encoded("prev") + encoded(previous) in payload
        yield payload
        at, previous = at + 40 + length, digest


# --- The examples on the page -------------------------------------------------------------------


def examples(kind: str) -> list[tuple[str, dict[str, str]]]:
    """Return the titles and the fields of the examples of a kind."""
    found = []
    for title, body in re.findall(rf"```example {kind}\b *(.*)\n((?:.*\n)+?)```", PAGE):
        fields: dict[str, str] = {}
        name = ""
        for line in body.splitlines():
            if line.startswith(" "):
                fields[name] += line.strip()
            else:
                name, _, rest = line.partition(" ")
                fields[name] = rest.strip()
        found.append((title, fields))
    return found


def plain(value: object) -> object:
    """Read what JSON cannot say: ``{"hex": …}`` is bytes."""
    if isinstance(value, dict):
        if value.keys() == {"hex"}:
            return bytes.fromhex(value["hex"])
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def link(text: str) -> Link:
    kind, digits = text.split()
    return Link(({"blob": 1, "record": 2}[kind], bytes.fromhex(digits)))


TESTED = ("blob", "chunks", "pack", "record", "value")


def test_every_example_is_of_a_kind_that_is_tested():
    kinds = re.findall(r"```example (\w+)", PAGE)

    assert {"blob", "pack", "record", "value"} <= set(kinds) <= set(TESTED)
    assert sum(len(examples(kind)) for kind in TESTED) == len(kinds)


def test_the_blobs():
    for _, fields in examples("blob"):
        content = bytes.fromhex(fields["content"])

        assert fields["id"] == blob_id(content)
        assert fields["id"] == str(objects.id_of(objects.Kind.BLOB, content))


def test_the_values():
    for title, fields in examples("value"):
        value = json.loads(title)

        assert fields["content"] == encoded(value).hex()
        assert fields["content"] == encode_value(value).hex()


@pytest.mark.parametrize(("schema", "fields"), examples("record"), ids=lambda p: str(p)[:8])
def test_the_records(schema, fields):
    plain_fields = plain(json.loads(fields["fields"]))
    links = {name: link(text) for name, text in json.loads(fields["links"]).items()}
    content = encoded([schema, plain_fields, links])

    assert fields["content"] == content.hex()
    assert fields["id"] == record_id(content)
    own = objects.decode_record(content)
    assert (own.schema, own.fields) == (schema, plain_fields)
    assert objects.encode_record(own) == content
    assert str(objects.id_of(objects.Kind.RECORD, content)) == fields["id"]


def test_the_packs():
    ((_, fields),) = examples("pack")
    data = bytes.fromhex(fields["content"])

    assert list(pack_entries(data)) == [(8, 1, blob_id(b"hello\n"), b"hello\n")]
    assert fields["name"] == pack_name(data)
    head = pack_file.encode_header(
        pack_file.Entry.BLOB, 0, 6, b"hello\n", objects.id_of(objects.Kind.BLOB, b"hello\n").digest
    )
    assert pack_file.MAGIC + head + b"hello\n" == data


def test_the_lists_of_chunks():
    for title, fields in examples("chunks"):
        rows = [(bytes.fromhex(digest), size) for digest, size in json.loads(title)]
        content = b"\0" + b"".join(struct.pack("<32sQ", *row) for row in rows)

        assert fields["content"] == content.hex() == chunks.encode_list(0, rows).hex()
        assert chunks.decode_list(content) == (0, rows)
        id_ = blake3(content, derive_key_context=LIST_CONTEXT).hexdigest()
        assert fields["inner"] == id_
        assert pack_file.digest_of(pack_file.Entry.INNER, content) == bytes.fromhex(id_)


def test_an_index_is_the_one_on_the_page():
    ids = [blob_id(b"%d" % number) for number in range(1000)]
    names = [blob_id(b"a"), blob_id(b"b")]
    rows = [(bytes.fromhex(digest), n % 2, n * 100, n % 4 + 1) for n, digest in enumerate(ids)]

    packs, found = index_rows(pack_index.encode_index(names, rows))

    assert packs == names
    assert found == {digest: (n % 2, n * 100, n % 4 + 1) for n, digest in enumerate(ids)}


def test_the_names_and_limits_on_the_page_are_the_code_s():
    for text in (RECORD_CONTEXT, ENTRY_CONTEXT, LIST_CONTEXT):
        assert f'"{text}"' in PAGE
    assert pack_file.LIST_CONTEXT == LIST_CONTEXT
    assert f"more than {chunks.WHOLE_BYTES_MAX // 1024} KiB is cut" in PAGE
    sizes = (chunks.CHUNK_BYTES_MIN, chunks.CHUNK_BYTES_MEAN, chunks.CHUNK_BYTES_MAX)
    words = "smallest chunk {} KiB, average {} KiB, largest {} KiB"
    assert words.format(*(size // 1024 for size in sizes)) in PAGE
    assert objects.RECORD_CONTEXT == RECORD_CONTEXT
    assert journal_frame.ENTRY_CONTEXT == ENTRY_CONTEXT
    assert f"at most {tables.INLINE_BYTES_MAX:,}" in PAGE
    for dtype in tables.WIDTHS:
        assert f"`{dtype}`" in PAGE or dtype.startswith(("int", "uint"))


# --- A store, read by a stranger ----------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.init(tmp_path / ".ros")
    yield store
    store.close()


LONG = b"".join(b"%d," % (i * i) for i in range(200_000))


def test_a_stranger_reads_a_store(store):
    contents = [b"", b"hello\n", b"price " * 1000, bytes(range(256)) * 16, LONG]
    with store.transaction("data add") as tx:
        blobs = [tx.put_blob(content) for content in contents]
        table = tx.put_table(
            {
                "at": np.array([0, 1], "datetime64[ns]"),
                "close": np.ma.array([1.5, 7.0], mask=[False, True]),
                "note": np.array(["é", ""]),
            },
            {"close": "USD"},
        )
        fields = {"name": "demo", "depth": {"a": [1, -200, 2.5, None, True]}}
        snapshot = tx.put_record("snapshot/v1", fields, {"bars": table, "files": blobs[1]})
        tx.move_ref("datasets/demo/1", snapshot, expected=None)
    with store.transaction("mend") as tx:
        tx.move_ref("datasets/demo/1", table, expected=snapshot)
        tx.move_ref("datasets/demo/2", snapshot, expected=None)

    store.put_blob(b"loose")
    contents.append(b"loose")
    files = objects_of(store.path)
    column = {"dtype": "", "name": "", "unit": "", "mask": None}
    columns = [
        column | {"name": "at", "dtype": "datetime64[ns]", "data": struct.pack("<qq", 0, 1)},
        column | {
            "name": "close", "dtype": "float64", "unit": "USD",
            "data": struct.pack("<dd", 1.5, 0), "mask": b"\x00\x01",
        },
        column | {
            "name": "note", "dtype": "utf8", "data": struct.pack("<qqq", 0, 2, 2) + b"\xc3\xa9"
        },
    ]  # fmt: skip
    table_content = encoded(["table/v1", {"rows": 2, "columns": columns}, {}])
    table_id = record_id(table_content)
    links = {
        "bars": Link((2, bytes.fromhex(table_id))),
        "files": Link((1, bytes.fromhex(blob_id(b"hello\n")))),
    }
    snapshot_content = encoded(["snapshot/v1", fields, links])
    snapshot_id = record_id(snapshot_content)

    whole = {blob_id(content): (1, content) for content in contents} | {
        table_id: (2, table_content),
        snapshot_id: (2, snapshot_content),
    }
    assert {digest: files[digest] for digest in whole} == whole
    # What else there is are the chunks of the long one.
    assert len(files) > len(whole) + len(LONG) // 65_536
    assert all(
        kind == 1 and content in LONG
        for kind, content in (files[digest] for digest in files.keys() - whole.keys())
    )
    payloads = list(journal_entries((store.path / "journal").read_bytes()))
    moves = list(store.journal())
    new = Link((2, bytes.fromhex(snapshot_id)))
    newer = Link((2, bytes.fromhex(table_id)))
    expected = [
        [["datasets/demo/1", None, new]],
        [["datasets/demo/1", new, newer], ["datasets/demo/2", None, new]],
    ]
    previous = bytes(32)
    for payload, entry, move, why in zip(
        payloads, expected, (moves[0], moves[1]), ("data add", "mend"), strict=True
    ):
        value = {
            "at_ns": move.at_ns, "moves": entry, "prev": previous, "who": store.who, "why": why
        }  # fmt: skip
        assert payload == encoded(value)
        previous = blake3(payload, derive_key_context=ENTRY_CONTEXT).digest()
    assert moves[-1].hash == previous.hex()


def test_the_folder_is_the_one_on_the_page(store):
    store.put_blob(b"hello\n")
    drawn = re.search(r"    \.ros/\n((?:      .*\n)+)", PAGE)
    assert drawn is not None
    names = [line.strip().partition("  ")[0].split(", ") for line in drawn[1].splitlines()]
    named = {name.split()[0].partition("/")[0] for line in names for name in line}

    there = {path.name for path in store.path.iterdir()}

    assert {name for name in there if not name.startswith(("index.db-", "stat.db-"))} <= named
    assert (store.path / "format").read_text() == "research-os store 2\n" == layout.FORMAT
    assert f'format                    "{(store.path / "format").read_text()[:-1]}\\n"' in PAGE


def test_the_small_column_rule_is_the_page_s(store):
    for count, is_inline in ((512, True), (513, False)):
        link_ = store.put_table({"x": np.zeros(count)})
        record = store.get_record(link_)
        (column,) = record.fields["columns"]

        assert (column["data"] is not None) == is_inline
        assert record.links.keys() == (set() if is_inline else {"x/data"})
