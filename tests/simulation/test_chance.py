"""Chance: uniform, independent, and a function of its key alone."""

import math
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.simulation import chance
from research.simulation.chance import (
    FAILURE_STREAM,
    FRACTION_STREAM,
    JITTER_STREAM,
    LATENCY_STREAM,
    PARTIAL_STREAM,
    uniform,
)
from research.simulation.engine import simulate
from research.simulation.session import asset_key

STREAMS = (LATENCY_STREAM, JITTER_STREAM, FAILURE_STREAM, PARTIAL_STREAM, FRACTION_STREAM)
SEED = 20_261_122
COUNT = 20_000
KEYS = st.tuples(
    st.integers(0, 2**63 - 1),
    st.sampled_from(STREAMS),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**40),
    st.integers(0, 1000),
)
GOLDEN = {
    (0, 1, 0, 0, 0): "0x1.7d3d9704f8c80p-5",
    (0, 2, 0, 0, 0): "0x1.bbae82258d758p-2",
    (0, 3, 0, 0, 0): "0x1.d5a74e43d8008p-1",
    (0, 4, 0, 0, 0): "0x1.422883ca0965ap-1",
    (0, 5, 0, 0, 0): "0x1.643b7551d0c8ap-2",
    (1, 1, 0, 0, 0): "0x1.aa2ec60fb773dp-1",
    (0, 1, 1, 0, 0): "0x1.b8530b33a0f9ap-1",
    (0, 1, 0, 1, 0): "0x1.674d20f97d168p-3",
    (0, 1, 0, 0, 1): "0x1.cee3a7d500167p-1",
    (42, 3, 3353202509, 7, 2): "0x1.e042c6e08f37ap-1",
    (4294967296, 1, 0, 0, 0): "0x1.08ca7bc67dd4ap-2",
    (9223372036854775807, 5, 4294967295, 1099511627776, 1000): "0x1.c97589ec184dbp-1",
}


@pytest.mark.parametrize("key", GOLDEN, ids=str)
def test_golden_draws(key):
    assert uniform(*key).hex() == GOLDEN[key]


def test_golden_keys_of_assets():
    assert asset_key("asset") == 3353202509
    assert asset_key("GSPC") == 3192142041


def test_streams_have_numbers_of_their_own():
    assert len(set(STREAMS)) == 5


@given(key=KEYS)
def test_draw_is_a_multiple_of_its_unit_in_the_unit_interval(key):
    draw = uniform(*key)
    assert 0.0 <= draw < 1.0
    assert (draw * 2.0**53).is_integer()
    assert uniform(*key) == draw


@given(words=st.lists(st.integers(0, chance.MASK), unique=True, max_size=50))
def test_mixing_is_a_bijection(words):
    mixed = [chance.mixed(word) for word in words]
    assert len(set(mixed)) == len(words)
    assert all(0 <= word <= chance.MASK for word in mixed)


def along(axis, count=COUNT):
    """Draws along one part of the key, all else as it is."""
    key = [SEED, FAILURE_STREAM, asset_key("asset"), 0, 0]
    draws = np.empty(count)
    for step in range(count):
        key[axis] = step
        draws[step] = uniform(*key)
    return draws


def chi_square(counts):
    expected = counts.sum() / counts.size
    return float(((counts - expected) ** 2).sum() / expected)


def bound(freedom):
    """Return what a chi-square exceeds once in a million: Wilson and Hilferty's cube."""
    part = 2.0 / (9.0 * freedom)
    return freedom * (1.0 - part + 4.7534 * math.sqrt(part)) ** 3


@pytest.mark.parametrize("axis", [0, 2, 3, 4], ids=["seed", "asset", "number", "attempt"])
def test_draws_are_uniform_along_every_part_of_the_key(axis):
    draws = along(axis)
    assert chi_square(np.histogram(draws, 256, (0.0, 1.0))[0]) < bound(255)
    # The low bits too: the sixteenth to the twenty-fourth.
    low = np.modf(draws * 2.0**16)[0]
    assert chi_square(np.histogram(low, 256, (0.0, 1.0))[0]) < bound(255)
    last = np.modf(draws * 2.0**45)[0]
    assert chi_square(np.histogram(last, 256, (0.0, 1.0))[0]) < bound(255)


@pytest.mark.parametrize("axis", [0, 2, 3, 4], ids=["seed", "asset", "number", "attempt"])
@pytest.mark.parametrize("lag", [1, 2, 16, 256])
def test_neighbours_are_independent(axis, lag):
    draws = along(axis)
    counts = np.histogram2d(draws[:-lag], draws[lag:], 16, [(0.0, 1.0)] * 2)[0]
    assert chi_square(counts) < bound(255)


