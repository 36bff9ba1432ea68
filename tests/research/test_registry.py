"""Which experiments there are, and what a declaration may look like."""

from dataclasses import fields

import pytest

from research.errors import BrokenExperiment, ExperimentMissing
from research.experiments import recipe, registry
from research.experiments.spec import ExperimentSpec
from rosdb.errors import BadName

HEAD = "from research import ExperimentSpec\n"
RUN = "def run(spec, output_dir):\n    return {}\n"


def known(bench):
    return set(registry.registrations(bench.context.experiments_folder)) - set(registry.BUILTIN)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (f"{HEAD}DEFAULT_SPEC = ExperimentSpec(experiment_id='given')\n{RUN}", "given"),
        (f"{HEAD}DEFAULT_SPEC: object = ExperimentSpec(experiment_id='given')\n{RUN}", "given"),
        (f"{HEAD}NAME = 'x'\nDEFAULT_SPEC = ExperimentSpec(experiment_id=NAME)\n{RUN}", "file"),
        (f"{HEAD}if True:\n    DEFAULT_SPEC = ExperimentSpec(experiment_id='x')\n{RUN}", "file"),
        ("import research\nDEFAULT_SPEC = research.ExperimentSpec(experiment_id='x')\n" + RUN, "file"),
        (f"{HEAD}DEFAULT_SPEC = ExperimentSpec(experiment_id='given')\nfrom other import run\n", "given"),
        (f"{HEAD}DEFAULT_SPEC = ExperimentSpec(experiment_id='given')\nrun = print\n", "given"),
        ("from other import DEFAULT_SPEC, run\n", "file"),
        (f"DEFAULT_SPEC = (\n{RUN}", "file"),
        (f"{HEAD}DEFAULT_SPEC = ExperimentSpec(experiment_id='given')\n", None),
        (RUN, None),
        ("# DEFAULT_SPEC and run\n", None),
        (f"def f():\n    DEFAULT_SPEC = 1\n{RUN}", None),
    ],
)  # fmt: skip
def test_a_module_with_a_spec_and_a_run_is_an_experiment(bench, text, name):
    bench.write("file.py", text)

    assert known(bench) - {"momentum_example"} == ({name} if name else set())


def test_a_broken_file_is_in_nobodys_way_but_its_own(bench):
    bench.write("broken.py", "DEFAULT_SPEC = (")
    bench.context.experiments_folder.joinpath("dangling.py").symlink_to("nothing")
    bench.context.experiments_folder.joinpath("folder.py").mkdir()
    bench.context.experiments_folder.joinpath("bytes.py").write_bytes(b"\xff\xfe DEFAULT_SPEC")

    listed = dict(registry.listing(bench.context.experiments_folder, lambda r: {}))

    faults = {r.experiment_id for r, s in listed.items() if isinstance(s, BrokenExperiment)}
    assert faults == {"broken", "bytes"}
    with pytest.raises(BrokenExperiment, match=r"broken\.py, line 1"):
        bench.run("broken")
    assert bench.run("gamma_signal_sanity").manifest.status == "completed"


@pytest.mark.parametrize("name", ["../../escape", "a/b", "a@b", " ", "-x", "a\nb", "x" * 200])
def test_an_id_is_a_name_and_never_a_path(bench, name):
    bench.write("file.py", f"{HEAD}DEFAULT_SPEC = ExperimentSpec(experiment_id={name!r})\n{RUN}")

    with pytest.raises(BadName, match="experiment id"):
        bench.run(name)

    assert not list(bench.store.journal())


def test_two_files_of_one_id_are_refused(bench):
    bench.experiment("one")
    bench.write("two.py", f"{HEAD}DEFAULT_SPEC = ExperimentSpec(experiment_id='one')\n{RUN}")

    with pytest.raises(BrokenExperiment, match="one.py and one.py|two.py and one.py"):
        bench.run("one")


