"""A view as one file: what is in it, what never is, how large it gets."""

from __future__ import annotations

import base64
import contextlib
import getpass
import gzip
import json
import os
import pty
import re
import struct
import subprocess
import sys
from urllib.parse import urlencode

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_runs import Writer

import steno
import viewer_server
from steno import host
from steno.errors import UsageError
from steno.viewer.catalogue import Catalogue
from steno.viewer.chart import Charts
from steno.viewer.export import Export, _streamed
from steno.viewer.kept import KeptViews
from steno.viewer.private import Private
from steno.viewer.run import OneRun
from steno.viewer.runs import Runs
from steno.viewer.stall import Stall

HOSTILE = "</script><script>alert(1)</script><!--<img src=x onerror=alert(1)>"
SECRET = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGH"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("home") / "runs"
    config = {
        "lr": 0.1, "api_key": "hunter2hunter2", "note": f"uses {SECRET}", "data": "/home/anna/data/cifar",
        "where": f"ran on {host.name()}, lab3.example", "url": "https://anna:pw12345678@store.example/x",
    }  # fmt: skip
    for at in range(4):
        with Writer(
            place / "digits" / f"r{at}", project="digits", config={**config, "seed": at}, tags=[HOSTILE, "good"], notes="see ~/notes",
            host="lab3.example", command="python train.py --token=abc123secret", group=f"g{at % 2}",
        ) as writer:  # fmt: skip
            rng = np.random.default_rng(at)
            for step in range(3000):
                few = {HOSTILE: step, "few": step} if step % 100 == 0 else {}
                writer.log((step, {"loss": float(rng.normal()), **few}))
            writer.finish()
    return place


@pytest.fixture(scope="module")
def export(place):
    catalogue = Catalogue(place)
    return Export(catalogue, Runs(catalogue, Stall(catalogue)), OneRun(catalogue), Charts(catalogue))


def inside(made):
    """(the index of a file, its charts' answers by their places in the index)."""
    text = re.search(rb'id="steno-data">([^<]*)<', made)[1]
    data = base64.b64decode(text, validate=True)
    (size,) = struct.unpack_from("<I", data)
    head = json.loads(data[4 : 4 + size])
    return head, [gzip.decompress(data[4 + size + one["offset"] :][: one["length"]]) for one in head["charts"]]


def header(chart):
    (size,) = struct.unpack_from("<I", chart)
    return json.loads(chart[4 : 4 + size])


COLUMNS = "&".join(
    f"column={one}"
    for one in (
        "tags", "notes", "config.lr", "config.api_key", "config.note", "config.data", "config.where", "config.url",
        "loss.last",
    )
)  # fmt: skip


def test_the_file_has_what_the_server_answers(export, place):
    made, left_out = export.file(f"runs=2&{COLUMNS}&smooth=mean~40&where=config.seed<3")
    assert left_out == []
    head, charts = inside(made)
    assert [row["run"] for row in head["runs"]["rows"]] == ["digits/r0", "digits/r1"]
    assert head["keys"]["keys"] == sorted([HOSTILE, "few", "loss"])
    assert head["version"] == steno.__version__
    assert {one["key"] for one in head["charts"]} == set(head["keys"]["keys"])
    assert sorted(one["width"] for one in head["charts"] if one["key"] == "loss") == [450, 4096]
    widest = next(at for at, one in enumerate(head["charts"]) if one["width"] == 4096)
    answer = viewer_server.Answer(200, None, charts[widest])
    (card,) = answer.cards()
    exact = steno.open(place / "digits" / "r0").series("loss").value
    (one,) = [one for one in card["series"] if one["run"] == "digits/r0"]
    np.testing.assert_allclose(one["columns"]["y"], exact, rtol=1e-6)
    assert len(one["columns"]["smooth"]) == len(exact)


def test_nothing_private_is_in_the_file(export):
    apart = urlencode(
        {"brush": '["config.data","/home/anna/cifar"]', "hideLabel": '["x","lab3"]', "dotX": "config.token"}
    )
    made, _ = export.file(f"runs=all&{COLUMNS}&group=config.data&group=config.where&{apart}", title="mine")
    head, charts = inside(made)
    text = json.dumps(head) + "".join(json.dumps(header(one)) for one in charts)
    user = getpass.getuser()
    for private in (
        "hunter2", SECRET, "/home", "anna", "cifar", "lab3", f" {host.name()}", "pw12345678", "~/notes", "abc123secret",
        "train.py", "token", str(export._catalogue.root),
    ):  # fmt: skip
        assert private not in text, private
    assert user in {"root", "user", "admin", "ubuntu", "runner"} or user not in text
    assert "0.1" in text


def test_a_hostile_name_ends_no_element_of_the_document(export):
    made, _ = export.file(f"runs=all&{COLUMNS}", title=HOSTILE)
    text = made.decode()
    assert text.count("<script") == text.count("</script>") == 2
    assert text.count("<style") == text.count("</style>") == 1
    assert "<title>&lt;/script&gt;" in text
    assert "default-src &#x27;none&#x27;" not in text
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert "http" not in policy


