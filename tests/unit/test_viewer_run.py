"""What the viewer answers about one run: how its attempts went, how its machinery is, what it has kept."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

import pytest

import steno
import viewer_server

FAILS = """
import sys
import steno
with steno.init(project="p", name="bad", dir=sys.argv[1], config={"a": {"b": 1}}, tags=["t"], notes="n") as run:
    run.log({"loss": 1.0}, step=3)
    if len(sys.argv) > 2:
        raise ValueError("it <b>broke</b>")
    sys.stderr.flush()
    import os
    assert run.flush(30)
    os._exit(0)
"""
RANKS = """
import os, sys, time
import steno
with steno.init(project="p", name="job", dir=sys.argv[1]) as run:
    run.log({"x": 1.0})
    if run.rank == 1:
        raise RuntimeError("rank one")
    time.sleep(1.5)
    raise RuntimeError("rank zero")
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("viewed")
    (place / "files" / "deep").mkdir(parents=True)
    (place / "files" / "model.pt").write_bytes(b"one")
    (place / "files" / "deep" / "more <b>.txt").write_bytes(b"three")
    with steno.init(project="p", name="kept", dir=str(place / "runs"), destinations=["csv"], capture="both") as run:
        run.log({"loss": 1.0, "bad": {}, "good": 2.0}, step=0)
        run.log_artifact(str(place / "files" / "model.pt"), "model/best", step=1, metadata={"by": "<i>me</i>"})
        (place / "files" / "model.pt").write_bytes(b"second")
        run.log_artifact(str(place / "files" / "model.pt"), "model/best", overwrite=True, step=2, link="latest")
        run.log_artifact(str(place / "files"), "all")
        assert run.finish(60)
    runs = str(place / "runs")
    subprocess.run([sys.executable, "-c", FAILS, runs], check=True, timeout=100)
    failing = subprocess.run(
        [sys.executable, "-c", FAILS, runs, "fails"], check=False, timeout=100, capture_output=True
    )
    assert failing.returncode == 1
    job = {**os.environ, "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "job"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANKS, runs],
            env={**job, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.DEVNULL,
        )
        for rank in range(2)
    ]
    assert [rank.wait(90) for rank in ranks] == [1, 1]
    return place / "runs"


@pytest.fixture(scope="module")
def asker(place):
    with viewer_server.serving(place) as asker:
        yield asker


def ids(asker, text):
    return [row["run"] for row in asker.ask("/api/runs").json["rows"] if text in row["run"]]


def config(asker, run):
    answer = asker.ask(f"/api/config?run={run.replace('/', '%2F')}")
    assert answer.status == 200, answer.body
    return answer.json


def test_a_failed_run_says_why_and_with_what_it_began(asker):
    (run,) = [one for one in ids(asker, "bad") if config(asker, one)["state"] == "failed"]
    said = config(asker, run)
    (failure,) = said["failures"]
    assert failure["traceback"].rstrip().endswith("ValueError: it <b>broke</b>")
    assert "Traceback (most recent call last)" in failure["traceback"]
    assert (failure["rank"], said["tags"], said["notes"]) == (0, ["t"], "n")
    assert said["config"] == {"a": {"b": 1}}
    (attempt,) = said["attempts"]
    assert (attempt["attempt"], attempt["world_size"], attempt["processes"], attempt["ends"], attempt["failed"]) == (
        1,
    ) * 5
    assert attempt["hosts"] == [said["meta"]["host"]]
    assert attempt["started"] < attempt["ended"]


def test_a_run_that_ended_without_a_word_has_no_failure(asker):
    (run,) = [one for one in ids(asker, "bad") if config(asker, one)["state"] == "crashed"]
    said = config(asker, run)
    assert said["failures"] == []
    assert (said["attempts"][0]["ends"], said["attempts"][0]["ended"]) == (0, None)


def test_of_several_ranks_the_one_that_failed_first_comes_first(asker):
    (run,) = ids(asker, "job")
    said = config(asker, run)
    assert [
        (one["rank"], one["error"].splitlines()[-1].endswith(("rank one", "rank zero"))) for one in said["failures"]
    ] == [
        (1, True),
        (0, True),
    ]
    assert "rank one" in said["failures"][0]["traceback"]
    assert (said["attempts"][0]["world_size"], said["attempts"][0]["processes"]) == (2, 2)


def test_health_is_what_the_doctor_says(asker, place):
    from steno import examine

    said = asker.ask("/api/health?run=p%2Fkept").json
    report = examine.examine(place / "p" / "kept")
    assert said["advice"] == report.advice
    assert said["damage"] == report.damage == []
    (csv,) = said["destinations"]
    assert (csv["name"], csv["lag"], csv["error"]) == ("csv", 0, None)
    assert csv["delivered"] == report.destinations[0]["delivered"] > 0
    (node,) = said["nodes"]
    assert node["host"] == report.nodes[0]["host"]
    assert [one["text"] for one in said["losses"]] == ["refused: 1 of bad (an empty dict has no values)"]