def test_the_workspaces_registry_adds_and_renames(bench):
    bench.experiment("one", "return {'a': 1}")
    bench.write("pkg/__init__.py", "")
    bench.write("pkg/inner.py", f"{HEAD}DEFAULT_SPEC = ExperimentSpec(experiment_id='x')\n{RUN}")
    bench.write("registry.py", "EXPERIMENTS = {'renamed': 'one', 'added': 'pkg.inner'}\n")

    assert known(bench) == {"renamed", "added", "momentum_example"}
    assert bench.run("renamed").manifest.metrics == {"a": 1}
    assert bench.run("added").manifest.experiment == "added"
    with pytest.raises(ExperimentMissing):
        bench.run("one")


@pytest.mark.parametrize(
    "text", ["EXPERIMENTS = {'a': f()}", "EXPERIMENTS = [1]", "EXPERIMENTS = ("]
)
def test_a_registry_that_cannot_be_read_is_named(bench, text):
    bench.write("registry.py", text)

    with pytest.raises(BrokenExperiment, match="registry"):
        bench.run("anything")


def test_the_workspaces_experiment_hides_the_shipped_one(bench):
    bench.experiment("gamma_signal_sanity", "return {'mine': 1}")

    assert bench.run("gamma_signal_sanity").manifest.metrics == {"mine": 1}


def test_the_nearest_names_are_said(bench):
    with pytest.raises(ExperimentMissing) as caught:
        bench.run("sma_crosover")

    assert caught.value.near == ("sma_crossover",)


@pytest.mark.parametrize(
    "spec",
    ["name=5", "description=None", "parameters=[1]", "metrics='sharpe'", "metrics=[1]",
     "constraints='1 <= a'", "include='helper'", "seed='x'", "seed=1.0", "seed=True",
     "input_dataset=5", "input_kind='prices'", "nonsense=1"],
)  # fmt: skip
@pytest.mark.parametrize("computed", ["", "*()"])
def test_a_field_of_the_wrong_type_is_named(bench, spec, computed):
    bench.write(
        "file.py",
        f"{HEAD}KEYS = {{}}\n"
        f"DEFAULT_SPEC = ExperimentSpec(experiment_id='file', {spec}{', **KEYS' if computed else ''})\n"
        + RUN,
    )

    with pytest.raises(BrokenExperiment, match=spec.partition("=")[0]):
        bench.run("file")


def test_every_field_of_a_declaration_is_checked():
    assert set(registry._FITS) == {f.name for f in fields(ExperimentSpec)} - {"input_folder"}


@pytest.mark.parametrize(
    "statement",
    [
        "DEFAULT_SPEC = ExperimentSpec(experiment_id='file', **COMMON)",
        "DEFAULT_SPEC = ExperimentSpec(experiment_id='file', parameters=COMMON['parameters'])",
        "DEFAULT_SPEC = ExperimentSpec(experiment_id='file', parameters={'a': 1})\n"
        "DEFAULT_SPEC.parameters['a'] = 2",
        "DEFAULT_SPEC = ExperimentSpec(experiment_id='file', parameters={})\n"
        "DEFAULT_SPEC = ExperimentSpec(experiment_id='file', parameters={'a': 2})",
    ],
)
def test_a_declaration_that_is_not_literal_is_asked_of_a_child(bench, statement):
    bench.write("file.py", f"{HEAD}COMMON = {{'parameters': {{'a': 2}}}}\n{statement}\n{RUN}")

    assert bench.run("file").manifest.parameters == {"a": 2}


def test_a_literal_declaration_executes_nothing(bench, monkeypatch):
    monkeypatch.setattr(recipe, "ask_child", None)
    bench.experiment("file", head="raise SystemExit", spec="parameters={'a': (1, [2.0])}")
    found = registry.find(bench.context.experiments_folder, "file")

    assert registry.read_spec(found, lambda r: {}).parameters == {"a": (1, [2.0])}
