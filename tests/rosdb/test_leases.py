"""Leases: which runs live, and what the dead have left."""

import contextlib
import os
import signal
import time

import pytest

from rosdb import Kind, id_of
from rosdb.leases import Leases

RUN, OTHER = (id_of(Kind.RECORD, name) for name in (b"a", b"b"))
LONG_AGO = (0, 0)


@pytest.fixture
def leases(tmp_path):
    (tmp_path / "tmp").mkdir()
    return Leases(tmp_path)


def killed(tmp_path, hold):
    """Have another process hold something, and kill it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.ExitStack() as held:
            hold(Leases(tmp_path), held)
            os.write(writer, b"x")
            time.sleep(60)
    os.read(reader, 1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reader)
    os.close(writer)


def age(tmp_path):
    for folder in ("leases", "tmp"):
        for path in (tmp_path / folder).iterdir():
            os.utime(path, LONG_AGO)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_what_the_dead_have_left_goes_with_the_next_that_shares_a_lease(leases, tmp_path):
    def hold(theirs, held):
        shared = held.enter_context(theirs.share())
        shared.hold(RUN)
        held.enter_context(theirs.hold(OTHER))

    killed(tmp_path, hold)
    assert len(list((tmp_path / "leases").iterdir())) == 2
    assert not leases.is_held(RUN)
    age(tmp_path)

    with leases.share():
        assert not list((tmp_path / "leases").iterdir())
        assert len(list((tmp_path / "tmp").iterdir())) == 1

    assert not list((tmp_path / "tmp").iterdir())


def test_what_the_living_hold_stays_however_old(leases, tmp_path):
    with leases.share() as shared, leases.hold(OTHER):
        shared.hold(RUN)
        age(tmp_path)

        with Leases(tmp_path).share():
            pass

        assert leases.is_held(RUN)
        assert leases.is_held(OTHER)


def test_what_is_new_stays_though_nobody_holds_it_yet(leases, tmp_path):
    (tmp_path / "leases").mkdir()
    (tmp_path / "leases" / str(RUN)).touch()

    with leases.share():
        assert (tmp_path / "leases" / str(RUN)).exists()