def test_a_place_that_nobody_confirmed_is_said(asker, place):
    (run,) = [one for one in ids(asker, "bad") if config(asker, one)["state"] == "crashed"]
    wanted = place / run / ".steno" / "destinations"
    wanted.mkdir(parents=True, exist_ok=True)
    (wanted / "elsewhere:It.json").write_text(json.dumps({"name": "elsewhere:It", "kind": "process", "options": {}}))
    said = asker.ask(f"/api/health?run={run.replace('/', '%2F')}").json
    assert any("elsewhere:It" in line for line in said["advice"])
    assert [one["state"] for one in said["destinations"]] == ["not confirmed"]


def test_a_running_run_says_how_its_collector_is(tmp_path):
    with viewer_server.serving(tmp_path) as asker, steno.init(project="p", name="live", dir=str(tmp_path)) as run:
        run.log({"x": 1.0})
        assert run.flush(30)
        said = asker.ask("/api/health?run=p%2Flive").json
        (node,) = said["nodes"]
        assert (node["collector"], said["state"]) == ("running", "running")
        assert node["status_age_secs"] < 60


def test_artifacts_have_versions_aliases_and_files(asker):
    said = asker.ask("/api/artifacts?run=p%2Fkept").json
    assert said["total"] == 2
    rows = {one["name"]: one for one in said["artifacts"]}
    best = rows["model/best"]
    assert best["digest"] == hashlib.sha256(b"second").hexdigest()
    assert (best["size"], best["step"], best["versions"], best["aliases"]) == (6, 2, 2, ["latest"])
    old = asker.ask("/api/artifacts?run=p%2Fkept&name=model%2Fbest").json
    assert [one["digest"] for one in old["versions"]] == [
        hashlib.sha256(content).hexdigest() for content in (b"second", b"one")
    ]
    assert old["versions"][1]["metadata"] == {"by": "<i>me</i>"}
    assert asker.ask("/api/artifacts?run=p%2Fkept&name=latest").json["name"] == "model/best"
    files = asker.ask(f"/api/artifacts?run=p%2Fkept&name=all&digest={rows['all']['digest']}").json
    assert [(one["path"], one["size"]) for one in files["files"]] == [("deep/more <b>.txt", 5), ("model.pt", 6)]
    few = asker.ask(f"/api/artifacts?run=p%2Fkept&name=all&digest={rows['all']['digest']}&offset=1&limit=1").json
    assert ([one["path"] for one in few["files"]], few["total"]) == (["model.pt"], 2)
    assert [one["name"] for one in asker.ask("/api/artifacts?run=p%2Fkept&match=LATEST").json["artifacts"]] == [
        "model/best"
    ]


def test_each_version_and_each_file_is_downloaded_by_ranges(asker):
    digest = hashlib.sha256(b"one").hexdigest()
    assert asker.ask(f"/api/artifact/p%2Fkept/model%2Fbest/{digest}/model.pt").body == b"one"
    (row,) = [one for one in asker.ask("/api/artifacts?run=p%2Fkept").json["artifacts"] if one["name"] == "all"]
    address = f"/api/artifact/p%2Fkept/all/{row['digest']}/deep/more%20%3Cb%3E.txt"
    part = asker.ask(address, Range="bytes=1-3")
    assert (part.status, part.body, part.headers["content-range"]) == (206, b"hre", "bytes 1-3/5")


def test_what_is_not_there_is_said(asker):
    for path in ("artifacts?run=p%2Fkept&name=none", "artifacts?run=p%2Fkept&digest=abcdef0", "artifacts?run=none"):
        answer = asker.ask(f"/api/{path}")
        assert answer.status in {400, 404}
        assert answer.json["error"]
    assert asker.ask("/api/health").status == 400


PRINTS = """
import sys
import steno
with steno.init(project="p", name="prints", dir=sys.argv[1], capture="stdout") as run:
    for at in range(1200):
        print(f"\\x1b[31mline\\x1b[0m {at}")
    run.event("said", what="line 7")
"""


def test_records_come_by_pages_and_output_as_a_text(tmp_path):
    subprocess.run([sys.executable, "-c", PRINTS, str(tmp_path)], check=True, timeout=100, stdout=subprocess.DEVNULL)
    with viewer_server.serving(tmp_path) as asker:
        address = "/api/records?run=p%2Fprints&kind=output"
        last = asker.ask(f"{address}&last=10").json
        assert ([one["number"] for one in last["records"]], last["total"]) == ([*range(1190, 1200)], 1200)
        assert (last["offset"], last["next"], last["kinds"]["event"]) == (1190, None, 1)
        first = asker.ask(f"{address}&limit=500").json
        assert (first["next"], first["records"][0]["value"]["text"]) == ("500", "\x1b[31mline\x1b[0m 0")
        found = asker.ask(f"{address}&match=LINE%207&limit=2").json
        assert ([one["number"] for one in found["records"]], found["total"]) == ([7, 70], 111)
        text = asker.ask("/api/output?run=p%2Fprints")
        assert text.headers["content-type"] == "text/plain; charset=utf-8"
        assert text.headers["content-disposition"] == "attachment; filename*=UTF-8''prints.txt"
        assert "sandbox" in text.headers["content-security-policy"]
        assert text.body.decode().splitlines() == [f"line {at}" for at in range(1200)]
        assert asker.ask("/api/output?run=p%2Fprints&colours=true").body.startswith(b"\x1b[31mline")
        assert asker.ask("/api/output?run=none").status == 404
