"""Read and verify a whole store by ``docs/format.md`` alone: an assert is a sentence of that page.

``foreign_reader.py STORE`` prints the refs and the counts, ``foreign_reader.py STORE ID`` a blob.
"""

import sys
import zlib
from bisect import bisect
from itertools import pairwise
from pathlib import Path
from struct import iter_unpack, pack, unpack, unpack_from

import msgpack
from blake3 import blake3
from zstandard import ZstdDecompressor

BLOB, RECORD, CHUNK_LIST, INNER_LIST = 1, 2, 3, 4
CONTEXTS = {RECORD: "record", INNER_LIST: "chunk list"}
DTYPES = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64 datetime64[ns]"
FORMS = dict(zip(DTYPES.split(), "?bhiqBHIQfdq", strict=True))


def hash_of(content, what=None):
    return blake3(content, derive_key_context=what and f"research-os 2026-11-22 {what}").digest()


def decoded(content):
    """Decode a value, which must encode to the same bytes again."""
    value = msgpack.unpackb(content, timestamp=1, object_pairs_hook=lambda p: dict(sorted(p)))
    assert msgpack.packb(value) == content
    return value


def journal_entry(data, at):
    """Return where the entry at an offset ends, 0 if its length is damaged, and if it is whole."""
    length, inverted = unpack("<II", data[at : at + 8].ljust(8, b"\0"))
    end = at + 40 + length if inverted == length ^ 0xFFFFFFFF and length <= 2**26 else 0
    return end, end and data[end - 32 : end] == hash_of(data[at + 8 : end - 32], "journal entry")


