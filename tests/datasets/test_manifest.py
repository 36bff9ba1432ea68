"""Folders against their manifests: what verifies, and everything that is refused."""

import hashlib
import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from research.datasets import manifest as manifest_module
from research.datasets.errors import (
    BadManifest,
    ChecksumMismatch,
    DatasetError,
    FileMissing,
    FileUnlisted,
)
from research.datasets.manifest import Checksum, check_folder, load_manifest

FILES = {"bars.csv": b"date\n1999-01-04\n", "raw/LICENSE.txt": b"free\n", "empty": b""}
DOCS = Path(__file__).parents[2] / "docs" / "datasets.md"


def digest(algorithm: str, content: bytes) -> str:
    if algorithm == "blake3":
        return blake3(content).hexdigest()
    return hashlib.new(algorithm, content).hexdigest()


def checksums(algorithm: str = "sha256") -> dict[str, Any]:
    return {path: digest(algorithm, content) for path, content in FILES.items()}


def document(**changes: Any) -> dict[str, Any]:
    return {
        "source": "made up",
        "created_at": "2024-01-31T09:30:00Z",
        "schema": {"bars.csv": ["date"]},
        "checksums": checksums(),
    } | changes


def write_manifest(folder: Path, content: Any) -> None:
    (folder / "manifest.json").write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    for path, content in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    write_manifest(folder, document())
    return folder


def refused_manifest(folder: Path, content: Any) -> str:
    write_manifest(folder, content)
    with pytest.raises(BadManifest) as caught:
        load_manifest(folder)
    assert caught.value.path == str(folder / "manifest.json")
    return caught.value.reason


# ---- what verifies ----


def test_a_folder_that_keeps_its_promise_is_listed_in_order(folder: Path) -> None:
    found = check_folder(folder)

    assert [file.path for file in found] == sorted(FILES)
    assert [file.size_bytes for file in found] == [len(FILES[path]) for path in sorted(FILES)]
    assert [file.source for file in found] == [folder.resolve() / path for path in sorted(FILES)]


def test_a_manifest_is_read_into_a_frozen_value(folder: Path) -> None:
    manifest = load_manifest(folder)

    assert manifest.source == "made up"
    assert manifest.created_at == datetime(2024, 1, 31, 9, 30, tzinfo=UTC)
    assert manifest.schema == {"bars.csv": ["date"]}
    assert manifest.checksums == tuple(
        Checksum(path=path, algorithm="sha256", digest=digest("sha256", FILES[path]))
        for path in sorted(FILES)
    )


@pytest.mark.parametrize(
    ("text", "hour"),
    [
        ("2024-01-31", 0),
        ("2024-01-31T09:30:00", 9),
        ("2024-01-31T09:30:00Z", 9),
        ("2024-01-31 09:30:00+02:00", 7),
    ],
)
def test_created_at_is_an_instant_in_utc(folder: Path, text: str, hour: int) -> None:
    write_manifest(folder, document(created_at=text))

    created_at = load_manifest(folder).created_at

    assert (created_at.day, created_at.hour, created_at.tzinfo) == (31, hour, UTC)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "sha1", "md5", "blake3"])
def test_every_algorithm_is_checked(folder: Path, algorithm: str) -> None:
    by_algorithm = {algorithm: checksums(algorithm)}
    prefixed = {path: f"{algorithm}:{text}" for path, text in checksums(algorithm).items()}
    bare = checksums(algorithm)
    shouted = {algorithm: {path: text.upper() for path, text in bare.items()}}
    spellings = [by_algorithm, prefixed, shouted, {algorithm: prefixed}]
    if algorithm != "blake3":
        spellings.append(bare)
    for spelling in spellings:
        write_manifest(folder, document(checksums=spelling))
        assert {checksum.algorithm for checksum in load_manifest(folder).checksums} == {algorithm}
        assert len(check_folder(folder)) == len(FILES)

    (folder / "bars.csv").write_bytes(b"DATE\n1999-01-04\n")
    for spelling in spellings:
        write_manifest(folder, document(checksums=spelling))
        with pytest.raises(ChecksumMismatch) as caught:
            check_folder(folder)
        assert caught.value.algorithm == algorithm
        assert caught.value.expected == digest(algorithm, FILES["bars.csv"])
        assert caught.value.actual == digest(algorithm, b"DATE\n1999-01-04\n")


