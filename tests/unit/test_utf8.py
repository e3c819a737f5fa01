"""Text that is no valid unicode is kept, escaped the same way everywhere, and found by its own spelling."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from run_programs import environment, no_launcher

import steno
from steno.media.arrays import text_of
from steno.utf8 import escaped
from steno.writers import values

CUT = json.loads('"\\ud83d"')
NAME = os.fsdecode(b"/data/caf\xe9")
KEPT, KEPT_NAME = "\\ud83d", "/data/caf\\udce9"


def test_valid_text_is_left_alone():
    for text in ("", "abc", "é", "🎉", "\x00\x1b[0m", "back\\slash"):
        assert escaped(text) is text or escaped(text) == text
    assert escaped(CUT) == KEPT
    assert escaped(NAME) == KEPT_NAME
    assert escaped(escaped(NAME)) == KEPT_NAME


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        no_launcher(patch)
        patch.chdir(tmp_path_factory.mktemp("unicode"))
        run = steno.init(
            "p", "r", {"k" + CUT: CUT, "path": NAME, "deep": [{CUT: [CUT]}]}, tags=["t" + CUT], notes="n" + CUT,
            group="g" + CUT, destinations=["tensorboard", "csv", "jsonl", "text"],
        )  # fmt: skip
        run.log({"loss" + CUT: 1.0, "words": "a" + CUT, "n": {"x" + CUT: 2.0}, ("t", CUT): 3.0}, step=0)
        run.log({"list": ["v" + CUT, "w"]}, step=0)
        run.log(
            {
                "text": steno.Text("# " + CUT),
                "html": steno.Html("<b>" + CUT),
                "table": steno.Table({"c" + CUT: ["v" + CUT, "w"], "mixed": [1, CUT]}),
                "rows": steno.Table([[CUT]], columns=["r" + CUT]),
                "image": steno.Image([[0, 1], [1, 0]], caption="c" + CUT),
            },
            step=0,
        )
        run.event("e" + CUT, what=CUT, many=[CUT])
        run.summary["s" + CUT] = CUT
        run.config["later" + CUT] = CUT
        assert run.config["later" + CUT] == run.config["later" + KEPT] == CUT
        run.async_log(lambda: {"async" + CUT: CUT}).result(20)
        assert run.finish(30)
        with steno.open(run.dir) as opened:
            yield opened


def test_init_keeps_it(book):
    info = book.info
    assert info.config == {"k" + KEPT: KEPT, "path": KEPT_NAME, "deep": [{KEPT: [KEPT]}], "later" + KEPT: KEPT}
    assert (info.tags, info.notes, info.group) == (("t" + KEPT,), "n" + KEPT, "g" + KEPT)
    assert info.summary == {"s" + KEPT: KEPT}
    (book.dir / "run.json").read_text(encoding="utf-8").encode()


def test_the_loop_keeps_it(book):
    assert info_losses(book) == []
    keys = {"async" + KEPT, "loss" + KEPT, "words", "n/x" + KEPT, f"('t', '{KEPT}')", "list/0", "list/1"}
    assert keys <= set(book.keys())
    assert book.series("words").exact.tolist() == ["a" + KEPT]
    assert book.series("list/0").exact.tolist() == ["v" + KEPT]
    (event,) = book.records("event")
    assert event.payload == {"name": "e" + KEPT, "what": KEPT, "many": [KEPT]}


def info_losses(book):
    return [loss.name for loss in book.info.losses]


def test_media_keep_it(book):
    assert book.media("text")[0].value == "# " + KEPT
    assert book.media("html")[0].value == "<b>" + KEPT
    assert book.media("table")[0].value.to_pydict() == {"c" + KEPT: ["v" + KEPT, "w"], "mixed": ["1", KEPT]}
    assert book.media("rows")[0].value.to_pydict() == {"r" + KEPT: [KEPT]}
    assert book.media("image")[0].ref.meta["caption"] == "c" + KEPT


def test_readers_find_it_by_its_own_spelling(book):
    assert book.series("loss" + CUT).value.tolist() == book.series("loss" + KEPT).value.tolist() == [1.0]
    assert list(book.frame(["n/x" + CUT]).columns)[-1] == "n/x" + KEPT
    assert book.sql(f"select value from metrics where key = 'loss{CUT}'").fetchall() == [(1.0,)]


def test_the_files_of_destinations_are_valid(book):
    for name in ("metrics.jsonl", "metrics.csv", "logs-rank0.txt"):
        assert KEPT in (book.dir / name).read_bytes().decode().replace("\\\\", "\\"), name


def test_writers_keep_it(tmp_path, monkeypatch):
    no_launcher(monkeypatch)
    with steno.SummaryWriter(str(tmp_path / "logs")) as writer:
        writer.add_text("t" + CUT, "x" + CUT, 0)
        writer.add_scalar("a" + CUT, 1.0, 0)
        writer.add_hparams({"h" + CUT: "v" + CUT}, {"m": 1.0}, name="run")
    with steno.open(tmp_path / "logs") as logs:
        assert {"t" + KEPT, "a" + KEPT} <= set(logs.keys())
        assert logs.media("t" + CUT)[0].value == "x" + KEPT
    assert values.tag("a" + CUT) == "a" + KEPT
    assert text_of(NAME, "x") == KEPT_NAME


def test_a_program_in_such_a_directory_with_such_an_argument(tmp_path):
    place = os.path.join(os.fsencode(tmp_path), b"caf\xe9")
    os.mkdir(place)
    code = (
        "import steno\n"
        "run = steno.init(project='p', name='r', capture='stdout')\n"
        "for i in range(100): run.log({'x': float(i)})\n"
        "print('caf\\udce9')\n"
        "assert run.finish(60)\n"
        "book = steno.open(run.dir)\n"
        "assert len(book.series('x').value) == 100 == book.sql('select count(*) from metrics').fetchall()[0][0]\n"
        "assert book.info.command.endswith('caf\\\\udce9.npz\\''), book.info.command\n"
        "assert book.records('output')[0].payload['text'] == 'caf\\\\udce9'\n"
        "assert steno.sync(run.dir)\n"
        "assert not book.verify() and len(steno.open(run.dir).series('x').value) == 100\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, b"/data/caf\xe9.npz"], cwd=place, env=environment(STENO_COLLECTOR="on"),
        capture_output=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    log = os.path.join(place, b"runs/p/r/.steno/collector.log")
    assert b"Traceback" not in open(log, "rb").read()  # noqa: SIM115
