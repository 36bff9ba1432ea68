"""Filters: what SQL answers is what plain Python answers; and nothing but values gets in."""

import math
import operator
import re
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from rosdb import ObjectId, RunRow, Store, errors, parse_instant, run_rows
from rosdb.facts import flatten
from rosdb.query import compile_sort, compile_where

NOW_NS = 1_800_000_000_000_000_000
DAY_NS = 86_400_000_000_000
HOSTILE = "'; DROP TABLE runs; --"

# --- The runs, as plain Python knows them -------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Run:
    experiment: str
    parameters: dict[str, Any]
    metrics: dict[str, Any]
    status: str = "completed"
    name: str | None = None
    dataset: tuple[str, str] | None = ("sp500", "1")
    kind: str = "run"
    seconds: float | None = 1.5
    tags: tuple[str, ...] = ()
    note: str | None = None
    sweep: int | None = None
    promoted: tuple[str, ...] = ()
    replay_of: int | None = None


RUNS = [
    Run(
        experiment="sma",
        parameters={"fast": 10, "costs": {"fee": 0.5}, "sharpe": 7.0},
        metrics={"sharpe": 1.5},
        tags=("paper", "baseline"),
        note="Vendor restated 3 % of the ROWS_",
        promoted=("momentum", "momentum-2"),
    ),
    Run(
        experiment="sma",
        parameters={"fast": 20, "costs": {"fee": 0.0}},
        metrics={"sharpe": -0.5},
        tags=("paper",),
        sweep=0,
    ),
    Run(experiment="sma", parameters={"fast": 20.0}, metrics={"sharpe": math.nan, "n": 3}),
    Run(experiment="sma", parameters={"fast": "20"}, metrics={"sharpe": "high"}, name="best"),
    Run(experiment="gamma", parameters={"steps": [{"multiple": 1.05}, 2]}, metrics={"ok": True}),
    Run(
        experiment="gamma",
        parameters={"ok": False, "label": HOSTILE},
        metrics={"n": 2**53},
        note=HOSTILE,
        sweep=1,
    ),
    Run(experiment="gamma", parameters={"label": "a \"b\" 'c' \\"}, metrics={"sharpe": 2}),
    Run(experiment="x-1", parameters={}, metrics={"sharpe": math.inf}, seconds=0.25, name="007"),
    Run(experiment="x-1", parameters={"sharpe": 9.0}, metrics={}, status="failed", seconds=None),
    Run(experiment="x-1", parameters={"fast": None}, metrics={}, status="pending", dataset=None),
    Run(experiment="é", parameters={"n": -7}, metrics={}, status="running", dataset=("bars", "2")),
    Run(
        experiment="sma",
        parameters={"fast": 20},
        metrics={"n": 0},
        kind="replay",
        seconds=1e3,
        replay_of=1,
        sweep=0,
        note="é%\\",
    ),
]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Give a way to ask a store of these runs; it answers by their place above."""
    path = tmp_path_factory.mktemp("query") / ".ros"
    Store.init(path).close()
    store = Store.open(path, now_ns=lambda: NOW_NS)
    places = {}
    for place, run in enumerate(RUNS):
        places[str(put(store, place, run))] = place
    IDS[:] = places
    for number in (0, 1):
        members = [ObjectId.from_hex(IDS[p]) for p, run in enumerate(RUNS) if run.sweep == number]
        with store.transaction() as tx:
            links = {f"{n:07}": member for n, member in enumerate(members)}
            SWEEPS[number] = str(sweep := tx.put_record("sweep/v1", {"number": number}, links))
            tx.move_ref(f"sweeps/{sweep}", sweep, expected=None)

    def ask(where: str, **options: Any) -> list[int]:
        return [places[str(row.run_id)] for row in store.runs(where, **options)]

    yield ask
    store.close()


def put(store: Store, place: int, run: Run) -> Any:
    with store.transaction() as tx:
        recipe = tx.put_record(
            "recipe/v1", {"experiment": run.experiment, "parameters": run.parameters, "seed": place}
        )
        dataset = run.dataset and {"name": run.dataset[0], "version": run.dataset[1]}
        fields = {"created_at_ns": created(place), "kind": run.kind, "dataset": dataset}
        links = {"recipe": recipe}
        if run.replay_of is not None:
            links["replay_of"] = ORIGINALS[run.replay_of]
        ORIGINALS[place] = link = tx.put_record("run/v1", fields, links)
        tx.move_ref(f"runs/{link}", link, expected=None)
        if run.name is not None:
            tx.move_ref(f"names/{run.name}", link, expected=None)
    if run.status != "pending":
        with store.transaction() as tx:
            links = {"run": link}
            if run.status == "completed":
                links["outcome"] = tx.put_record("outcome/v1", {"metrics": run.metrics})
            status = tx.put_record(
                "status/v1", {"status": run.status, "seconds": run.seconds}, links
            )
            tx.move_ref(f"runs/{link}", status, expected=link)
    with store.transaction() as tx:
        for tag in run.tags:
            tx.move_ref(f"tags/{link}/{tag}", link, expected=None)
        for strategy in run.promoted:
            record = tx.put_record("promotion/v1", {"strategy": strategy}, {"run": link})
            tx.move_ref(f"promotions/{strategy}", record, expected=None)
        if run.note is not None:
            note = tx.put_record("note/v1", {"text": run.note}, {"run": link})
            tx.move_ref(f"notes/{link}", note, expected=None)
    return link


IDS: list[str] = []
ORIGINALS: dict[int, Any] = {}
SWEEPS = ["", ""]


def created(place: int) -> int:
    return NOW_NS - place * DAY_NS - 1


# --- Plain Python -------------------------------------------------------------------------------

OPERATORS = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def as_number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and value == value
    return float(value) if is_number else None


def as_text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else None


def like(text: str, pattern: str) -> bool:
    """Match as SQLite does: the case of ASCII letters is nothing, ``%`` any text, ``_`` a letter."""
    parts = {"%": ".*", "_": "."}
    written = "".join(parts.get(c) or (f"[{c.lower()}{c.upper()}]" if c.isascii() and c.isalpha() else re.escape(c)) for c in pattern)  # fmt: skip
    return re.fullmatch(written, text, re.DOTALL) is not None


def values_of(place: int, field: str, view: Any) -> Any:
    """Return what a run has of a field: one value or None; of a set, a frozenset."""
    run = RUNS[place]
    parameters = {"seed": place, **dict(flatten(run.parameters))}
    metrics = run.metrics if run.status == "completed" else {}
    found: dict[str, Any] = {
        **{"experiment": run.experiment, "status": run.status, "name": run.name, "kind": run.kind},
        **{"note": run.note, "tag": frozenset(run.tags), "promoted": frozenset(run.promoted)},
        "seconds": run.seconds if run.status != "pending" else None,
        "created": created(place),
        "dataset": run.dataset and run.dataset[0],
        "version": run.dataset and run.dataset[1],
        "run": IDS[place],
        "replay_of": None if run.replay_of is None else IDS[run.replay_of],
        "sweep": frozenset() if run.sweep is None else frozenset([SWEEPS[run.sweep]]),
    }
    if field in found:
        return found[field]
    if field.startswith("metrics."):
        return view(metrics.get(field.removeprefix("metrics.")))
    if field.startswith("params."):
        return view(parameters.get(field.removeprefix("params.")))
    both = [view(metrics.get(field)), view(parameters.get(field))]
    return next((item for item in both if item is not None), None)


def compares(field: str, sign: str, mine: Any, value: Any) -> bool:
    """Compare one value that is there with one that was written."""
    if sign == "like":
        return like(mine, value)
    if field in ("run", "replay_of", "sweep"):
        return (mine.startswith(value)) is (sign in ("=", "=="))
    if field == "created":
        value = parse_instant(value, NOW_NS)
    return bool(OPERATORS[sign](mine, value))


def truth(place: int, field: str, sign: str, value: Any) -> bool:
    """Compare as the docs say: what a run does not have compares false; a set, by any of it."""
    mine = values_of(place, field, as_text if isinstance(value, str) else as_number)
    if field == "dataset" and "@" in value:
        mine = RUNS[place].dataset and "@".join(RUNS[place].dataset)
    if isinstance(mine, frozenset):
        if sign in ("!=", "<>"):
            return not any(compares(field, "=", each, value) for each in mine)
        return any(compares(field, sign, each, value) for each in mine)
    return mine is not None and compares(field, sign, mine, value)


def is_there(place: int, field: str) -> bool:
    seen = [values_of(place, field, view) for view in (as_number, as_text)]
    return any(each is not None and each != frozenset() for each in seen)


NUMBERS = st.sampled_from(
    [0, 1, 2, 3, 20, -1, -7, 1.5, -0.5, 0.25, 1e3, 2**53, 2**63, -(2**70), 1e308, 9.0, 1.05]
)
TEXTS = st.sampled_from(
    [
        *[HOSTILE, "a \"b\" 'c' \\", ""],
        *"20 high true false a best sma é x-1 completed failed".split(),
        *"running replay run % NULL 007 or created".split(),
    ]
)
FACTS = st.sampled_from(
    """
    metrics.sharpe metrics.n metrics.ok metrics.none metrics. params.fast params.costs.fee params.
    params.steps[0].multiple params.steps[1] params.seed params.label params.ok
    sharpe n ok fast seed label none costs.fee
    """.split()
)
PLAIN = st.sampled_from("status experiment name kind dataset version note tag promoted".split())
SIGNS = st.sampled_from(sorted(OPERATORS))
MOMENTS = st.sampled_from(["3d", "0s", "100w", "36h", "2027-01-10", "2027-01-10T12:30:00+02:00"])


def quoted(text: str, quote: str) -> str:
    return quote + text.replace("\\", "\\\\").replace(quote, "\\" + quote) + quote


@dataclass(frozen=True)
class Spelling:
    """A filter as text, and for each run whether it holds."""

    text: str
    holds: tuple[bool, ...]


def comparison(field: str, sign: str, value: Any, style: str) -> Spelling:
    space = "" if style == "bare" else " "
    return spelled(
        f"{field}{space}{sign}{space}{written(value, style, field)}",
        lambda place: truth(place, field, sign, value),
    )


def written(value: Any, style: str, field: str = "") -> str:
    if not isinstance(value, str):
        return repr(value)
    if style == "bare" and field in ("created", "run", "sweep", "replay_of"):
        return value
    return quoted(value, "'" if style == "single" else '"')


def keyword(word: str, style: str) -> str:
    return word.upper() if style == "double" else word


def spelled(text: str, decide: Any) -> Spelling:
    return Spelling(text, tuple(bool(decide(place)) for place in range(len(RUNS))))


def listing(field: str, negation: bool, values: list[Any], style: str) -> Spelling:
    inside = ", ".join(written(value, style) for value in values)
    word = keyword("not in" if negation else "in", style)
    sign, decide = ("!=", all) if negation else ("=", any)
    return spelled(
        f"{field} {word} ({inside})",
        lambda place: decide(truth(place, field, sign, value) for value in values),
    )


def likeness(field: str, negation: bool, pattern: str, style: str) -> Spelling:
    def decide(place: int) -> bool:
        mine = values_of(place, field, as_text)
        if isinstance(mine, frozenset):
            return negation is not any(like(each, pattern) for each in mine)
        return mine is not None and like(mine, pattern) is not negation

    word = keyword("not like" if negation else "like", style)
    return spelled(f"{field} {word} {written(pattern, style)}", decide)


def presence(field: str, negation: bool, style: str) -> Spelling:
    word = keyword("is not null" if negation else "is null", style)
    return spelled(f"{field} {word}", lambda place: is_there(place, field) is negation)


@st.composite
def ids(draw: Any) -> tuple[str, str]:
    """Draw a field of ids and the first digits of one of them, or of none."""
    field = draw(st.sampled_from(["run", "replay_of", "sweep"]))
    chosen = draw(st.sampled_from([*range(len(RUNS)), "sweep", "none"]))
    whole = {"sweep": SWEEPS[0], "none": "0" * 64}.get(chosen) or IDS[chosen]
    return field, whole[: draw(st.sampled_from([4, 5, 16, 64]))]


STYLES = st.sampled_from(["bare", "single", "double"])
PATTERNS = st.sampled_from(
    [
        "%",
        "",
        "_",
        "%ro%",
        "SMA",
        "s_a",
        "%\\%",
        "É%",
        "é%",
        "paper",
        "%_",
        "%restated 3 \\%%",
        HOSTILE,
    ]
) | st.text(alphabet="aAsSmM%_é[*.", max_size=5)
ANYTHING = FACTS | PLAIN
COMPARISONS = (
    st.builds(comparison, FACTS, SIGNS, NUMBERS | TEXTS, STYLES)
    | st.builds(comparison, PLAIN, SIGNS, TEXTS, STYLES)
    | st.builds(
        comparison, st.just("dataset"), SIGNS, st.sampled_from(["sp500@1", "bars@2"]), STYLES
    )
    | st.builds(comparison, st.just("seconds"), SIGNS, NUMBERS, STYLES)
    | st.builds(comparison, st.just("created"), SIGNS, MOMENTS, STYLES)
    | st.builds(
        lambda drawn, sign, style: comparison(*drawn[:1], sign, drawn[1], style),
        ids(),
        st.sampled_from(["=", "==", "!=", "<>"]),
        STYLES,
    )
    | st.builds(listing, FACTS, st.booleans(), st.lists(NUMBERS | TEXTS, min_size=1), STYLES)
    | st.builds(listing, PLAIN, st.booleans(), st.lists(TEXTS, min_size=1), STYLES)
    | st.builds(listing, st.just("seconds"), st.booleans(), st.lists(NUMBERS, min_size=1), STYLES)
    | st.builds(listing, st.just("created"), st.booleans(), st.lists(MOMENTS, min_size=1), STYLES)
    | st.builds(
        lambda drawn, negation, style: listing(drawn[0], negation, [drawn[1], "00" * 8], style),
        ids(),
        st.booleans(),
        STYLES,
    )
    | st.builds(likeness, ANYTHING, st.booleans(), PATTERNS, STYLES)
    | st.builds(
        presence,
        ANYTHING | st.sampled_from(["seconds", "created", "run", "replay_of", "sweep"]),
        st.booleans(),
        STYLES,
    )
)


def negated(inner: Spelling) -> Spelling:
    return Spelling(f"not ({inner.text})", tuple(not item for item in inner.holds))


def joined(word: str, parts: list[Spelling]) -> Spelling:
    text = f" {word} ".join(f"( {part.text} )" for part in parts)
    decide = all if word == "and" else any
    return Spelling(
        text, tuple(decide(items) for items in zip(*(p.holds for p in parts), strict=True))
    )


FILTERS = st.recursive(
    COMPARISONS,
    lambda inner: (
        st.builds(negated, inner)
        | st.builds(joined, st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=4))
    ),
    max_leaves=12,
)


FEW = st.sampled_from([-1, 1, 3, 1000])


@given(FILTERS, FEW)
def test_a_filter_answers_as_plain_python_does(answers, spelling, few):
    expected = [place for place, holds in enumerate(spelling.holds) if holds]
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(run_rows, "_FEW", few)
            found = answers(spelling.text)
    except errors.BadExpression as error:
        assume(not error.reason.startswith("nested deeper"))
        raise

    assert sorted(found) == expected


@given(COMPARISONS, COMPARISONS, COMPARISONS, st.sampled_from(["and", "or"]))
def test_and_binds_tighter_than_or_and_not_tighter_than_both(answers, a, b, c, word):
    triples = zip(a.holds, b.holds, c.holds, strict=True)
    by_hand = [
        (not x) or (y and z) if word == "and" else ((not x) or y or z) for x, y, z in triples
    ]
    text = f"not {a.text} or {b.text} {word} {c.text}"

    assert sorted(answers(text)) == [place for place, holds in enumerate(by_hand) if holds]


def test_no_filter_is_every_run_and_the_newest_comes_first(answers):
    for text in ("", "  ", "seed >= 0"):
        assert answers(text) == list(reversed(range(len(RUNS))))
    assert answers("", limit=3) == [11, 10, 9]
    assert answers("seed < 5", limit=0) == []


def test_words_need_no_quotes(answers):
    assert answers("experiment = gamma and status=completed") == [6, 5, 4]
    assert answers("experiment=x-1") == [9, 8, 7]
    assert answers("name = best") == [3]
    assert answers("name = 007") == [7]
    assert answers("dataset = bars@2") == [10]
    assert answers("metrics.ok = true") == answers("ok = 1") == [4]
    assert answers("created > 2d and created <= 2027-01-16") == [1, 0]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("metrics.sharpe", [3, 1, 0, 6, 7]),  # text sorts below numbers
        ("-metrics.sharpe", [7, 6, 0, 1, 3]),
        ("sharpe", [3, 1, 0, 6, 8, 7]),
        ("params.fast", [3, 0, 11, 2, 1]),
        ("-seed", [11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]),
        ("created", [11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]),
        ("-created", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
        ("name", [7, 3]),
        ("-experiment", [10, 9, 8, 7, 11, 3, 2, 1, 0, 6, 5, 4]),
        ("dataset", [10, 11, 8, 7, 6, 5, 4, 3, 2, 1, 0, 9]),
    ],
)
def test_sorting_puts_what_is_not_there_last_and_the_newest_first(answers, sort, expected):
    everything = answers("", sort=sort)

    rest = [place for place in reversed(range(len(RUNS))) if place not in expected]
    assert everything == expected + rest


@pytest.mark.parametrize("key", ["", "-", "a b", "a;b", "a)", "--a", "1a", "é", "a'"])
def test_a_sort_key_that_is_none_is_refused(key):
    with pytest.raises(errors.BadExpression, match="a sort key is a name"):
        compile_sort(key)


# --- What does not get in -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "1=1; DROP TABLE runs",
        "metrics.x = 1; DELETE FROM runs",
        "metrics.x = 1 -- comment",
        "metrics.x' = 1",
        "metrics.x = (SELECT 1)",
        "status = 'completed' UNION SELECT 1",
        "r.status = 'x' or 1=1",
        "status LIKE '%' ESCAPE 'x'",
        "params.fast IN (SELECT 1)",
        "params.fast IN (1, 2); DROP TABLE runs",
        "params.fast in (1) union select 1",
        "name like '%' || (SELECT 1)",
        "name glob '*'",
        "name is null is null",
        "status between 1 and 2",
        "sqlite_version() = 1",
        "a = b.c()",
        "a = $1",
        "a = ?1",
        "a = :x",
        "\0",
        "a = 'x\0",
    ],
)
def test_sql_is_no_filter(answers, text):
    with pytest.raises(errors.BadExpression):
        answers(text)
    assert len(answers("")) == len(RUNS)


@pytest.mark.parametrize(
    "text",
    [
        f'experiment = "{HOSTILE}"',
        "experiment = \"' OR '1'='1\"",
        "r.status = completed",
        "metrics.x-1 = 1",
        "metrics[0]]]..-- = 1",
        'name = "%"',
        'name = "a\0b"',
        "rowid = 1",
        "num = 1 or txt = 1 or value = 1 or seq = 1",
        "name in ('%', \"') OR 1=1 --\")",
        "name like \"%' OR '1'='1\"",
        "tag = \"' OR '1'='1\" or promoted in (\"x') --\")",
        'note is not null and note = "\' OR 1=1"',
    ],
)
def test_a_hostile_value_is_a_value(answers, text):
    assert answers(text) == []
    assert len(answers("")) == len(RUNS)


def test_the_text_of_the_sql_holds_no_word_of_the_filter(answers):
    text = (
        'marker1 = "marker2" and metrics.marker3 < 4711 and experiment = marker4'
        " and tag in (marker5, marker6) and marker7 like 'marker8' and marker9 is null"
    )

    sql = compile_where(text, NOW_NS)

    assert "marker" not in sql.text
    assert "4711" not in sql.text
    assert {4711, *(f"marker{number}" for number in range(1, 10))} <= set(sql.values)
    assert "marker" not in compile_sort("-marker").text


def refusal(answers: Any, text: str) -> errors.BadExpression | None:
    try:
        answers(text)
    except errors.BadExpression as error:
        return error
    return None


@given(st.text(max_size=40))
@example("a = \ud800")
def test_any_text_is_a_filter_or_refused_with_its_place(answers, text):
    error = refusal(answers, text)

    assert error is None or (error.text == text and 1 <= error.column <= len(text) + 1)


@given(
    st.lists(
        st.sampled_from(
            "a metrics.b tag run 1 -1.5 'x' abcd 7d = < ( ) , and or not in like is null NULL"
            ' 2026-01-31 " ['.split()
        )
    )
)
def test_any_words_are_a_filter_or_refused_with_their_place(answers, words):
    text = " ".join(words)
    error = refusal(answers, text)

    assert error is None or 1 <= error.column <= len(text) + 1


@pytest.mark.parametrize(
    ("text", "column", "reason"),
    [
        ("metrics.sharpe", 15, "a comparison is expected"),
        ("metrics.sharpe > ", 18, "a number or a text is expected"),
        ("metrics.sharpe > and x = 1", 18, "a number or a text is expected"),
        ("and x = 1", 1, "a field is expected"),
        ("x = 1 and", 10, "a field is expected"),
        ("x = 1 and or y = 2", 11, "a field is expected"),
        ("x = 1 y = 2", 7, "nothing more is expected"),
        ("(x = 1", 7, "a closing bracket is missing"),
        ("x = 1)", 6, "nothing more is expected"),
        ("x = 1 and (y = 2 or z = 3", 26, "a closing bracket is missing"),
        ("not", 4, "a field is expected"),
        ("x ~ 1", 3, "'~' means nothing here"),
        ("x = 'open", 5, '"\'" means nothing here'),
        ("  # x", 3, "'#' means nothing here"),
        ("1 = x", 1, "a field is expected"),
        ("x = 1 > 2", 7, "nothing more is expected"),
        ("created > yesterday", 11, "yesterday is no time"),
        ("created > 5", 11, "5 is no time"),
        ("seconds > long", 11, "long is no number"),
        ("x > 12xyz", 5, "'1' means nothing here"),
        ("x in 1", 6, "a list is expected"),
        ("x in ()", 7, "a number or a text is expected"),
        ("x in (1 2)", 9, "a comma or a closing bracket is expected"),
        ("x in (1,", 9, "a number or a text is expected"),
        ("x not = 1", 7, "in or like is expected after not"),
        ("x is 1", 6, "null is expected"),
        ("x is not", 9, "null is expected"),
        ("x = NULL", 5, "nothing equals null"),
        ("x in (1, null)", 10, "nothing equals null"),
        ("x like", 7, "a number or a text is expected"),
        ("created like '%'", 1, "created is no text"),
        ("created in (7d, soon)", 17, "soon is no time"),
        ("run = xyz", 7, "xyz is no hash"),
        ("run = abc", 7, "abc is no hash"),
        ("sweep < abcd", 1, "sweep is a hash"),
        (f"name like '{'a' * 1001}'", 11, "a pattern is longer than 1000"),
        ("name = '\ud800'", 9, "half a character"),
    ],
)
def test_an_error_names_the_column(text, column, reason):
    with pytest.raises(errors.BadExpression) as caught:
        compile_where(text, NOW_NS)

    assert caught.value.column == column
    assert caught.value.reason.startswith(reason)


def test_depth_and_length_end_at_their_limits(answers):
    deep = ["(seed >= 0 or seed >= 0 and ", "(", "(seed >= 0 and ", "(seed >= 0 or "]

    for start in deep:
        text = start * 11 + "seed >= 0" + ")" * 11
        assert len(answers(text, conditions={"kind": "run"}, sort="-sharpe")) == 11
        with pytest.raises(errors.BadExpression, match="nested deeper than 12"):
            compile_where(f"({text})", NOW_NS)
    assert len(answers("not " * 10 + "seed >= 0")) == 12
    assert len(answers(" or ".join(["seed >= 0"] * 200))) == 12
    leaves = ["tag not in (a, b)", "note not like '%'", "x not in (1, 'a')", "sweep = abcd",
              "dataset in (a, 'b@1')", "x is null", "promoted is not null"]  # fmt: skip
    for leaf in leaves:
        for start in deep:
            answers(start * 11 + leaf + ")" * 11, sort="-sharpe")
    assert len(answers(f"seed in ({', '.join(map(str, range(10_000)))})")) == 12
    assert answers(f"run in ({', '.join(f'{n:04x}' for n in range(2000))}, 'abcde')") is not None
    with pytest.raises(errors.BadExpression, match="more than 10000 values"):
        compile_where(f"seed in ({', '.join(map(str, range(10_002)))})", NOW_NS)
    for text in ("(" * 10_000 + "x", "not " * 10_000 + "x = 1"):
        with pytest.raises(errors.BadExpression, match="nested deeper than 12"):
            compile_where(text, NOW_NS)
    for word in ("or", "and"):
        with pytest.raises(errors.BadExpression, match="more than 200 comparisons"):
            compile_where(f" {word} ".join(["seed >= 0"] * 201), NOW_NS)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("0s", NOW_NS),
        ("7d", NOW_NS - 7 * DAY_NS),
        ("2h", NOW_NS - 7_200_000_000_000),
        ("90m", NOW_NS - 5_400_000_000_000),
        ("1w", NOW_NS - 7 * DAY_NS),
        ("1970-01-01", 0),
        ("1970-01-02T00:00:00.000001", DAY_NS + 1_000),
        ("1970-01-01T02:00:00+02:00", 0),
        ("1969-12-31T23:59:59Z", -1_000_000_000),
        ("999999999w", -(2**63)),
        ("0001-01-01", -(2**63)),
        ("9999-12-31", 2**63 - 1),
        ("", None),
        ("7", None),
        ("7y", None),
        ("-7d", None),
        ("7d ", None),
        ("2026-13-01", None),
        ("tomorrow", None),
        ("1234567890d", None),
    ],
)
def test_instants(text, instant):
    assert parse_instant(text, NOW_NS) == instant


@pytest.mark.parametrize(
    "text", ["created > 999999999w", "created < 9999-12-31", "created > 0001-01-01"]
)
def test_an_instant_beyond_the_clock_is_no_trouble(answers, text):
    assert len(answers(text)) == len(RUNS)


def test_numbers_beyond_the_database_are_no_trouble(answers):
    assert len(answers("seed < 1" + "0" * 400)) == len(RUNS)
    assert len(answers("seed < 1" + "0" * 5000)) == len(RUNS)
    assert answers("metrics.n = 9007199254740992") == [5]
    assert answers("metrics.sharpe > 1e300") == [7]


def test_conditions_compare_exactly(answers):
    assert answers("", conditions={"status": "completed", "experiment": "gamma"}) == [6, 5, 4]
    assert answers("", conditions={"name": None, "kind": "replay"}) == [11]
    assert answers("seed < 1", conditions={"name": "best"}) == []
    assert answers("", since_ns=created(2)) == [2, 1, 0]
    with pytest.raises(AssertionError, match="is no column to compare"):
        answers("", conditions={"1 = 1; --": 1})


def test_a_condition_may_be_an_id(store, put_run):
    run = put_run(store)
    (row,) = store.runs()

    assert isinstance(row, RunRow)
    for value in (row.recipe, row.recipe.digest):
        assert [found.run_id for found in store.runs(conditions={"recipe": value})] == [run]
    assert [found.run_id for found in store.runs(conditions={"run": run})] == [run]


@pytest.mark.parametrize(
    ("value", "flat"),
    [
        ({}, {}),
        ({"a": 1}, {"a": 1}),
        ({"a": {"b": {"c": 1}}, "d": 2}, {"a.b.c": 1, "d": 2}),
        ({"a": [1, {"b": 2}, [3]]}, {"a[0]": 1, "a[1].b": 2, "a[2][0]": 3}),
        ({"a": {}, "b": [], "c": None}, {"c": None}),
    ],
)
def test_parameters_are_flattened_to_dotted_paths(value, flat):
    assert dict(flatten(value)) == flat


# --- Pages --------------------------------------------------------------------------------------


VALUES = st.one_of(
    st.sampled_from([-1.0, 0.0, 0.5, 2, 2.0, 1e300, float("inf")]),
    st.sampled_from(["", "a", "z"]),
    st.booleans(),
    st.none(),
)


@given(
    made=st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=8),
    sort=st.sampled_from(["metrics.x", "-metrics.x", "x", "-x", "params.x", "-params.x"]),
    where=st.sampled_from(["", "x > 0", "not x = 2", "metrics.y = 1"]),
    limit=st.integers(1, 9),
    few=FEW,
)
@example(made=[(False, None), (0.0, None)], sort="-metrics.x", where="", limit=1, few=-1)
def test_a_page_is_the_beginning_of_the_list(tmp_path_factory, made, sort, where, limit, few):
    store = Store.init(tmp_path_factory.mktemp("pages") / "store")
    with store.transaction() as tx:
        for number, (metric, param) in enumerate(made):
            recipe = tx.put_record(
                "recipe/v1",
                {
                    **{"experiment": "e", "seed": number},
                    "parameters": {} if param is None else {"x": param},
                },
            )
            fields = {"created_at_ns": number, "kind": "run", "dataset": None}
            run = tx.put_record("run/v1", fields, {"recipe": recipe})
            metrics = {"y": number % 2} | ({} if metric is None else {"x": metric})
            outcome = tx.put_record("outcome/v1", {"metrics": metrics})
            links = {"run": run, "outcome": outcome}
            state = tx.put_record("status/v1", {"status": "completed", "seconds": 1.0}, links)
            tx.move_ref(f"runs/{run}", state, expected=None)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_rows, "_FEW", few)
        page = list(store.runs(where, sort=sort, limit=limit))

    assert page == list(store.runs(where, sort=sort))[:limit]
    store.close()


def test_a_page_is_found_by_a_walk_and_not_by_a_sort(store, put_run, monkeypatch):
    for number in range(5):
        put_run(store, metrics={"sharpe": float(number)})
    monkeypatch.setattr(run_rows, "listed", None)
    monkeypatch.setattr(run_rows, "_FEW", 2)

    (best, _) = store.runs("metrics.sharpe < 4", sort="-sharpe", limit=2)

    assert store.get_record(best.outcome).fields["metrics"] == {"sharpe": 3.0}


def test_what_is_rare_is_found_without_looking_at_all(store, put_run, monkeypatch):
    for number in range(5):
        put_run(store, metrics={"sharpe": float(number)}, parameters={"fast": number})
    monkeypatch.setattr(run_rows, "first_page", None)
    monkeypatch.setattr(run_rows, "_FEW", 2)

    found = store.runs("status = completed and (sharpe > 2 and fast < 9)", sort="-sharpe", limit=9)

    assert [store.get_record(row.outcome).fields["metrics"]["sharpe"] for row in found] == [4, 3]
