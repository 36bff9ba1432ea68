"""Terminals and pipes: colour only where it is wanted, whole lines for whoever reads."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROS = Path(sys.executable).with_name("ros")
COLOUR = "\x1b["


def test_a_terminal_gets_colour_and_is_cut_to_its_width(finished, on_terminal):
    text = on_terminal(finished.folder, 60, "log")

    assert COLOUR in text
    for line in text.splitlines():
        for code in (
            "\x1b[1m",
            "\x1b[2m",
            "\x1b[31m",
            "\x1b[32m",
            "\x1b[33m",
            "\x1b[36m",
            "\x1b[0m",
        ):
            line = line.replace(code, "")
        assert len(line) <= 60


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
@pytest.mark.parametrize("command", [["log"], ["show", "sma"], ["fsck"], ["diff", "sma", "fast"]])
def test_who_wants_none_gets_none(finished, variables, command, on_terminal):
    assert COLOUR not in on_terminal(finished.folder, 60, *command, **variables)


def test_an_empty_no_color_says_nothing(finished, on_terminal):
    assert COLOUR in on_terminal(finished.folder, 60, "log", NO_COLOR="")


@pytest.mark.parametrize(
    "command",
    [["log"], ["show", "sma"], ["show", "broken@"], ["fsck"], ["diff", "sma", "fast", "--code"],
     ["experiments"], ["data", "list"], ["data", "show", "sp500-daily"], ["stats"], ["refs"],
     ["journal"], ["replay", "gamma"]],
)  # fmt: skip
def test_a_pipe_gets_plain_whole_lines(copied, command):
    done = copied.ok(*command, TERM="xterm-256color", COLUMNS="20")

    assert COLOUR not in done.text
    assert "…" not in done.text
    assert done.text.endswith("\n")


@pytest.mark.parametrize(
    "command",
    [
        ["log"],
        ["log", "--json"],
        ["show", "sma"],
        ["show", "odd:t"],
        ["journal"],
        ["diff", "sma", "fast", "--exit-code"],
    ],
)
def test_a_reader_who_leaves_is_no_error(finished, command):
    # A pipe whose reader has gone before the first byte.
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [ROS, *command], cwd=finished.folder, stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)

    assert done.stderr == b""
    assert done.returncode in (0, 1)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="writes to /dev/full")
def test_a_full_disk_is_said(finished):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [ROS, "log"], cwd=finished.folder, stdout=full, stderr=subprocess.PIPE, check=False
        )

    assert done.returncode not in (0, None)
    assert done.stderr.startswith(b"error: ")
    assert b"Traceback" not in done.stderr


def test_a_terminal_that_knows_no_braille_is_no_reason_to_fail(finished):
    for run, encoding in (("sma", "ascii"), ("odd", "latin-1"), ("sma", "utf-8")):
        done = finished.ok("show", run, PYTHONIOENCODING=encoding)
        assert b"Metrics" in done.out
        done.out.decode(encoding)
