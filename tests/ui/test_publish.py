"""A study becomes a repository with a draft pull request: in a real browser, with a GitHub of tests."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import ViewportSize, expect

from tests.agent.support import lean
from tests.forge.emulated import BOB, Hub, emulate_or_skip
from tests.forge.emulated import TOKEN as CANARY
from tests.forge.faults import Faults, after, limit_primary, status
from tests.model_server import ModelServer
from tests.model_server.replies import reply

from .conftest import KEY
from .desk import Desk, Publications, Secretive, git
from .panel import Panel
from .service import Jupyter, wait_for
from .test_views import AXE, LOOK, SCREEN, SEEN, THEMES, WIDTHS, good, until_focused

Open = Callable[..., Publications]
Shoot = Callable[..., None]
DONE_MS = 30_000
SECRET = "ghp_" + "Q1w2E3r4T5y6U7i8O9p0Q1w2E3r4T5y6U7i8"
DIALOG_TOO_WIDE = """dialog => {
    const box = dialog.getBoundingClientRect();
    const nodes = [dialog, ...dialog.querySelectorAll('.jp-Postdoc-Sheet-body, form, footer')];
    return [...(box.left < 0 || box.right > innerWidth || box.top < 0 || box.bottom > innerHeight ? ['outside'] : []),
        ...nodes.filter(node => node.scrollWidth > node.clientWidth + 1).map(node => node.className)];
}"""


@pytest.fixture(scope="module")
def desk(
    make_jupyter: Callable[..., Jupyter], model: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Desk]:
    """A JupyterLab that nobody has connected yet."""
    emulate_or_skip()
    home = tmp_path_factory.mktemp("forge")
    lean(home / "templates" / "lean")
    key = home / "key"
    key.touch(mode=0o600)
    key.write_text(KEY)
    with Hub(home / "hub") as hub, Faults(hub.api_url) as faults:
        faults.headers["x-oauth-scopes"] = "repo, user, workflow, read:org"
        server = make_jupyter(
            "publish-lab",
            template_paths=[str(home / "templates")],
            github_api_url=faults.url,
            github_git_url=hub.git_url,
            github_publish="ask",
            anthropic_base_url=model.url,
            anthropic_api_key_file=str(key),
        )
        desk = Desk(server, hub, faults)
        desk.begin(4)
        yield desk
        # All that was done here, and the token is where it belongs, and nowhere else.
        desk.connect()
        (file,) = desk.kept()
        assert re.fullmatch(r"data/postdoc/github/\w+\.token", file)
        assert CANARY not in server.log()
        names = [desk.name(chat["id"]) for chat in server.chats()]
        assert len(set(names)) >= len(names) - 1, f"{names}: only the study in a repository that there was shares it"
        for chat in server.chats():
            assert CANARY not in str(server.events(chat["id"]))
        server.stop()


@pytest.fixture
def watched() -> Iterator[Secretive]:
    """The spies of every page here also look for the token."""
    spies = Secretive()
    yield spies
    spies.check()


@pytest.fixture
def open_desk(desk: Desk, open_panel: Callable[..., Panel], watched: Secretive) -> Iterator[Open]:
    """Open the panel, at a session."""

    def open_one(chat: str | None = None, **options: Any) -> Publications:
        panel = open_panel(desk.server, **options)
        if chat is not None:
            panel.open(chat)
        return Publications(panel)

    yield open_one
    desk.faults.clear()
    watched.look()
    assert watched.frames > 0


@pytest.fixture
def connected(desk: Desk) -> Desk:
    """GitHub is connected."""
    desk.connect()
    return desk


def test_connect_and_publish(desk: Desk, open_desk: Open, watched: Secretive, shoot: Shoot) -> None:
    chat = desk.study()
    name = desk.name(chat)
    at = open_desk(chat)
    expect(at.card).to_contain_text(f"Saved locally in {name}. Connect GitHub to publish; nothing is lost.")
    shoot(at.panel.page, "publish-not-connected")
    at.button("Connect GitHub…").click()
    expect(at.dialog).to_contain_text("Not connected to 127.0.0.1")
    expect(at.dialog.get_by_label("Token", exact=True)).to_be_focused()
    shoot(at.panel.page, "publish-connect")
    at.connect()
    expect(at.dialog).to_contain_text("Connected as ana.")
    watched.look()
    shoot(at.panel.page, "publish-connected")
    at.dialog.get_by_role("button", name="Done").click()
    assert watched.puts == 1

    expect(at.card).to_contain_text(f"ana/{name} · private")
    shoot(at.panel.page, "publish-local")
    with desk.held("PUT", "/topics"):
        at.button("Publish").click()
        expect(at.card.get_by_role("list", name="Steps").locator("[aria-current=step]")).to_contain_text("topic")
        shoot(at.panel.page, "publish-steps")
    expect(at.card).to_contain_text("Published on GitHub", timeout=DONE_MS)
    expect(at.card).to_contain_text("Pull request: open as a draft")
    shoot(at.panel.page, "publish-published")

    web = f"{desk.faults.url}/ana/{name}"
    branch = git(desk.hub.git.bare(f"ana/{name}"), "for-each-ref", "--format=%(refname:short)", "refs/heads/agent")
    (pull,) = desk.hub.pulls(f"ana/{name}")

    def complete(one: Publications) -> None:
        expect(one.card).to_contain_text(f"ana/{name}")
        assert one.link("Repository") == web
        assert one.link("Branch") == f"{web}/tree/{branch}"
        assert one.link("Compare") == f"{web}/compare/main...{branch}"
        assert one.link("Draft pull request #1") == pull["html_url"].replace(desk.hub.api_url, desk.faults.url)

    complete(at)
    expect(at.panel.items()).to_contain_text([f"Published in ana/{name}, with draft pull request #1"])
    two = open_desk()
    expect(two.badge(chat)).to_contain_text("#1")
    expect(two.badge(chat)).to_have_attribute("title", "Pull request #1: open as a draft")
    shoot(two.panel.page, "publish-list")
    two.panel.open(chat)
    complete(two)
    at.panel.page.reload()
    at.panel.page.wait_for_selector(".jp-Postdoc-App, .jp-LauncherCard", timeout=40_000)
    at.panel.show()
    if not at.panel.session.is_visible():
        at.panel.open(chat)
    complete(at)
    assert watched.puts == 1


def test_a_taken_name(connected: Desk, open_desk: Open, shoot: Shoot) -> None:
    chat = connected.study()
    name = connected.name(chat)
    connected.taken(chat)
    at = open_desk(chat)
    at.button("Options…").click()
    field = at.dialog.get_by_role("textbox", name=re.compile("^Name"))
    expect(field).to_have_value(name)
    field.fill("a lean study!")
    expect(at.dialog).to_contain_text("Repository names may use letters, digits, - . _ ; suggestion: a-lean-study")
    field.fill(name)
    at.dialog.get_by_role("button", name="Publish").click()
    expect(at.card).to_contain_text(f"ana/{name} exists.", timeout=DONE_MS)
    expect(at.button("Use the existing repository")).to_be_visible()
    proposal = connected.publication(chat)["problem"]["proposal"]
    shoot(at.panel.page, "publish-taken")
    at.button(f"Use the name {proposal}").click()
    expect(at.card).to_contain_text("Published on GitHub", timeout=DONE_MS)
    assert at.link("Repository") == f"{connected.faults.url}/ana/{proposal}"


def test_a_refused_token_a_lost_answer_and_the_limit(connected: Desk, open_desk: Open, shoot: Shoot) -> None:
    chat = connected.study()
    at = open_desk(chat)
    refused = status(401, {}, {"message": "Bad credentials"})
    connected.faults.rule("GET", r"^/user$", refused, times=99)
    at.button("Publish").click()
    expect(at.card).to_contain_text("GitHub refused the token", timeout=DONE_MS)
    expect(at.card).to_contain_text("Kept: all commits")
    shoot(at.panel.page, "publish-refused")
    at.button("Connect GitHub…").click()
    expect(at.dialog).to_be_visible()
    shoot(at.panel.page, "publish-refused-dialog")
    at.panel.page.keyboard.press("Escape")
    connected.faults.clear()

    connected.faults.rule("POST", r"^/user/repos$", limit_primary(9))
    at.button("Try again").click()
    expect(at.card).to_contain_text(re.compile(r"Possible again at \d.* \(in \d+ s\)"), timeout=DONE_MS)
    assert connected.publication(chat)["problem"]["code"] == "github_rate_limited"
    expect(at.button("Try again")).to_be_disabled()
    shoot(at.panel.page, "publish-limit")
    expect(at.button("Try again")).to_be_enabled(timeout=DONE_MS)

    connected.faults.rule("POST", r"^/user/repos$", after(502))
    at.button("Try again").click()
    expect(at.card).to_contain_text("Published on GitHub", timeout=DONE_MS)
    assert at.link("Repository") == f"{connected.faults.url}/ana/{connected.name(chat)}"
    asked = [one.json()["name"] for one in connected.faults.asked("POST", r"^/user/repos$")]
    assert asked == [connected.name(chat)] * 2, "the limit, then the lost answer: nothing is made twice"


def test_a_secret_and_a_branch_that_somebody_changed(connected: Desk, open_desk: Open, shoot: Shoot) -> None:
    chat = connected.study()
    connected.commit(chat, "config.py", f"\nkey = '{SECRET}'\n")
    connected.commit(chat, "config.py", "key = None\n")
    at = open_desk(chat)
    at.button("Publish").click()
    findings = at.card.get_by_role("list", name="What was found")
    expect(findings).to_contain_text("config.py", timeout=DONE_MS)
    expect(findings).to_contain_text("line 2")
    assert SECRET not in at.panel.page.content()
    shoot(at.panel.page, "publish-secret")
    at.button("Send one commit instead").click()
    expect(at.card).to_contain_text("Published on GitHub", timeout=DONE_MS)
    shown = connected.publication(chat)
    bare, branch = connected.hub.git.bare(shown["repository"]["name"]), shown["branch"]["name"]
    assert SECRET not in git(bare, "log", "-p", "--all")

    who = ("-c", "user.name=B", "-c", "user.email=b@x.org")
    theirs = git(bare, *who, "commit-tree", f"{branch}^{{tree}}", "-p", branch, "-m", "Theirs")
    git(bare, "update-ref", f"refs/heads/{branch}", theirs)
    connected.commit(chat, "more.txt", "More.\n")
    connected.publish(chat, "failed")
    expect(at.card).to_contain_text(f"Someone changed {branch}", timeout=DONE_MS)
    expect(at.button(f"Use the branch {branch}-2")).to_be_visible()
    shoot(at.panel.page, "publish-moved")
    at.button("Overwrite the branch…").click()
    asked = at.panel.page.locator(".jp-Dialog")
    expect(asked).to_contain_text("is then no longer on the branch")
    shoot(at.panel.page, "publish-force")
    asked.get_by_role("button", name="Cancel").click()
    assert git(bare, "rev-parse", branch) == theirs
    at.button("Overwrite the branch…").click()
    asked.get_by_role("button", name="Overwrite").click()
    expect(at.card).to_contain_text("Published on GitHub", timeout=DONE_MS)
    assert theirs not in git(bare, "rev-list", branch)


def refresh(at: Publications, text: str) -> None:
    """Ask until the card says this: GitHub is not asked again within three seconds."""

    def said() -> bool:
        at.button("Refresh").click()
        at.panel.page.wait_for_timeout(1000)
        return text in at.card.inner_text()

    wait_for(said, 12)


def test_the_life_of_a_pull_request(connected: Desk, open_desk: Open, model: ModelServer, shoot: Shoot) -> None:
    chat = connected.study()
    at = open_desk(chat)
    shown = connected.publish(chat)
    expect(at.card).to_contain_text("No review yet")
    name, hub = shown["repository"]["name"], connected.hub
    hub.request("PATCH", f"/repos/{name}", {"private": False})
    connected.check(shown)
    hub.post(f"/repos/{name}/pulls/1/reviews", {"event": "APPROVE", "body": "Sound."}, token=BOB)
    said = "Is the **sum** of three numbers enough? <img src=x onerror=alert(1)>"
    hub.post(f"/repos/{name}/issues/1/comments", {"body": said}, token=BOB)
    refresh(at, "1 check passed")
    expect(at.card).to_contain_text("Approved by bob")
    expect(at.card).to_contain_text("2 comments")
    shoot(at.panel.page, "publish-reviewed")
    at.panel.sessions()
    expect(at.badge(chat)).to_have_attribute("title", "Pull request #1: open, checks passed")
    at.panel.open(chat)

    model.script([reply("Three are few, yes.")])
    at.button("Hand to the agent…").click()
    expect(at.dialog.get_by_role("listitem").filter(has_text="Is the **sum**")).to_be_visible()
    shoot(at.panel.page, "publish-comments")
    at.dialog.get_by_role("checkbox", name=re.compile("Sound")).uncheck()
    at.dialog.get_by_label("Your note to the agent").fill("Answer only.")
    at.dialog.get_by_role("button", name="Hand over 1 comment").click()
    expect(at.dialog).to_have_count(0)
    message = wait_for(lambda: connected.server.events(chat, "user_message"))[-1]["content"]
    assert said in message
    assert "Answer only." in message
    assert "Sound." not in message
    expect(at.panel.items("text").last).to_contain_text("Three are few, yes.", timeout=DONE_MS)
    assert said.split("<")[0] in str(model.requests()[-1].messages)
    shoot(at.panel.page, "publish-handed")

    hub.request("PATCH", f"/repos/{name}/pulls/1", {"draft": False})
    hub.request("PUT", f"/repos/{name}/pulls/1/merge", {"merge_method": "merge"})
    refresh(at, "Pull request: merged")
    expect(at.panel.session).to_contain_text("Pull request #1 was merged")
    shoot(at.panel.page, "publish-merged")
    at.panel.sessions()
    expect(at.badge(chat)).to_have_attribute("title", "Pull request #1: merged")


def test_research_in_a_repository_that_there_is(connected: Desk, open_desk: Open, shoot: Shoot) -> None:
    before = next(one for one in connected.hub.repos() if connected.hub.pulls(one))
    pulls = len(connected.hub.pulls(before))
    at = open_desk()
    root, page = at.panel.root, at.panel.page
    root.get_by_role("button", name="New research").first.click()
    root.get_by_label("Topic").fill("A lean study")
    root.get_by_role("button", name=re.compile("^Options")).click()
    root.get_by_label("Agent", exact=True).select_option("template")
    root.get_by_role("button", name="Add or remove repositories…").click()
    at.dialog.get_by_label("Name, owner/name or https address").fill(before.partition("/")[2])
    page.keyboard.press("Enter")
    add = at.dialog.get_by_role("button", name=f"Add {before}", exact=True)
    expect(add).to_be_visible(timeout=DONE_MS)
    shoot(page, "publish-repositories")
    add.click()
    expect(at.dialog).to_have_count(0)
    expect(root.get_by_label("Where").locator("option:checked")).to_have_text(f"In {before}")
    shoot(page, "publish-where")
    known = {chat["id"] for chat in connected.server.chats()}
    at.panel.button("Start").click()
    at.panel.session.wait_for()
    (chat,) = (one["id"] for one in connected.server.chats() if one["id"] not in known)
    connected.server.wait_state(chat, "finished")
    at.button("Publish").click()
    expect(at.card).to_contain_text("Published on GitHub", timeout=DONE_MS)
    shoot(page, "publish-existing")
    assert at.link("Repository") == f"{connected.faults.url}/{before}"
    assert len(connected.hub.pulls(before)) == pulls + 1


def test_without_a_mouse(desk: Desk, open_desk: Open, watched: Secretive) -> None:
    chat = desk.study()
    desk.disconnect()
    at = open_desk(chat)
    page, keyboard = at.panel.page, at.panel.page.keyboard
    at.card.wait_for()
    at.panel.box.focus()
    until_focused(at.panel, "Shift+Tab", "Connect GitHub…")
    keyboard.press("Enter")
    expect(at.dialog.get_by_label("Token", exact=True)).to_be_focused()
    assert page.evaluate(SEEN) == ""
    keyboard.type(CANARY)
    keyboard.press("Enter")
    expect(at.dialog).to_contain_text("Connected as ana.")
    keyboard.press("Escape")
    expect(at.dialog).to_have_count(0)
    expect(at.button("Publish")).to_be_visible()
    assert at.card.evaluate("card => card.contains(document.activeElement)"), "the focus is lost"
    expect(at.button("Publish")).to_be_focused()  # in place of the button that opened the dialog
    assert page.evaluate(SEEN) == ""
    keyboard.press("Enter")
    expect(at.card).to_contain_text("Published on GitHub", timeout=DONE_MS)
    assert at.card.evaluate("card => card.contains(document.activeElement)"), "the focus is lost"
    until_focused(at.panel, "Tab", "Draft pull request #1")
    until_focused(at.panel, "Tab", "Options…")
    keyboard.press("Enter")
    expect(at.dialog).to_contain_text("Publish on GitHub")
    keyboard.press("Escape")
    assert watched.puts == 1


@pytest.fixture(scope="module")
def shelf(desk: Desk) -> dict[str, str]:
    """A study in every state."""
    desk.connect()
    desk.begin(5)
    made = {name: desk.study() for name in ("reviewed", "taken", "secret", "local", "held")}
    shown = desk.publish(made["reviewed"])
    name = shown["repository"]["name"]
    desk.hub.request("PATCH", f"/repos/{name}", {"private": False})
    desk.check(shown, "failure")
    review = {"event": "REQUEST_CHANGES", "body": "A" + "h" * 90 + "! See `notebook.py`."}
    desk.hub.post(f"/repos/{name}/pulls/1/reviews", review, token=BOB)
    desk.hub.post(f"/repos/{name}/issues/1/comments", {"body": "Nice figure.\n\nWhy three?"}, token=BOB)
    desk.commit(made["reviewed"], "more.txt", "More.\n")
    desk.server.post(f"postdoc/api/chats/{made['reviewed']}/publication/refresh")
    desk.taken(made["taken"])
    desk.publish(made["taken"], "failed", name=desk.name(made["taken"]))
    desk.commit(made["secret"], "a-rather-long-name-of-a-configuration-file.py", f"key = '{SECRET}'\n")
    desk.publish(made["secret"], "failed")
    return made


def good_dialog(at: Publications, shoot: Shoot, name: str, widths: tuple[int, ...]) -> None:
    """The dialog is readable in windows of these widths."""
    page, problems = at.panel.page, []
    for width in widths:
        page.set_viewport_size(ViewportSize(width=width, height=740))
        shoot(page, f"view-{name}-{width}")
        found = at.dialog.evaluate(DIALOG_TOO_WIDE) + at.dialog.evaluate(LOOK)
        problems += [f"{name} at {width}: {one}" for one in found]
    page.set_viewport_size(ViewportSize(width=1600, height=860))
    assert not problems, "\n".join(problems)
    page.keyboard.press("Escape")
    expect(at.dialog).to_have_count(0)


@pytest.mark.parametrize("theme", THEMES)
def test_every_view(theme: str, shelf: dict[str, str], desk: Desk, open_desk: Open, shoot: Shoot) -> None:
    widths = WIDTHS if theme == "light" else (420,)  # colours are those of the theme, at every width
    desk.server.setting("@jupyterlab/apputils-extension:themes", theme=THEMES[theme])
    desk.connect()
    at = open_desk(size=SCREEN)
    panel = at.panel
    panel.page.wait_for_selector(f'body[data-jp-theme-name="{THEMES[theme]}"]', state="attached")
    panel.page.add_script_tag(path=AXE)
    expect(at.badge(shelf["reviewed"])).to_contain_text("#1")
    good(panel, shoot, f"{theme}-publish-list", widths)
    for name, text in (("taken", "exists."), ("secret", "configuration-file"), ("reviewed", "asked for changes")):
        panel.open(shelf[name])
        expect(at.card).to_contain_text(text)
        at.card.scroll_into_view_if_needed()
        good(panel, shoot, f"{theme}-publish-{name}", widths)
    at.button("Hand to the agent…").click()
    expect(at.dialog).to_contain_text("Nice figure.")
    good_dialog(at, shoot, f"{theme}-comments", widths)
    panel.open(shelf["local"])
    expect(at.card).to_contain_text("Not published yet")
    good(panel, shoot, f"{theme}-publish-local", widths)
    at.button("Options…").click()
    good_dialog(at, shoot, f"{theme}-options", widths)
    with desk.held("GET", "/user"):
        desk.server.post(f"postdoc/api/chats/{shelf['held']}/publish")
        panel.open(shelf["held"])
        expect(at.card).to_contain_text("Publishing on GitHub…")
        good(panel, shoot, f"{theme}-publish-steps", widths)
        desk.server.post(f"postdoc/api/chats/{shelf['held']}/stop", how="now")
    desk.reach(shelf["held"], "failed")
    expect(at.card).to_contain_text("Publishing was stopped")
    good(panel, shoot, f"{theme}-publish-stopped", widths)
    desk.disconnect()
    at = open_desk(shelf["local"], size=SCREEN)
    at.panel.page.add_script_tag(path=AXE)
    expect(at.card).to_contain_text("Connect GitHub to publish")
    good(at.panel, shoot, f"{theme}-publish-unconnected", widths)
    at.button("Connect GitHub…").click()
    expect(at.dialog).to_contain_text("Make a token on")
    good_dialog(at, shoot, f"{theme}-connect", widths)