@pytest.mark.parametrize(("first", "second"), list(combinations(STREAMS, 2)))
def test_streams_are_independent(first, second):
    key = asset_key("asset")
    pairs = [
        [uniform(SEED, stream, key, number, 0) for number in range(COUNT)]
        for stream in (first, second)
    ]
    counts = np.histogram2d(*pairs, 16, [(0.0, 1.0)] * 2)[0]
    assert chi_square(counts) < bound(255)


def test_assets_are_independent():
    pairs = [
        [uniform(SEED, FAILURE_STREAM, asset_key(name), number, 0) for number in range(COUNT)]
        for name in ("alpha", "beta")
    ]
    assert chi_square(np.histogram2d(*pairs, 16, [(0.0, 1.0)] * 2)[0]) < bound(255)


def test_the_bounds_can_be_exceeded():
    """A generator with a period, or one whose neighbours hang together, would be found."""
    periodic = np.arange(COUNT) % 200 / 200
    assert chi_square(np.histogram(periodic, 256, (0.0, 1.0))[0]) > bound(255)
    stepping = (np.arange(COUNT) * 0.6180339887498949) % 1.0
    assert chi_square(np.histogram(stepping, 256, (0.0, 1.0))[0]) < bound(255)
    counts = np.histogram2d(stepping[:-1], stepping[1:], 16, [(0.0, 1.0)] * 2)[0]
    assert chi_square(counts) > bound(255)


def test_high_bits_of_the_seed_count():
    draws = {
        uniform(seed, FAILURE_STREAM, 7, 0, 0) for seed in (1, 2**32, 2**32 + 1, 2**62, 2**63 - 1)
    }
    assert len(draws) == 5


# --- in the engine: one model off leaves the others' draws as they were -------------------------

LATE = {"latency": {"p50": 6e7, "p90": 1.2e8, "p99": 2e8, "jitter": 1e6}}
FAILING = {"failures": {"base_rate": 0.4, "retries": 3}}
PARTLY = {"partial_fills": {"probability": 0.5, "fill_range": (0.25, 0.75)}}


def played(make_bars, at, execution, seed=SEED):
    bars = make_bars([64.0] * 400)
    entries, exits = at(400, *range(0, 400, 16)), at(400, *range(8, 400, 16))
    return simulate(bars, entries, exits, size=8.0, execution=execution, seed=seed).events


def latencies(events):
    chosen = np.isin(events["kind"], ["fill", "partial", "failed"])
    found: dict[int, float] = {}
    order = -1
    for kind, latency in zip(events["kind"].tolist(), events["latency_ms"].tolist(), strict=True):
        order += kind == "order"
        if kind in ("fill", "partial", "failed"):
            assert found.setdefault(order, latency) == latency
    assert chosen.any()
    return list(found.values())


def entered_parts(events):
    """Return the quantities of the entries, by the number of the order."""
    found, order = {}, -1
    for kind, side, quantity in zip(
        *(events[name].tolist() for name in ("kind", "side", "quantity")), strict=True
    ):
        order += kind == "order"
        if side == "buy" and kind in ("fill", "partial"):
            found[order] = quantity
    return found


def test_latency_draws_do_not_depend_on_the_other_models(make_bars, at):
    alone = latencies(played(make_bars, at, LATE))
    assert len(alone) == 50
    assert len(set(alone)) > 40
    assert latencies(played(make_bars, at, LATE | PARTLY)) == alone
    with_failures = latencies(played(make_bars, at, LATE | FAILING | PARTLY))
    assert with_failures == alone[: len(with_failures)]


def test_partial_fills_do_not_depend_on_latency(make_bars, at):
    prompt = entered_parts(played(make_bars, at, PARTLY))
    assert 5 < sum(quantity < 8.0 for quantity in prompt.values()) < 20
    assert list(entered_parts(played(make_bars, at, LATE | PARTLY)).values()) == list(
        prompt.values()
    )


def test_failures_do_not_depend_on_latency_and_partial_fills(make_bars, at):
    def first_attempts(events):
        kinds = events["kind"].tolist()
        return [after == "failed" for kind, after in pairwise(kinds)
                if kind == "order"]  # fmt: skip

    # An order that is under way for longer lets a signal pass: there may be fewer orders.
    alone = first_attempts(played(make_bars, at, FAILING))
    assert 10 < sum(alone) < 30
    for others in (LATE, PARTLY, LATE | PARTLY):
        found = first_attempts(played(make_bars, at, FAILING | others))
        assert len(found) > 40
        assert found == alone[: len(found)]


def test_another_seed_is_another_run(make_bars, at):
    first, second = (latencies(played(make_bars, at, LATE, seed)) for seed in (1, 2))
    assert not set(first) & set(second)
