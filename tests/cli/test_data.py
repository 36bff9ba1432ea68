"""Datasets by the command line: good ones, bad ones, and what is left of a bad one."""

import hashlib
import json
import os

import pytest

from rosdb import ObjectId, Store

BARS = "date,open,high,low,close,volume\n2020-01-01,1,3,1,2,10\n2020-01-02,2,4,2,3,10\n"


@pytest.fixture
def folder(ros):
    """Give a folder of the dataset convention."""
    made = ros.folder / "mine" / "2020"
    made.mkdir(parents=True)
    (made / "bars.csv").write_text(BARS)
    write_manifest(made)
    return made


def write_manifest(folder, **changes):
    digest = hashlib.sha256((folder / "bars.csv").read_bytes()).hexdigest()
    manifest = {
        "source": "a test",
        "created_at": "2026-01-01T00:00:00+00:00",
        "schema": {"bars.csv": {"columns": [{"name": "close", "unit": "USD"}]}},
        "checksums": {"bars.csv": f"sha256:{digest}"},
    }
    (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}))


def test_a_dataset_goes_in_and_comes_out(ros, folder):
    added = ros.json("data", "add", folder, "--name", "mine")

    assert (added["dataset"], added["version"]) == ("mine", "2020")
    assert added["bytes"] > 0
    assert added["new_bytes"] > 0
    assert added["bars"]
    shown = ros.json("data", "show", "mine")
    assert shown["source"] == "a test"
    assert "bars.csv" in shown["listing"]
    assert ros.json("data", "verify", "mine@2020")["ok"] is True
    assert "mine@2020" in ros.ok("data", "list").text
    ros.ok("data", "checkout", "mine", "out")
    assert (ros.folder / "out" / "bars.csv").read_text() == BARS
    ros.inside("data", "checkout", "mine", "out").failed(2, "not empty")


def test_the_same_again_is_nothing_new_and_other_content_is_refused(ros, folder):
    first = ros.json("data", "add", folder, "--name", "mine")
    journal = (ros.folder / ".ros" / "journal").read_bytes()

    again = ros.json("data", "add", folder, "--name", "mine")
    (folder / "bars.csv").write_text(BARS + "2020-01-03,3,5,3,4,10\n")
    write_manifest(folder)

    assert (again["snapshot"], again["new_bytes"]) == (first["snapshot"], 0)
    ros.inside("data", "add", folder, "--name", "mine").failed(
        2, "holds other content", "--version"
    )
    assert (ros.folder / ".ros" / "journal").read_bytes() == journal
    assert ros.json("data", "add", folder, "--name", "mine", "--version", "2")["new_bytes"] > 0
    assert ros.json("data", "show", "mine")["version"] == "2"


BAD = {
    "a wrong checksum": lambda f: (f / "bars.csv").write_text(BARS.replace("10", "11")),
    "a file too many": lambda f: (f / "extra.csv").write_text("x"),
    "a file that is not there": lambda f: (f / "bars.csv").unlink(),
    "no checksums": lambda f: write_manifest(f, checksums={}),
    "a path out of the folder": lambda f: write_manifest(f, checksums={"../x": "sha256:" + "0" * 64}),
    "no json": lambda f: (f / "manifest.json").write_text("{"),
    "a list": lambda f: (f / "manifest.json").write_text("[]"),
    "a manifest that leads nowhere": lambda f: (
        (f / "manifest.json").unlink(), (f / "manifest.json").symlink_to("nowhere"),
    ),
    "a link": lambda f: (f / "link.csv").symlink_to("/etc/hostname"),
    "a pipe": lambda f: os.mkfifo(f / "pipe"),
    "a day twice": lambda f: (
        (f / "bars.csv").write_text(BARS + "2020-01-02,2,4,2,3,10\n"), write_manifest(f),
    ),
    "a high below the low": lambda f: (
        (f / "bars.csv").write_text(BARS + "2020-01-03,2,1,2,3,10\n"), write_manifest(f),
    ),
    "no number": lambda f: (
        (f / "bars.csv").write_text(BARS + "2020-01-03,2,x,2,3,10\n"), write_manifest(f),
    ),
}  # fmt: skip


def test_the_same_again_brings_back_what_was_lost(ros, folder):
    ros("data", "add", folder, "--name", "mine")
    for pack in (ros.folder / ".ros" / "objects" / "pack").glob("*.pack"):
        pack.unlink()

    again = ros.json("data", "add", folder, "--name", "mine")

    assert again["dataset"] == "mine"
    assert ros.json("fsck")["ok"]


@pytest.mark.parametrize("spoil", BAD.values(), ids=BAD)
def test_what_is_not_as_it_says_is_not_stored(ros, folder, spoil):
    spoil(folder)

    ros.inside("data", "add", folder, "--name", "mine").failed(2)

    assert ros.json("data", "list") == []
    assert ros.json("journal") == []


def test_a_pipe_is_not_waited_for(ros):
    os.mkfifo(ros.folder / "pipe")

    ros.inside("data", "add", "pipe", "--name", "x").failed(2, "pipe")


def test_a_plain_file_is_stored_as_it_is(ros):
    (ros.folder / "notes.bin").write_bytes(bytes(range(256)))

    added = ros.json("data", "add", "notes.bin", "--name", "notes", "--source", "me")

    assert (added["version"], added["bars"], added["source"]) == ("1", None, "me")
    ros.ok("data", "checkout", "notes", "out")
    assert (ros.folder / "out" / "notes.bin").read_bytes() == bytes(range(256))


def test_a_schema_says_that_bars_are_none(ros):
    (ros.folder / "bars.csv").write_text(BARS)
    (ros.folder / "schema.json").write_text('{"anything": [1, 2.5]}')
    (ros.folder / "bad.json").write_text("{")

    added = ros.json("data", "add", "bars.csv", "--name", "a", "--schema", "schema.json")

    assert added["bars"] is None
    assert ros.json("data", "show", "a")["schema"] == {"anything": [1, 2.5]}
    ros.inside("data", "add", "bars.csv", "--name", "b", "--schema", "bad.json").failed(
        2, "not JSON"
    )


def test_damage_is_found_and_named(ros, fate, folder):
    ros.ok("data", "add", folder, "--name", "mine")
    target = ros.json("data", "show", "mine")["listing"]["bars.csv"]["id"]
    fate.lose(Store.open(ros.folder), ObjectId.from_hex(target))

    done = ros.inside("data", "verify", "mine")

    assert done.status == 1
    assert target in done.text + done.error
    out = ros.inside("data", "checkout", "mine", "out")
    assert out.status == 5
    assert not (ros.folder / "out").exists()


def test_a_run_uses_the_dataset_that_it_is_given(ros, folder):
    ros.ok("data", "add", folder, "--name", "mine")

    ros.inside("run", "sma_crossover", "--dataset", "mine").failed(2, "number of bars, 2")
    assert ros.json("log")[0]["dataset"] == "mine@2020"