def test_a_zoom_has_its_own_bins_and_a_baseline_that_is_not_drawn_stays(export):
    head, _ = inside(export.file("runs=1&baseline=digits/r3&zoom=100~900")[0])
    assert [one["range"] for one in head["charts"] if one["key"] == "loss"] == [None, [100.0, 900.0], None]
    assert len(head["runs"]["rows"]) == 2
    assert "hide=digits%2Fr3" in head["view"]
    assert "baseline=digits%2Fr3" in head["view"]
    assert "where" not in head["view"]


def test_where_there_is_little_room_charts_are_coarser_then_left_out_and_the_file_never_is_larger(export):
    whole, _ = export.file("runs=all")
    page = len(whole) - len(re.search(rb'id="steno-data">([^<]*)<', whole)[1])
    for more in (900_000, 200_000, 80_000, 40_000):
        made, left_out = export.file("runs=all", most_bytes=page + more)
        assert len(made) <= page + more
        head, _ = inside(made)
        assert head["left_out"] == left_out
        assert sorted({one["key"] for one in head["charts"]} | set(left_out)) == head["keys"]["keys"]
    assert left_out
    for most in (page + 6000, page, 1000):
        with pytest.raises(UsageError, match="draw fewer runs"):
            export.file("runs=all", most_bytes=most)


def test_where_not_even_one_chart_fits_it_has_fewer_bins_at_first_sight_too(export):
    view = "runs=all&filter=loss"
    whole, _ = export.file(view)
    page = len(whole) - len(re.search(rb'id="steno-data">([^<]*)<', whole)[1])
    widths = []
    for more in (90_000, 45_000, 25_000):
        made, left_out = export.file(view, most_bytes=page + more)
        head, charts = inside(made)
        assert (len(made) <= page + more, left_out) == (True, [])
        (one,) = head["charts"]
        widths.append(one["width"])
        (card,) = viewer_server.Answer(200, None, charts[0]).cards()
        assert (card["points"], len(card["series"])) == (12_000, 4)
        assert all(series["columns"]["count"].sum() == 3000 for series in card["series"])
    assert widths == [450, 225, 112]


def test_the_runs_are_read_once_for_many_charts(export, monkeypatch):
    asked, apart = [], export._charts.one_by_one
    monkeypatch.setattr(export._charts, "one_by_one", lambda given: asked.append(given["cards"]) or apart(given))
    head, _ = inside(export.file("runs=all")[0])
    assert [[card["keys"][0] for card in cards] for cards in asked] == [head["keys"]["keys"], ["loss"]]
    assert [card["width"] for card in asked[1]] == [4096]


def test_a_view_without_runs_is_said(export):
    for view in ("runs=none", "where=config.lr>5", "runs=all&hide=digits/r0&where=config.seed==0"):
        with pytest.raises(UsageError, match="draws no run"):
            export.file(view)


def test_a_damaged_run_costs_no_other(tmp_path):
    for name in ("good", "bad"):
        with Writer(tmp_path / "p" / name, project="p") as writer:
            writer.log((0, {"loss": 0.5}))
            writer.finish()
    for path in (tmp_path / "p" / "bad" / ".steno").rglob("*"):
        if path.is_file():
            path.write_bytes(b"\xff" * 64)
    catalogue = Catalogue(tmp_path)
    made, _ = Export(catalogue, Runs(catalogue, Stall(catalogue)), OneRun(catalogue), Charts(catalogue)).file(
        "runs=all"
    )
    head, charts = inside(made)
    assert {row["run"] for row in head["runs"]["rows"]} == {"p/good", "p/bad"}
    assert str(tmp_path) not in json.dumps(head) + "".join(one.decode("latin-1") for one in charts)
    assert "loss" in head["keys"]["keys"]


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("/home/anna", "…"), ("data in /home/anna/x, ok", "data in …, ok"), ("C:\\Users\\anna\\x", "…"),
        ("file:///home/anna/x", "…"), ("~/x", "…"), ("\\\\server\\share", "…"), ("a/b", "a/b"), ("1/2", "1/2"),
        ("adam", "adam"), ("</b>", "</b>"), ("on node17", "on …"), ("NODE17.cluster.example", "…"), ("node170", "node170"),
        ("https://example.com/a/b", "https://example.com/a/b"),
    ],
)  # fmt: skip
def test_paths_and_machines_are_taken_out(text, clean):
    assert Private(["node17.cluster.example"]).text(text) == clean


