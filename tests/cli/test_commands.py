"""Commands against a server that runs."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios

import psutil
import pytest

from .conftest import Started, wait_for


def named(shared, **more: str) -> dict[str, str]:
    """The environment of a person who was told the server's address."""
    return {"POSTDOC_URL": shared.server.url, "POSTDOC_TOKEN": shared.server.token, **more}


@pytest.fixture(scope="module")
def done(shared):
    """One research run, told as JSON."""
    return shared.run("research", "waits please", "--json", **named(shared))


def test_json_gives_each_event_once_in_order_as_the_log_has_it(shared, done):
    assert done.code == 0, done.err
    seqs = [frame["seq"] for frame in done.frames]
    assert seqs == sorted(set(seqs))
    chat = done.frames[0]["chatId"]
    assert {frame["chatId"] for frame in done.frames} == {chat}
    kept = shared.server.get(f"postdoc/api/chats/{chat}/messages?limit=1000")
    seen = {frame["seq"]: frame for frame in done.frames}
    assert [event["seq"] for event in kept if event["seq"] not in seen] == []
    assert all(seen[event["seq"]] == event for event in kept)
    assert [frame["type"] for frame in done.frames][-2:] == ["result", "session_state"]


def test_research_ends_with_verdict_places_and_what_next(shared, done):
    answer = shared.run("research", "waits please", "--repo-name", "told-in-words", **named(shared))
    assert answer.code == 0, answer.err
    assert "Verdict: supported by the data" in answer.out
    assert "It waited 2.0 s. The interval is 1.5 to 2.5 s." in answer.out
    assert re.search(r"Repository +research/told-in-words  \(commit [0-9a-f]{10}\)", answer.out)
    assert "What next" in answer.out
    assert (shared.root / "research" / "told-in-words" / ".git").is_dir()


def test_hostile_text_of_an_agent_reaches_no_terminal(shared, done):
    answer = shared.run("chats", "show", done.frames[0]["chatId"], **named(shared))
    assert answer.code == 0, answer.err
    assert "I begin. Hostile text." in answer.out
    assert not set(answer.out) & {"\x1b", "\x07", "\x9b", "\u202e", "\r"}


def test_chats_are_listed_shown_and_deleted(shared, done):
    chat = done.frames[0]["chatId"]
    listed = shared.run("chats", "--json", **named(shared)).json
    assert chat in [c["id"] for c in listed]
    assert chat in shared.run("chats", **named(shared)).out
    made = shared.run("research", "asks please", "--template", "nowhere", **named(shared))
    assert made.code == 2
    assert "nowhere" in made.err
    assert len(shared.run("chats", "--json", **named(shared)).json) == len(listed), "a refused research leaves no chat"
    assert shared.run("chats", "delete", "c_nothing", **named(shared)).code == 1
    assert shared.run("chats", "show", **named(shared)).code == 2


def test_rooms_are_posted_to_read_and_listed(shared):
    first = shared.run("post", "lab", "Tests pass.", "--agent", "codex", "--kind", "status", "--json", **named(shared))
    assert first.code == 0, first.err
    assert first.json["id"] > 0
    assert shared.run("post", "--room", "lab", "Done.", "--agent", "me", **named(shared)).code == 0
    read = shared.run("rooms", "read", "lab", "--json", **named(shared)).json
    assert [(m["agent"], m["kind"], m["content"]) for m in read] == [
        ("codex", "status", "Tests pass."),
        ("me", "note", "Done."),
    ]
    later = shared.run("rooms", "read", "lab", "--after-id", str(first.json["id"]), "--json", **named(shared)).json
    assert [m["content"] for m in later] == ["Done."]
    assert "lab" in shared.run("rooms", **named(shared)).out
    assert shared.run("post", "lab", "one", "two", "--agent", "me", **named(shared)).code == 2


