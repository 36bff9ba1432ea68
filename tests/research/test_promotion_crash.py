"""A promotion that dies at any point: never a file without its record, never an unsafe one."""

import os

import pytest
import yaml

import rosdb.disk
from research.errors import GateRefused, Refused
from research.promotion import promote as promoter
from research.promotion.config import is_safe
from research.promotion.gate_settings import FILE
from research.promotion.promotions import promotions
from research.promotion.verify import verify_config

CALLS = ("open_temporary", "write", "write_parts", "sync", "sync_folder", "publish", "link",
         "remove")  # fmt: skip
DEAD = 9


@pytest.fixture(scope="module")
def ready(benches):
    """Give a workspace with two runs that are through the gates: asking them is not what dies."""
    bench = benches()
    (bench.folder / FILE).write_text('[gates]\nlook_ahead = "off"\ncosts = "off"\n')
    bench.experiment("toy", "return {'sharpe': 1.0}", spec="parameters={'k': 0}")
    asked = {}
    for k in (0, 1):
        run_id = bench.run("toy", parameters={"k": k}).manifest.run_id
        case = promoter.Case(bench.context, run_id, promoter.read_settings(bench.folder))
        asked[run_id] = (promoter.ask_gates(case), case.replayed, case.object_count)

    def answered(case):
        gates, case.replayed, case.object_count = asked[case.manifest.run_id]
        return gates

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(promoter, "ask_gates", answered)
        yield bench, list(asked)
    bench.store.close()


def die_at(number, after):
    """Have the process die at a call that changes the disk, before or after it is made."""
    left = [number]

    def dying(original):
        def call(*arguments, **options):
            left[0] -= 1
            if left[0] == 0 and not after:
                os._exit(DEAD)
            result = original(*arguments, **options)
            if left[0] == 0:
                os._exit(DEAD)
            return result

        return call

    for name in CALLS:
        setattr(rosdb.disk, name, dying(getattr(rosdb.disk, name)))


def in_a_process(work):
    """Do something in a forked process; return its status."""
    process_id = os.fork()
    if process_id == 0:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process_id, 0)[1])


def check(bench, folder):
    """Each config is what one of its strategy's records holds, and safe."""
    for path in folder.glob("*.yaml"):
        recorded = {
            bench.store.get_blob(each.config) for each in promotions(bench.store, path.stem)
        }
        assert path.read_bytes() in recorded
        assert is_safe(yaml.safe_load(path.read_bytes()))
        assert verify_config(bench.context, path).verdict in ("promoted", "superseded")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("is_second", [False, True], ids=["first", "superseding"])
def test_a_crash_at_every_point(ready, tmp_path, after, is_second):
    bench, (earlier, later) = ready
    died = 0
    for number in range(1, 100):
        strategy = f"s{'b' if is_second else 'a'}{'y' if after else 'x'}{number}"
        folder = tmp_path / str(number)
        if is_second:
            promoter.promote(bench.context, earlier, strategy, config_dir=folder)
        bench.store.close()

        def dying(number=number, strategy=strategy, folder=folder):
            die_at(number, after)
            promoter.promote(bench.context, later, strategy, config_dir=folder)

        status = in_a_process(dying)

        assert status in (DEAD, 0)
        check(bench, folder)
        again = promoter.promote(bench.context, later, strategy, config_dir=folder)
        assert again.path.read_bytes() == again.text
        assert verify_config(bench.context, again.path).verdict == "promoted"
        if status == 0:
            break
        died += 1
    assert died > 8
    assert bench.store.check().ok


def test_a_folder_that_refuses_has_no_record_and_no_file(ready, tmp_path, monkeypatch):
    bench, (_, later) = ready
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "in_the_way").write_text("")
    with pytest.raises(OSError, match="in_the_way"):
        promoter.promote(bench.context, later, "refused", config_dir=folder / "in_the_way")
    monkeypatch.setattr("os.access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(PermissionError):
        promoter.promote(bench.context, later, "refused", config_dir=folder)

    assert bench.store.ref("promotions/refused") is None
    assert os.listdir(folder) == ["in_the_way"]


@pytest.mark.parametrize("kind", ["link", "file", "folder"])
def test_what_appears_while_the_gates_are_asked_is_neither_followed_nor_replaced(
    ready, tmp_path, monkeypatch, kind
):
    bench, (_, later) = ready
    outside, folder, answered = tmp_path / "outside.yaml", tmp_path / "c", promoter.ask_gates
    folder.mkdir()
    outside.write_text("enabled: true\n")

    def meanwhile(case):
        path = folder / "raced.yaml"
        if kind == "link":
            path.symlink_to(outside)
        elif kind == "file":
            path.write_text("enabled: true\n")
        else:
            path.mkdir()
        return answered(case)

    monkeypatch.setattr(promoter, "ask_gates", meanwhile)
    with pytest.raises(Refused) as caught:
        promoter.promote(bench.context, later, "raced", config_dir=folder)

    assert not isinstance(caught.value, GateRefused)
    assert outside.read_text() == "enabled: true\n"
    assert bench.store.ref("promotions/raced") is None


def test_what_appears_between_the_record_and_the_file_is_not_replaced(ready, tmp_path, monkeypatch):
    bench, (_, later) = ready
    write = promoter._write

    def late(store, path, text, record):
        path.write_text("enabled: true\n")
        write(store, path, text, record)

    monkeypatch.setattr(promoter, "_write", late)
    with pytest.raises(Refused, match="changed by hand"):
        promoter.promote(bench.context, later, "late", config_dir=tmp_path)

    assert (tmp_path / "late.yaml").read_text() == "enabled: true\n"
    assert bench.store.ref("promotions/late") is not None


def test_two_that_promote_at_once_leave_one_chain(ready, tmp_path, monkeypatch):
    bench, (earlier, later) = ready
    from rosdb import errors

    answered = promoter.ask_gates

    def meanwhile(case):
        monkeypatch.setattr(promoter, "ask_gates", answered)
        promoter.promote(bench.context, earlier, "both", config_dir=tmp_path)
        return answered(case)

    monkeypatch.setattr(promoter, "ask_gates", meanwhile)
    with pytest.raises((errors.RefMoved, Refused)):
        promoter.promote(bench.context, later, "both", config_dir=tmp_path)

    (only,) = promotions(bench.store, "both")
    assert only.run_id == earlier
    check(bench, tmp_path)