def journal_entries(data):
    """Return the entries, each chained to the one before, and where they end."""
    assert data[:16] == b"ros journal v1\n\0"
    entries, at, previous, size = [], 16, bytes(32), len(data)
    end, is_whole = journal_entry(data, at)
    while is_whole:
        entries.append(decoded(data[at + 8 : end - 32]))
        assert entries[-1]["prev"] == previous
        at, previous = end, data[end - 32 : end]
        end, is_whole = journal_entry(data, at)
    cuts = [at, *range(at // 512 * 512 + 512, size, 512), size]
    blank = [a for a, b in pairwise(cuts) if b - a >= 8 and not any(data[a:b])]
    is_last = end == size or not (end or any(journal_entry(data, n)[1] for n in range(at, size)))
    assert (is_last and blank and blank[0] < (end or at + 8)) or max(end, at + 8) > size
    return entries, at


class Store:
    """All that a folder holds, read and verified."""

    def __init__(self, folder):
        assert Path(folder, "format").read_bytes() in [b"research-os store %c\n" % n for n in b"12"]
        self.found, self.packs = {kind: {} for kind in range(1, 5)}, {}
        for path in Path(folder, "objects").glob("[0-9a-f]" * 2 + "/" + "[0-9a-f]" * 62):
            self._read_loose(bytes.fromhex(path.parent.name + path.name), path.read_bytes())
        for path in Path(folder, "objects").glob("pack/pack-*.pack"):
            self._read_pack(bytes.fromhex(path.stem[5:]), path.read_bytes())
        for path in Path(folder, "objects").glob("pack/*.idx"):
            self._verify_index(bytes.fromhex(path.stem[-64:]), path.read_bytes())
        lists = self.found[CHUNK_LIST].items()
        self.blobs = self.found[BLOB] | {id_: self._joined(rows, rows[0]) for id_, rows in lists}
        assert all(hash_of(self.blobs[id_]) == id_ for id_, _ in lists)
        self.records = {id_: decoded(content) for id_, content in self.found[RECORD].items()}
        self.entries, self.journal_end = journal_entries(Path(folder, "journal").read_bytes())
        moves = {ref: new for entry in self.entries for ref, _, new in entry["moves"]}
        self.refs = {ref: link for ref, link in moves.items() if link}

    def _add(self, id_, kind, codec, size, stored):
        content = ZstdDecompressor().decompress(stored) if codec else stored
        assert (codec < 2, len(content)) == (True, size)
        assert kind == CHUNK_LIST or id_ == hash_of(content, CONTEXTS.get(kind))
        self.found[kind][id_] = content

    def _read_loose(self, id_, data):
        magic, kind, codec, zero, size = unpack_from("<4sBBHQ", data)
        crc = pack("<I", zlib.crc32(data[16:-4])) if codec else b""
        assert (magic, kind < 3, zero, data.endswith(crc)) == (b"ros\1", True, 0, True)
        self._add(id_, kind, codec, size, data[16 : len(data) - len(crc)])

    def _read_pack(self, name, data):
        at, headers, ids = 8, bytearray(), self.packs.setdefault(name, {})
        while at < len(data):
            header = data[at : at + 72]
            magic, kind, codec, zero, size, width, id_, check = unpack("<4sBBHQQ32s16s", header)
            stored = data[at + 72 : at + 72 + width]
            assert (magic, zero, check) == (b"rosE", 0, hash_of(header[:56] + stored)[:16])
            self._add(id_, kind, codec, size, stored)
            headers += header
            ids[at], at = (id_, kind), at + 72 + width
        assert (data[:8], name) == (b"rospack\1", hash_of(headers))

    def _verify_index(self, name, data):
        p, n = unpack_from("<8xII", data)
        names, fan_out, ids, places = unpack(f"<16x{32 * p}s1024s{32 * n}s{12 * n}s32x", data)
        assert (data[:8], data[-32:]) == (b"rospidx\1", hash_of(data[:-32]))
        assert name in (names, hash_of(data))
        packs = [self.packs.get(each, {}) for (each,) in iter_unpack("32s", names)]
        ids = [id_ for (id_,) in iter_unpack("32s", ids)]
        assert ids == sorted({*ids, *(id_ for entries in packs for id_, _ in entries.values())})
        assert fan_out == pack("<256I", *(bisect(ids, bytes([n] + [255] * 32)) for n in range(256)))
        for id_, (number, place) in zip(ids, iter_unpack("<IQ", places), strict=True):
            assert not packs[number] or packs[number][place % 2**56] == (id_, place >> 56)

    def _joined(self, rows, height):
        assert rows[0] == height
        parts = []
        for id_, size in iter_unpack("<32sQ", rows[1:]):
            part = self.found[INNER_LIST if height else BLOB][id_]
            parts.append(self._joined(part, height - 1) if height else part)
            assert len(parts[-1]) == size
        return b"".join(parts)

    def tree(self, id_):
        """Return a folder: each name, to the folder below or to the link of a file or table."""
        _, fields, links = self.records[id_]
        folders = [name for name, (kind, _, _) in fields["entries"].items() if kind == "tree"]
        return links | {name: self.tree(links[name].data) for name in folders}

    def table(self, id_):
        """Return a table's columns: each name, to a list with None where a value is missing."""
        _, fields, links = self.records[id_]
        blobs = {name: self.blobs[link.data] for name, link in links.items()}
        columns, rows = {}, fields["rows"]
        for name, column in ((column["name"], column) for column in fields["columns"]):
            data = blobs.get(f"{name}/data", column["data"])
            mask = blobs.get(f"{name}/mask", column["mask"]) or bytes(rows)
            if column["dtype"] == "utf8":
                *ends, text = unpack(f"<{rows + 1}q{len(data) - 8 * rows - 8}s", data)
                values = [text[a:b].decode() for a, b in pairwise(ends)]
            else:
                values = unpack(f"<{rows}{FORMS[column['dtype']]}", data)
            columns[name] = [None if gone else v for v, gone in zip(values, mask, strict=True)]
        return columns


if __name__ == "__main__":
    store, digits = Store(sys.argv[1]), "".join(sys.argv[2:])
    refs = "".join(f"{link.data.hex()} {ref}\n" for ref, link in sorted(store.refs.items()))
    text = f"{refs}{len(store.blobs)} blobs, {len(store.records)} records\n"
    sys.stdout.buffer.write(store.blobs[bytes.fromhex(digits)] if digits else text.encode())