def test_a_room_is_watched_with_filters_until_interrupted(shared):
    assert shared.run("post", "lobby", "before", "--agent", "a", "--kind", "status", **named(shared)).code == 0
    watching = shared.start("rooms", "watch", "lobby", "--agent", "a", "--kind", "status", **named(shared))
    watching.until("before")
    assert shared.run("post", "lobby", "other agent", "--agent", "b", "--kind", "status", **named(shared)).code == 0
    assert shared.run("post", "lobby", "other kind", "--agent", "a", **named(shared)).code == 0
    assert shared.run("post", "lobby", "news", "--agent", "a", "--kind", "status", **named(shared)).code == 0
    watching.until("news")
    watching.interrupt()
    answer = watching.end()
    assert answer.code == 0, answer.err
    assert "other" not in answer.out


def test_watch_replays_a_finished_run_and_leaves_with_its_exit_code(shared, done):
    chat = done.frames[0]["chatId"]
    answer = shared.run("watch", chat, "--until-done", "--json", "--types", "result,artifact", **named(shared))
    assert answer.code == 0, answer.err
    assert {frame["type"] for frame in answer.frames} == {"result", "artifact"}


def test_templates_are_listed_and_shown(shared):
    listed = shared.run("templates", "--json", **named(shared)).json
    assert {"waits", "asks"} <= {template["name"] for template in listed}
    shown = shared.run("templates", "show", "waits", **named(shared)).out
    assert "data: Where the data come from. (default: synthetic)" in shown
    assert shared.run("templates", "show", "nothing", **named(shared)).code == 2


def test_templates_check_says_what_is_wrong_and_what_could_be_better(shared, tmp_path):
    made = shared.run("templates", "new", "mine", cwd=tmp_path)
    assert made.code == 0, made.err
    good = shared.run("templates", "check", "mine", cwd=tmp_path)
    assert (good.code, good.out.strip()) == (0, "mine: a template in good order.")
    script = tmp_path / "mine" / "script.yaml"
    script.write_text(
        script.read_text()
        .replace("[make_data, read_data, load]", "[load]")
        .replace("[analyse,", "[make_data, read_data, analyse,")
    )
    late = shared.run("templates", "check", "mine", cwd=tmp_path)
    assert late.code == 0, "it works all the same"
    assert "Warning: script.yaml, turn `data`: the cell `load` uses `make_data`" in late.out
    assert shared.run("templates", "check", "mine", "--json", cwd=tmp_path).json["problems"] == []
    script.write_text(script.read_text().replace("load]", "nothing]"))
    bad = shared.run("templates", "check", "mine", "--json", cwd=tmp_path)
    assert (bad.code, bad.json["warnings"]) == (1, [])
    assert "script.yaml never writes the cell `load`." in bad.json["problems"]


def test_status_tells_each_part(shared):
    answer = shared.run("status", **named(shared))
    assert "running at " + shared.server.url in answer.out
    assert re.search(r"^git +ok +git ", answer.out, re.MULTILINE)
    assert shared.run("status", "--json", **named(shared)).json["health"]["parts"]["store"]["ok"] is True


def test_free_chat_without_a_model_says_so(shared, done):
    answer = shared.run("send", done.frames[0]["chatId"], "Hello?", "--wait", **named(shared))
    assert answer.code == 1
    assert "model" in answer.out


def test_a_question_is_answered_from_another_command(shared):
    asking = shared.start("research", "asks please", **named(shared))
    words = asking.until("Answer with:").split()
    chat, request = words[words.index("respond") + 1 :][:2]
    answered = shared.run("respond", chat, request, "green", **named(shared))
    assert answered.code == 0, answered.err
    answer = asking.end()
    assert answer.code == 0, answer.out + answer.err
    assert "Verdict: supported" in answer.out