def test_a_bare_blake3_is_taken_for_sha256_and_does_not_match(folder: Path) -> None:
    write_manifest(folder, document(checksums=checksums("blake3")))

    with pytest.raises(ChecksumMismatch, match="sha256"):
        check_folder(folder)


def test_a_file_may_stand_under_several_algorithms_and_each_counts(folder: Path) -> None:
    both = {"sha256": checksums(), "md5": {"bars.csv": checksums("md5")["bars.csv"]}}
    write_manifest(folder, document(checksums=both))
    assert len(check_folder(folder)) == len(FILES)

    both["md5"]["bars.csv"] = "0" * 32
    write_manifest(folder, document(checksums=both))
    with pytest.raises(ChecksumMismatch, match="md5"):
        check_folder(folder)


def test_other_keys_a_byte_order_mark_and_no_files_are_allowed(tmp_path: Path) -> None:
    text = json.dumps(document(checksums={}, license="CC0"))
    (tmp_path / "manifest.json").write_bytes(b"\xef\xbb\xbf" + text.encode())

    assert check_folder(tmp_path) == ()


def test_a_file_larger_than_one_read_is_hashed_whole(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest_module, "_READ_BYTES", 3)

    assert len(check_folder(folder)) == len(FILES)


# ---- the folder is not what the manifest says ----


@pytest.mark.parametrize("path", ["bars.csv", "raw/LICENSE.txt"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "extend"])
def test_a_changed_file_is_named_with_both_hashes(folder: Path, path: str, damage: str) -> None:
    content = FILES[path]
    changed = {
        "flip": bytes([content[0] ^ 1]) + content[1:],
        "truncate": content[:-1],
        "extend": content + b"\n",
    }[damage]
    (folder / path).write_bytes(changed)

    with pytest.raises(ChecksumMismatch) as caught:
        check_folder(folder)

    assert caught.value.args == (
        str(folder),
        path,
        "sha256",
        digest("sha256", content),
        digest("sha256", changed),
    )


def test_a_file_that_is_not_listed_is_refused(folder: Path) -> None:
    (folder / "raw" / ".hidden").write_bytes(b"")

    with pytest.raises(FileUnlisted) as caught:
        check_folder(folder)

    assert caught.value.path == "raw/.hidden"


def test_only_the_manifest_of_the_folder_itself_goes_unlisted(folder: Path) -> None:
    (folder / "raw" / "manifest.json").write_bytes(b"{}")

    with pytest.raises(FileUnlisted, match=r"raw/manifest\.json"):
        check_folder(folder)


def test_a_listed_file_that_is_not_there_is_refused(folder: Path) -> None:
    (folder / "raw" / "LICENSE.txt").unlink()

    with pytest.raises(FileMissing) as caught:
        check_folder(folder)

    assert caught.value.path == "raw/LICENSE.txt"


def test_a_folder_does_not_pass_for_a_listed_file(folder: Path) -> None:
    (folder / "bars.csv").unlink()
    (folder / "bars.csv").mkdir()

    with pytest.raises(FileMissing):
        check_folder(folder)


# ---- the manifest is not of the convention ----


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    for ask in (load_manifest, check_folder):
        with pytest.raises(BadManifest, match="there is no such file"):
            ask(tmp_path)
    (tmp_path / "manifest.json").mkdir()
    with pytest.raises(BadManifest, match="there is no such file"):
        load_manifest(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b'{"source": NaN}', "NaN is no number of JSON"),
        (b'{"schema": -Infinity}', "-Infinity is no number of JSON"),
        (b'{"schema": 1e400}', "is not JSON"),
        (b'{"a": 1, "a": 1}', "the key 'a' stands twice in one object"),
        (b'{"schema": {"b": 1, "b": 2}}', "the key 'b' stands twice in one object"),
        (b'{"a": "\xff"}', "is not UTF-8"),
        (b'{"a": "\\ud800"}', "is not UTF-8"),
        (b"[" * 100_000, "is nested too deep"),
        (b'{"schema": ' + b"9" * 5000 + b"}", "is not JSON"),
        (b"[]", "is not a JSON object"),
        (b"null", "is not a JSON object"),
        (b"{}", "has no source and no created_at and no schema and no checksums"),
    ],
)
def test_json_with_no_one_meaning_is_refused(folder: Path, content: bytes, reason: str) -> None:
    (folder / "manifest.json").write_bytes(content)

    with pytest.raises(BadManifest) as caught:
        load_manifest(folder)

    assert reason in caught.value.reason