def test_the_command_line_writes_it_and_says_what_is_wrong(place, tmp_path):
    def view(*arguments):
        command = [sys.executable, "-m", "steno", "view", str(place), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    target = tmp_path / "out.html"
    done = view("--export", str(target), "--where", "config.seed < 2")
    assert (done.returncode, done.stderr) == (0, "")
    assert "out.html" in done.stdout
    assert [row["run"] for row in inside(target.read_bytes())[0]["runs"]["rows"]] == ["digits/r0", "digits/r1"]
    KeptViews(place).save("one", "runs=1&logY=1", replace=True)
    assert view("--export", str(target), "--view", "one").returncode == 0
    head, _ = inside(target.read_bytes())
    assert (len(head["runs"]["rows"]), head["title"]) == (1, "one")
    assert "logY=1" in head["view"]
    for arguments, words in (
        (("--export", str(target), "--view", "none"), "there are one"),
        (("--export", str(target), "--where", "config.lr >"), "where"),
        (("--export", str(target), "--where", "config.lr > 9"), "draws no run"),
        (("--export", str(tmp_path / "no" / "out.html")), "was not written"),
        (("--where", "x > 1"), "--export"),
    ):
        done = view(*arguments)
        assert done.returncode != 0
        assert words in done.stderr, done.stderr
        assert "Traceback" not in done.stderr


def test_on_a_terminal_the_command_line_says_how_far_it_is(place, tmp_path):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "steno", "view", str(place), "--export", str(tmp_path / "out.html")]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs, env=environment) as process:
        os.close(theirs)
        said = b""
        with contextlib.suppress(OSError):  # the terminal's end
            while part := os.read(ours, 65536):
                said += part
    os.close(ours)
    assert process.returncode == 0
    assert inside((tmp_path / "out.html").read_bytes())
    assert re.search(rb"(?<!\d)([1-9]\d*)/\1(?!\d)", said), (
        said
    )  # charts may be made again with more bins, then fewer of them
    assert said.rstrip(b"\r\n").endswith(b"\x1b[2K")  # the line is cleared


@pytest.fixture(scope="module")
def asker(place):
    with viewer_server.serving(place) as asker:
        yield asker


def test_the_server_gives_it_as_a_download_in_a_sandbox(asker):
    answer = asker.post("/api/export", {"view": "runs=1"})
    assert answer.status == 200
    assert answer.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in answer.headers["content-security-policy"]
    assert len(inside(answer.body)[0]["runs"]["rows"]) == 1
    assert asker.ask("/api/export", "POST", {"view": "runs=1"}, Origin="http://evil.example").status == 403
    assert asker.post("/api/export", {"view": "runs=none"}).status == 400


def lines(body):
    """(the lines of JSON, what is behind the last)."""
    found = []
    while body:
        line, _, body = body.partition(b"\n")
        found.append(json.loads(line))
        if "bytes" in found[-1]:
            break
    return found, body


def test_while_it_is_made_it_says_how_far_it_is(asker):
    accept = "application/vnd.steno.export"
    answer = asker.post("/api/export", {"view": "runs=all"}, Accept=accept)
    assert (answer.status, answer.headers["content-type"]) == (200, accept)
    told, made = lines(answer.body)
    assert told == [
        {"done": 0, "of": 0, "bins": 450}, {"done": 3, "of": 3, "bins": 450}, {"done": 1, "of": 1, "bins": 4096},
        {"bytes": len(made)},
    ]  # fmt: skip
    same = asker.post("/api/export", {"view": "runs=all"}).body
    assert inside(made)[1] == inside(same)[1]
    refused = asker.post("/api/export", {"view": "runs=none"}, Accept=accept)
    assert (refused.status, "draws no run" in refused.json["error"]) == (400, True)


def test_what_is_wrong_on_the_way_is_the_last_line_and_whoever_goes_away_ends_it(export, monkeypatch):
    steps = export.steps("runs=all", title=None, width=450, most_bytes=1000)
    told, made = lines(b"".join(_streamed(next(steps), steps)))
    assert [sorted(one) for one in told] == [["bins", "done", "of"], ["error", "remedy"]]
    assert "draw fewer runs" in told[-1]["error"]
    assert made == b""
    asked, one_by_one = [], export._charts.one_by_one
    monkeypatch.setattr(export._charts, "one_by_one", lambda given: asked.append(given) or one_by_one(given))
    steps = export.steps("runs=all", title=None, width=450)
    going = _streamed(next(steps), steps)
    told = [json.loads(next(going)) for _ in range(2)]
    assert [one["done"] for one in told] == [0, 3]
    going.close()
    assert len(asked) == 1, "nothing more is computed"


VIEW = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "runs",
                "where",
                "sort",
                "column",
                "show",
                "hide",
                "x",
                "zoom",
                "smooth",
                "group",
                "ranks",
                "filter",
                "baseline",
            ]
        ),
        st.sampled_from(["all", "1", "digits/r0", "loss", "time", "key:few", "1~2", "ema~5", "config.lr", "odd", "("])
        | st.text(max_size=8),
    ),
    max_size=5,
)


@given(view=VIEW, text=st.none() | st.text(max_size=20))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_view_is_asked_for_is_written_or_refused(asker, view, text):
    from urllib.parse import urlencode

    answer = asker.post("/api/export", {"view": urlencode(view) if text is None else text})
    assert answer.status in {200, 400, 413}, answer.body[:500]
    if answer.status == 200:
        assert len(answer.body) <= 20_000_000
        inside(answer.body)
