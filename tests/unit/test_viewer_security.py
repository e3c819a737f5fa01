"""Who may look, and what a run's files can do in a browser: nothing."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote, urljoin

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import steno
import viewer_server
from steno.viewer import guarded, token

PAGES = ("/", "/api/hello", "/api/runs", "/api/keys", "/api/columns", "/api/server", "/api/live", "/api/news", "/none")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("viewed")
    (place / "secret.txt").write_text("not a run's")
    with steno.init(project="p", name="a", dir=str(place)) as run:
        run.log({"x": 1.0, "page": steno.Html("<script>1</script>"), "img": steno.Image(np.zeros((4, 4, 3), np.uint8))})
        assert run.finish(30)
    os.symlink(place / "secret.txt", place / "p" / "a" / "media" / "link.png")
    return place


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def asker(place, state):
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(state)
    try:
        with viewer_server.serving(place) as asker:
            yield asker
    finally:
        os.environ.pop("XDG_STATE_HOME") if before is None else os.environ.__setitem__("XDG_STATE_HOME", before)


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("given", [None, "", "x" * 43, "ü", "\t"])
def test_nothing_is_answered_without_the_token(asker, path, given):
    headers = {} if given is None else {"Cookie": f"{cookie(asker)}={given}".encode().decode("latin-1")}
    answer = asker.ask(path, token=None, **headers)
    assert answer.status == 401
    assert b"digits" not in answer.body
    assert "set-cookie" not in answer.headers


def cookie(asker) -> str:
    answer = asker.ask(f"/?token={asker.token}", token=None)
    return answer.headers["set-cookie"].partition("=")[0]


def test_the_token_in_the_address_becomes_a_cookie_and_leaves_the_address(asker):
    answer = asker.ask(f"/?run=p%2Fa&token={asker.token}&x=1", token=None)
    assert answer.status == 303
    assert answer.headers["location"] == "./?run=p%2Fa&x=1"
    assert answer.headers["referrer-policy"] == "no-referrer"
    name, _, rest = answer.headers["set-cookie"].partition("=")
    value, *flags = rest.split("; ")
    assert value == asker.token
    assert {"HttpOnly", "SameSite=Strict"} <= set(flags)
    assert not [flag for flag in flags if flag.lower().startswith(("path", "domain"))]
    assert asker.ask("/api/hello", token=None, Cookie=f"other=1; {name}={value}").status == 200


def test_a_wrong_token_in_the_address_gives_no_cookie(asker):
    answer = asker.ask("/?token=wrong", token=None)
    assert (answer.status, answer.headers["location"]) == (303, "./")
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "path",
    [
        "/\u00e9\u20ac",
        "/%0d%0aX-Evil:%201",
        "/%00",
        "//evil.example",
        "/..//evil.example/",
        "/%5c%5cevil.example",
        "/a?b=%0d%0a",
    ],
)
def test_the_address_without_the_token_is_relative_whatever_it_was(asker, path):
    begin = "&" if "?" in path else "?"
    answer = asker.ask(f"{quote(path, safe='/%?=')}{begin}token={asker.token}", token=None)
    assert answer.status == 303, answer.body
    assert "x-evil" not in answer.headers
    target = urljoin("http://here.example/prefix/x", answer.headers["location"])
    assert target.startswith("http://here.example/prefix/")
    assert asker.token not in answer.headers["location"]


@pytest.mark.parametrize("token", [None, ""])
def test_what_a_proxy_says_of_itself_changes_nothing(asker, token):
    """No address is built from it: whoever sends such headers could send people elsewhere."""
    said = {
        "X_Forwarded_Host": "evil.example", "X_Forwarded_Proto": "https", "X_Forwarded_Prefix": "/evil", "X_Forwarded_For": "6.6.6.6",
        "Forwarded": "host=evil.example;proto=https", "X_Script_Name": "/evil", "X_Original_Url": "/evil", "X_Rewrite_Url": "/evil",
    }  # fmt: skip
    for path in ("/", "/api/server", "/api/runs", f"/?token={asker.token}", "/none", "/api/none"):
        plain, forwarded = asker.ask(path, token=token), asker.ask(path, token=token, **said)
        assert forwarded.status == plain.status
        assert forwarded.body == plain.body
        assert {name: value for name, value in forwarded.headers.items() if name != "date"} == {
            name: value for name, value in plain.headers.items() if name != "date"
        }
    refused = asker.ask(
        "/api/runs", "POST", {}, X_Steno="1", Origin="https://evil.example", X_Forwarded_Host="evil.example"
    )
    assert refused.status == 403


SEGMENT = st.sampled_from(
    ["..", ".", "", "p", "a", "p%2Fa", "media", "run.json", "secret.txt", "link.png", "%2e%2e", "..%2f..", "%00", "%2f", "%5c", "%ff", "latest"]
) | st.text(max_size=4).map(lambda text: quote(text.encode(errors="replace"), safe=""))  # fmt: skip
RANGE = st.none() | st.sampled_from(["bytes=0-3", "bytes=-1", "bytes=9-1", "bytes=", "lines=1-2"]) | st.text(
    st.characters(min_codepoint=32, max_codepoint=126), max_size=12
)  # fmt: skip


@pytest.mark.parametrize("kind", ["media", "artifact"])
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(SEGMENT, max_size=6), span=RANGE)
def test_whatever_file_is_asked_for_is_one_of_a_run_or_refused(asker, kind, steps, span):
    answer = asker.ask(f"/api/{kind}/{'/'.join(steps)}", **({} if span is None else {"Range": span}))
    assert answer.status in {400, 404, 422}, (answer.status, answer.body)
    assert answer.json["error"]
    assert b"not a run's" not in answer.body


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(SEGMENT, max_size=5))
def test_whatever_address_of_the_page_is_asked_for_is_a_file_of_the_page_or_refused(asker, steps):
    answer = asker.ask(f"/{'/'.join(steps)}")
    assert answer.status in {200, 400, 404}, (answer.status, answer.body)
    assert b"not a run's" not in answer.body
    assert answer.status != 200 or answer.body == asker.ask("/").body


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(given_=viewer_server.strange("token"))
def test_no_other_text_than_the_token_lets_anybody_in(asker, given_):
    answer = asker.ask("/api/login", "POST", {"token": given_}, token=None, X_Steno="1", Sec_Fetch_Site="same-origin")
    assert answer.status in {400, 401}, (answer.status, answer.body)
    assert "set-cookie" not in answer.headers


def test_the_token_is_in_no_output_no_answer_and_no_file(place, state, tmp_path):
    """Whatever is asked with it, in each of its three ways; a log is kept and sent to others."""
    env = {**os.environ, "XDG_STATE_HOME": str(state)}
    process = subprocess.Popen(
        [sys.executable, "-m", "steno", "view", str(place), "--port", "0", "--no-browser"],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    said = ""
    try:
        said += process.stdout.readline()
        token = (state / "steno" / "viewer-token").read_text()
        address = re.search(r"http://\S+", said)[0]
        command = Path(f"/proc/{process.pid}/cmdline").read_bytes() + Path(f"/proc/{process.pid}/environ").read_bytes()
        asker = viewer_server.Asker(SimpleNamespace(address=address, url=f"{address}?token={token}"))
        answers = [
            asker.ask(path) for path in ("/", "/none", "/api/none", "/api/server", "/api/runs", "/api/config?run=x")
        ]
        answers += [
            asker.ask(f"/t/{token}{path}", token=None) for path in ("/", "/api/none", "/api/runs?where=(", "/%ff")
        ]
        answers += [asker.ask(f"{path}?token={token}", token=None) for path in ("/", "/x", "/api/runs")]
        answers += [
            asker.post(path, {"view": "runs=all", "cards": 1}) for path in ("/api/export", "/api/chart", "/api/login")
        ]
        assert answers[-3].status == 200
        for answer in answers:
            assert token.encode() not in answer.body
            assert token not in str([one for one in answer.headers.items() if one[0] != "set-cookie"])
    finally:
        process.terminate()
        said += process.communicate(timeout=20)[0]
    assert "Traceback" not in said
    assert token not in said
    assert token.encode() not in command


def test_the_token_in_the_path_opens_every_address_below_it(asker):
    assert asker.ask(f"/t/{asker.token}/api/hello", token=None).status == 200
    assert asker.ask(f"/t/{asker.token}/api/config?run=p%2Fa", token=None).status == 200
    assert asker.ask("/t/wrong/api/hello", token=None).status == 401
    assert asker.ask(f"/t/{asker.token}", token=None).status == 401
    framed = asker.ask(f"/t/{asker.token}/", token=None).headers["content-security-policy"]
    assert "frame-ancestors *" in framed
    assert "frame-ancestors 'self'" in asker.ask("/").headers["content-security-policy"]


def test_two_viewers_on_two_ports_have_cookies_of_two_names(asker, place, state, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    with viewer_server.serving(place, port=0) as other:
        assert other.token == asker.token, "a tab that is open must survive a restart"
        assert cookie(other) != cookie(asker)


def test_the_token_is_read_by_its_user_alone(asker, state):
    path = state / "steno" / "viewer-token"
    assert path.read_text() == asker.token
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("spoil", ["readable", "link", "empty"])
def test_a_token_file_that_others_can_have_made_is_not_used(tmp_path, monkeypatch, spoil):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    known, path = token.of_user()
    assert path is not None
    if spoil == "readable":
        path.chmod(0o644)
    elif spoil == "empty":
        path.write_text("")
    else:
        other = tmp_path / "other"
        path.rename(other)
        path.symlink_to(other)
    fresh, where = token.of_user()
    assert where is None
    assert fresh != known
    assert len(fresh) >= 32


def test_a_request_that_is_no_get_must_come_from_the_page(asker):
    own = {"X_Steno": "1"}
    with_cookie = {"Cookie": f"{cookie(asker)}={asker.token}"}
    for headers, status in (
        ({}, 403),
        (own, 403),
        ({**own, "Sec_Fetch_Site": "cross-site"}, 403),
        ({**own, "Sec_Fetch_Site": "same-site"}, 403),
        ({**own, "Sec_Fetch_Site": "none"}, 403),
        ({**own, "Origin": "http://evil.example"}, 403),
        ({**own, "Origin": "null"}, 403),
        ({"Sec_Fetch_Site": "same-origin"}, 403),
        ({**own, "Sec_Fetch_Site": "same-origin"}, 200),
        ({**own, "Origin": asker.address.rstrip("/")}, 200),
    ):
        answer = asker.ask("/api/runs", "POST", {}, token=None, **with_cookie, **headers)
        assert answer.status == status, (headers, answer.body)
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    assert asker.ask("/api/runs", "POST", {}, X_Steno="1").status == 200, "a program with the token itself"
    assert asker.ask("/api/runs", "OPTIONS", Origin="http://evil.example").status == 403


def test_host_is_not_judged_with_a_token_and_is_without(asker, place):
    assert asker.ask("/api/hello", Host="anything.example").status == 200
    with viewer_server.serving(place, token=False) as bare:
        assert bare.token == ""
        for host, status in (
            ("localhost", 200), ("127.0.0.1:1", 200), ("[::1]:7", 200), ("LOCALHOST:9", 200), ("evil.example", 403),
            ("localhost.evil.example", 403), ("127.0.0.1.evil.example", 403), ("", 403),
        ):  # fmt: skip
            assert bare.ask("/api/hello", Host=host).status == status, host


def test_a_reader_shows_its_run(place, state, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    with steno.open(place / "p" / "a") as reader:
        viewer = reader.view(browser=False)
    try:
        assert viewer.address.endswith("/#runs=none&show=a")
        frame = viewer._repr_html_()
        known = (state / "steno" / "viewer-token").read_text()
        assert f"/t/{known}/#runs=none&amp;show=a" in frame
        row = viewer_server.Asker(viewer).ask("/api/runs").json["rows"][0]
        assert row["run"] == "a"
    finally:
        viewer.close()


def test_without_a_token_only_this_machine_is_served(tmp_path):
    with pytest.raises(steno.UsageError, match="to everybody"):
        steno.view(tmp_path, host="0.0.0.0", token=False, browser=False)


MEDIA_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:; media-src data: blob:; font-src data:"
)


def file_of(asker, key) -> str:
    answer = asker.ask(f"/api/records?run=p%2Fa&key={key}")
    return f"/api/media/p%2Fa/{answer.json['records'][0]['value']['file']}"


def test_a_run_s_html_is_a_document_without_origin_and_network(asker):
    path = file_of(asker, "page")
    plain = asker.ask(path, Sec_Fetch_Dest="document")
    framed = asker.ask(path, Sec_Fetch_Dest="iframe")
    assert plain.body == framed.body == b"<script>1</script>"
    for answer in (plain, framed):
        assert answer.headers.get_all("content-security-policy") == [MEDIA_POLICY]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert plain.headers["content-disposition"].startswith("attachment")
    assert "content-disposition" not in framed.headers


def test_an_image_is_shown_by_what_its_bytes_are(asker):
    answer = asker.ask(file_of(asker, "img"))
    assert answer.headers["content-type"] == "image/png"
    assert "content-disposition" not in answer.headers
    assert answer.headers.get_all("content-security-policy") == [MEDIA_POLICY]


@pytest.mark.parametrize(
    ("head", "claimed", "kind", "inline"),
    [
        (b"\x89PNG\r\n\x1a\n...", None, "image/png", True),
        (b"<svg onload=alert(1)>", guarded.SVG, guarded.SVG, False),
        (b"<html>", guarded.HTML, guarded.HTML, False),
        (b"<html>", "image/png", "application/octet-stream", False),
        (b"GIF8", "image/gif", "application/octet-stream", False),
        (b"", None, "application/octet-stream", False),
        (b"%PDF-1.7", "application/pdf", "application/octet-stream", False),
        (b"RIFF0000WAVEfmt ", None, "audio/wav", True),
    ],
)
def test_what_is_not_surely_a_picture_a_sound_or_a_film_is_a_download(head, claimed, kind, inline):
    found, headers = guarded.headers(head, "../a\r\nX: 1/ü.png", claimed)
    assert found == kind
    assert ("Content-Disposition" not in headers) == inline
    assert "\r" not in headers.get("Content-Disposition", "")
    assert headers["Content-Security-Policy"] == MEDIA_POLICY


@pytest.mark.parametrize(
    "path",
    [
        "p%2Fa/run.json", "p%2Fa/media/../run.json", "p%2Fa/media/%2e%2e/run.json", "p%2Fa/media%2f..%2frun.json",
        "p%2Fa/media/link.png", "p%2Fa/..%2f..%2fsecret.txt", "p/media/x", "..%2f/media/x", "%2e%2e/media/secret.txt",
        "p%2Fa/media/%00", "p%2Fa/media", "p%2Fa/media/", "p%2Fa//etc/passwd", "%2fetc/media/passwd",
        "p%2Fa/media/%ff%fe", "p%2Fa/media/..%5c..%5csecret.txt", ".%2fp%2Fa/media/link.png",
    ],
)  # fmt: skip
def test_nothing_outside_the_runs_is_readable(asker, path):
    answer = asker.ask(f"/api/media/{path}")
    assert answer.status in {400, 404, 422}, answer.body
    assert b"not a run's" not in answer.body
    assert set(answer.json) >= {"error", "remedy"}


@pytest.mark.parametrize(
    "path", ["/../serve.py", "/%2e%2e/serve.py", "/index.html/../../app.py", "/BUILT/..", "//etc/passwd"]
)
def test_of_the_page_only_its_own_files_are_served(asker, path):
    assert asker.ask(path).status in {400, 404}


def test_ranges_of_a_file(asker):
    path = file_of(asker, "img")
    whole = asker.ask(path).body
    for header, expected, span in (
        ("bytes=0-3", whole[:4], f"bytes 0-3/{len(whole)}"),
        ("bytes=4-", whole[4:], f"bytes 4-{len(whole) - 1}/{len(whole)}"),
        ("bytes=-5", whole[-5:], f"bytes {len(whole) - 5}-{len(whole) - 1}/{len(whole)}"),
        ("bytes=0-999999999", whole, None),
    ):
        answer = asker.ask(path, Range=header)
        assert answer.body == expected
        assert answer.headers["content-range"] == span
        assert answer.status == (200 if span is None else 206)
    beyond = asker.ask(path, Range=f"bytes={len(whole)}-")
    assert (beyond.status, beyond.headers["content-range"]) == (416, f"bytes */{len(whole)}")
    for strange in ("bytes=a-b", "lines=0-1", "bytes=0-1,3-4", "bytes=" + "9" * 40 + "-", "bytes=--1"):
        assert asker.ask(path, Range=strange).body == whole
    tag = asker.ask(path).headers["etag"]
    assert asker.ask(path, If_None_Match=tag).status == 304


def test_the_browser_is_opened_without_the_token_on_a_command_line(place, state, tmp_path):
    """What others see of the processes has no token; the file that has it is the user's alone, and goes at the end."""
    browser = tmp_path / "browser"
    browser.write_text(
        f'#!/bin/sh\nprintf "%s" "$*" > {tmp_path}/arguments\nls -l "${{1#file://}}" > {tmp_path}/listing\n'
    )
    browser.chmod(0o755)
    env = {**os.environ, "BROWSER": str(browser), "XDG_STATE_HOME": str(state), "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "steno", "view", str(place), "--port", "0"],
        env=env,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        said = [process.stdout.readline() for _ in range(3)]
        for _ in range(100):
            if (tmp_path / "listing").exists() and (tmp_path / "listing").read_text():
                break
            __import__("time").sleep(0.05)
        known = (state / "steno" / "viewer-token").read_text()
        arguments = (tmp_path / "arguments").read_text()
        assert arguments.startswith("file://")
        assert known not in arguments
        assert known not in "".join(said), "a pipe may be a log"
        assert (tmp_path / "listing").read_text().startswith("-rw-------")
    finally:
        process.terminate()
        assert process.wait(5) == 0
        process.stdout.close()
    assert not list(tmp_path.glob("steno-view-*"))