def test_a_manifest_of_more_than_16_mib_is_refused_unread(folder: Path) -> None:
    with (folder / "manifest.json").open("r+b") as file:
        file.truncate(16 * 1024 * 1024 + 1)

    with pytest.raises(BadManifest, match="is larger than 16777216 bytes"):
        load_manifest(folder)


@pytest.mark.parametrize("key", ["source", "created_at", "schema", "checksums"])
def test_every_key_is_needed(folder: Path, key: str) -> None:
    content = document()
    del content[key]
    assert refused_manifest(folder, content) == f"has no {key}"
    assert refused_manifest(folder, document(**{key: None})) == f"has no {key}"


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("source", 1, "source is not a text"),
        ("source", " ", "source is not a text"),
        ("created_at", 1706693400, "created_at is not an ISO time: 1706693400"),
        ("created_at", "yesterday", "created_at is not an ISO time: 'yesterday'"),
        ("created_at", "9999-12-31T23:59:59-01:00", "created_at is not an ISO time"),
        ("checksums", [], "checksums is not an object"),
        ("checksums", {"a": 1}, "checksums: the hash of 'a' is not a text"),
        ("checksums", {"a": []}, "checksums: the hash of 'a' is not a text"),
        ("checksums", {"sha256": {"a": 1}}, "checksums: the hash of 'a' is not a text"),
        ("checksums", {"sha256": {"a": {}}}, "checksums: the hash of 'a' is not a text"),
        ("checksums", {"a": "0" * 63}, "of no known algorithm"),
        ("checksums", {"a": ""}, "of no known algorithm"),
        ("checksums", {"a": "crc32:00000000"}, "of no known algorithm"),
        ("checksums", {"a": "g" * 64}, "is no sha256"),
        ("checksums", {"a": "sha256:" + "0" * 63}, "is no sha256"),
        ("checksums", {"a": "sha256: " + "0" * 64}, "is no sha256"),
        ("checksums", {"md5": {"a": "0" * 64}}, "is no md5"),
        ("checksums", {"md5": {"a": "sha1:" + "0" * 40}}, "stands under md5, but says 'sha1'"),
        ("checksums", {"crc32": {"a": "0"}}, "'crc32' is none of sha256, sha512, sha1, md5"),
        ("checksums", {"md5": {}, "a": "0" * 64}, "mixes files and algorithms as keys"),
        ("checksums", {"manifest.json": "0" * 64}, "cannot hold its own hash"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(
    folder: Path, key: str, value: Any, reason: str
) -> None:
    found = refused_manifest(folder, document(**{key: value}))

    assert reason in found
    assert len(found) < 200


# ---- properties ----

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@given(changes=st.dictionaries(st.sampled_from(sorted(document())), JSON), junk=st.binary())
def test_no_manifest_breaks_the_reader(
    tmp_path_factory: pytest.TempPathFactory, changes: dict[str, Any], junk: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp()
    for content in (json.dumps(document(**changes)).encode(), junk):
        (folder / "manifest.json").write_bytes(content)
        with suppress(DatasetError):
            load_manifest(folder)


def test_the_messages_of_the_docs_are_those_of_the_code(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    here, docs = Path("data"), DOCS.read_text(encoding="utf-8")

    def assert_refusal_is_documented() -> None:
        with pytest.raises(DatasetError) as caught:
            check_folder(here)
        assert f"error: {caught.value}" in docs

    (here / "notes.txt").write_bytes(b"")
    assert_refusal_is_documented()
    (here / "notes.txt").unlink()
    (here / "link").symlink_to("/dev/null")
    assert_refusal_is_documented()
    (here / "link").unlink()
    (here / "bars.csv").write_bytes(b"")
    assert_refusal_is_documented()
    (here / "bars.csv").unlink()
    assert_refusal_is_documented()
