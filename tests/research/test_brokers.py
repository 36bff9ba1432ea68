"""No execution path: a broker's module is refused before anything runs, and at run time."""

import pytest

from research.errors import BadInput, ForbiddenImport
from research.experiments import closure
from research.experiments.sweep import SweepRequest, sweep
from research.experiments.sweep_points import Axis

# What the field trades with: one of each group, and the live side of frameworks.
NAMES = [
    "ccxt", "ccxt.pro", "alpaca", "alpaca_trade_api.rest", "ib_insync", "ib_async", "ibapi.client",
    "MetaTrader5", "oandapyV20", "binance", "binance.client", "krakenex", "web3", "hummingbot",
    "freqtrade.exchange.binance", "backtrader.brokers", "backtrader.stores.ibstore", "zipline_live",
    "nautilus_trader.live.node", "nautilus_trader.adapters", "lean.components.brokerages", "tda",
    "schwab", "robin_stocks", "degiro_connector", "saxo_openapi", "tastytrade", "deribit_api",
    "pybit", "okx", "kucoin", "coinbase", "bitfinex", "gemini", "dydx3", "solana", "eth_account",
    "quickfix", "simplefix", "kiteconnect", "futu", "vnpy_ctp",
]  # fmt: skip
FREE = [
    "backtrader", "backtrader.indicators", "freqtrade", "nautilus_trader.model", "zipline", "lean",
    "ccxt_notes", "numpy", "pandas", "statsmodels", "alpaca_farm", "binance_history",
]  # fmt: skip
WAYS = {
    "at the top": ("import {name}", "pass"),
    "under another name": ("import {name} as harmless", "pass"),
    "in a function": ("", "import {name}"),
    "in a function, from it": ("", "from {name} import anything"),
    "importlib": ("import importlib", "importlib.import_module('{name}')"),
    "importlib under another name": ("import importlib as i", "i.import_module('{name}')"),
    "import_module": ("from importlib import import_module as load", "load('{name}')"),
    "__import__": ("", "__import__('{name}')"),
    "looking for it": ("import importlib.util", "importlib.util.find_spec('{name}')"),
    "pkgutil": ("import pkgutil", "pkgutil.resolve_name('{name}:Client')"),
    "runpy": ("import runpy", "runpy.run_module('{name}')"),
    "in a branch": ("if False:\n    import {name}", "pass"),
    "in an attempt": ("try:\n    import {name}\nexcept ImportError:\n    pass", "pass"),
    "for the types": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import {name}",
        "pass",
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_it_is_on_the_list(name):
    assert closure.is_forbidden(name, closure.brokers())


@pytest.mark.parametrize("name", FREE)
def test_it_is_not_on_the_list(name):
    assert not closure.is_forbidden(name, closure.brokers())


def test_the_list_is_well_kept():
    lines = closure.BROKERS_FILE.read_text("utf-8").splitlines()
    names = [line for line in lines if line and not line.startswith("#")]

    assert len(names) == len(set(names)) == len(closure.brokers()) > 150
    assert all(part.isidentifier() for name in names for part in name.split("."))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["ccxt", "freqtrade.exchange"])
def test_it_is_refused_before_anything_runs(bench, name, way):
    head, body = (text.format(name=name) for text in WAYS[way])
    bench.experiment("trades", f"{body}\nreturn {{}}", head=head)

    with pytest.raises(ForbiddenImport, match=rf"trades.py, line \d+ imports '{name}"):
        bench.run("trades")

    assert not list(bench.store.journal())


@pytest.mark.parametrize(
    "body",
    [
        "__import__('cc' + 'xt')",
        "importlib.import_module('cc' + 'xt')",
        "importlib.import_module('.pro', 'cc' + 'xt')",
        "importlib.util.find_spec('cc' + 'xt')",
        "exec('import cc' + 'xt')",
        "eval('__imp' + 'ort__(\"ccxt\")')",
        "try:\n    __import__('cc' + 'xt')\nexcept BaseException:\n    pass",
    ],
)
def test_a_computed_name_is_refused_at_run_time(bench, body):
    bench.write("ccxt/__init__.py", "LIVE = True\n")
    bench.write("ccxt/pro.py", "")
    bench.experiment(
        "trades",
        f"{body}\nreturn {{}}",
        head="import importlib, importlib.util",
        spec="include=['ccxt/__init__.py', 'ccxt/pro.py']",
    )

    failed = bench.failure("trades")

    assert failed.error["kind"] == "Refused", failed.error
    assert "it tried to import 'ccxt" in failed.error["message"]
    assert failed.error["where"].startswith("trades.py, line ")


def test_a_workspace_adds_to_the_list(bench):
    bench.write("my_broker/__init__.py", "")
    bench.write("my_broker/live.py", "")
    bench.experiment("trades", "import my_broker.live\nreturn {}")
    assert bench.run("trades").manifest.status == "completed"
    (bench.folder / "ros.toml").write_text('[run]\nforbidden = ["my_broker.live"]\n')

    with pytest.raises(ForbiddenImport, match=r"imports 'my_broker\.live'"):
        bench.run("trades", force=True)
    bench.experiment(
        "trades",
        "__import__('my_bro' + 'ker.live')\nreturn {}",
        spec="include=['my_broker/__init__.py', 'my_broker/live.py']",
    )

    assert bench.failure("trades").error["kind"] == "Refused"


def test_a_workspace_cannot_take_from_it(bench):
    (bench.folder / "ros.toml").write_text("[run]\nforbidden = []\n")
    bench.experiment("trades", "import ccxt\nreturn {}")

    with pytest.raises(ForbiddenImport):
        bench.run("trades")


@pytest.mark.parametrize("value", ['"ccxt"', "[1]", '["a b"]', '["-ccxt"]', '[""]', "true"])
def test_a_list_that_cannot_be_is_refused(bench, value):
    (bench.folder / "ros.toml").write_text(f"[run]\nforbidden = {value}\n")
    bench.experiment("quiet")

    with pytest.raises(BadInput, match=r"ros\.toml: \[run\] forbidden is a list of module names"):
        bench.run("quiet")


@pytest.mark.parametrize("count", [1, 3], ids=["a child of its own", "copies"])
@pytest.mark.parametrize(
    ("listed", "place"),
    [
        ("numpy.polynomial.polyutils", "polynomial/polyutils.py"),
        ("numpy.polynomial", "polynomial/polyutils.py"),
        ("numpy.polynomial", "polynomial/__init__.py"),
    ],
)
def test_a_module_is_known_by_its_place_whatever_it_is_called(bench, listed, place, count):
    (bench.folder / "ros.toml").write_text(f'[run]\nforbidden = ["{listed}"]\n')
    body = f"""
    import numpy
    place = Path(numpy.__file__).parent / {place!r}
    found = util.spec_from_file_location("elsewhere", place)
    module = util.module_from_spec(found)
    sys.modules["elsewhere"] = module
    found.loader.exec_module(module)
    return {{}}
    """
    head = "import sys\nfrom importlib import util\nfrom pathlib import Path"
    if "__init__" in place:
        body = body.replace("found.loader.exec_module(module)", "module.__file__ = str(place)")
    bench.experiment("trades", body, head=head, spec="parameters={'n': 0}")
    axes = (Axis(path="n", values=tuple(range(count))),)

    found = sweep(bench.context, SweepRequest(request=bench.request("trades"), axes=axes))

    for point in found.points:
        error = point.manifest.error
        assert error["kind"] == "Refused", error
        assert "it tried to import 'numpy.polynomial" in error["message"]