def test_no_template_fits_lists_them_and_exits_2(shared):
    answer = shared.run("research", "zzz qqq", **named(shared))
    assert answer.code == 2, answer.out + answer.err
    assert "waits" in answer.out
    assert "--template NAME" in answer.out
    as_json = shared.run("research", "zzz qqq", "--json", **named(shared))
    assert as_json.code == 2
    assert "waits" in json.loads(as_json.err.splitlines()[-1])["next"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["research", "waits please", "--param", "nope=1"], "nope"),
        (["research", "waits please", "--repo-name", "../x"], "x"),
        (["research", "waits please", "--param", "data=missing.csv"], "missing.csv does not exist"),
        (["research", "waits please", "--param", "data=/etc/hostname"], "outside"),
        (["research", "   "], "empty"),
        (["research", "x", "--param", "novalue"], "NAME=VALUE"),
        (["research", "x", "--budget-turns", "0"], "above 0"),
        (["watch"], "Name a chat"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_wrong_use_is_explained_with_exit_2(shared, words, expected):
    answer = shared.run(*words, JUPYTER_RUNTIME_DIR=str(shared.runtime))
    assert answer.code == 2, answer.out + answer.err
    assert expected in answer.err
    assert "Traceback" not in answer.err


def test_the_running_server_is_found_without_being_named(shared):
    below = shared.root / "below"
    below.mkdir(exist_ok=True)
    answer = shared.run("status", "--no-start", cwd=below)
    assert answer.code == 0, answer.err
    assert shared.server.url in answer.out


def test_a_wrong_token_and_a_silent_server_exit_3(shared):
    wrong = shared.run("chats", POSTDOC_URL=shared.server.url, POSTDOC_TOKEN="wrong")
    assert wrong.code == 3
    assert "does not accept the token" in wrong.err
    assert "wrong" not in wrong.err.replace("--token", "")
    silent = shared.run("chats", "--url", "http://127.0.0.1:9/", "--json")
    assert silent.code == 3
    assert json.loads(silent.err)["code"] == "silent"
    assert shared.run("chats", "--url", "ftp://x").code == 2


def test_ctrl_c_stops_gracefully_and_says_what_was_kept(shared):
    running = shared.start("research", "waits please", **named(shared))
    running.until("Working, part 2")
    running.interrupt()
    answer = running.end()
    assert answer.code == 1, answer.err
    assert "Press Ctrl-C again to stop at once" in answer.out
    assert "Stopped, as you asked." in answer.out
    assert re.search(r"Kept: .*commit", answer.out)
    chat = re.search(r"resume (c_\w+)", answer.out)[1]
    resumed = shared.run("resume", chat, **named(shared))
    assert resumed.code == 0, resumed.out + resumed.err
    assert "Verdict: supported" in resumed.out


def test_ctrl_c_twice_stops_at_once(shared):
    running = shared.start("research", "waits please", **named(shared))
    running.until("Working, part 1")
    running.interrupt()
    running.until("Ctrl-C again")
    running.interrupt()
    answer = running.end()
    assert answer.code == 1
    assert "Stopping at once." in answer.out
    assert "Working, part 4" not in answer.out


def test_no_token_in_any_argument_list(shared):
    running: Started = shared.start("research", "waits please", **named(shared))
    running.until("part 1")
    seen = [" ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"])]
    running.process.send_signal(signal.SIGKILL)
    running.end()
    assert not [line for line in seen if shared.server.token in line]
    wait_for(lambda: not [p for p in psutil.process_iter() if p.pid == running.process.pid])


def test_a_person_at_a_terminal_answers_with_a_number(shared):
    main, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 60, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab_postdoc.cli", "research", "asks please"],
        cwd=shared.root, env=shared.env | named(shared, TERM="xterm"), stdin=terminal, stdout=terminal, stderr=terminal,
    )  # fmt: skip
    os.close(terminal)
    shown = b""
    asked = False
    with contextlib.suppress(OSError):  # the terminal closes with the command
        while piece := os.read(main, 65536):
            shown += piece
            if b"then Enter" in shown and not asked:
                asked = True
                os.write(main, b"2\n")
    os.close(main)
    assert process.wait(20) == 0, shown.decode()
    text = shown.decode()
    assert "Your answer (a number or text), then Enter:" in text
    assert "answered: green" in text
    assert "\x1b[K" in text, "a terminal has a live line"
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text).replace("\r\x1b[K", "\n").replace("\r\n", "\n")
    assert "\x1b" not in plain
    assert max(len(line) for line in plain.split("\n")) <= 60
