"""Talking with an agent: what it says, what it asks for, what is said to it while it works, and how that goes wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tests.model_server import ModelServer
from tests.model_server.replies import broken, call, overloaded, reply, unauthorized

from .conftest import KEY
from .panel import Panel
from .service import Jupyter, wait_for
from .test_research import FINISHED, shown

Open = Callable[..., Panel]
Shoot = Callable[..., None]

PERSONAS = """\
careful: {title: Careful, system_prompt: Ask first., approvals: {read: ask}}
"""
DEAR = {"claude-haiku-5-5": {"input": 100, "output": 1000}}
PLAN = {"items": [{"text": "Look", "status": "now"}, {"text": "Tell"}]}
SAID = r"""## Owls and costs

word1 word2 word3 word4 word5 word6 word7 word8 with **weight** and $e^{i\pi} + 1 = 0$ in the line.

```python
def owl(count: int) -> int:
    return count + 1
```

- word9 word10 word11
- word12 word13 word14

$$\int_0^1 x^2\,dx = \tfrac{1}{3}$$

| owl | cost |
|---|---|
| barn | 1.5 |

word15 word16 word17 word18 word19 the end of it.
"""
COUNT_WORDS = """() => {
    window.counts = [];
    const count = () => {
        const text = document.querySelector('.jp-Postdoc-Scroller')?.textContent ?? '';
        const seen = new Set(text.match(/word[0-9]+/g) ?? []).size;
        if (seen !== window.counts.at(-1)) window.counts.push(seen);
    };
    new MutationObserver(count).observe(document.body, {childList: true, subtree: true, characterData: true});
}"""


@pytest.fixture(scope="module")
def talk_lab(make_jupyter: Callable[..., Jupyter], model: ModelServer, tmp_path_factory: Any) -> Jupyter:
    """A JupyterLab with a persona that asks for leave, a model that is dear, and little to spend."""
    home = tmp_path_factory.mktemp("talk")
    key = home / "key"
    key.touch(mode=0o600)
    key.write_text(KEY)
    (home / "personas.yaml").write_text(PERSONAS)
    return make_jupyter(
        "talk-lab",
        anthropic_base_url=model.url,
        anthropic_api_key_file=str(key),
        model_retry_wait_s=0.01,
        model_prices=DEAR,
        budget_usd_run=2.5,
        personas_file=str(home / "personas.yaml"),
    )


@pytest.fixture
def begin(talk_lab: Jupyter, model: ModelServer, open_panel: Open) -> Callable[..., tuple[Panel, str]]:
    """A panel in which this was said in a new chat, to a model that says ``replies``; and the chat's id."""

    def begin(*replies: dict[str, Any], say: str = "Go", **fields: Any) -> tuple[Panel, str]:
        model.script(replies)
        panel = open_panel(talk_lab)
        chat = talk_lab.new_chat("A talk", **fields)
        panel.open(chat)
        panel.say(say)
        return panel, chat

    return begin


Begin = Callable[..., tuple[Panel, str]]


def all_shown(panel: Panel, chat: str) -> None:
    """Nothing of the log is missing or there twice; live, a row keeps the place where it began."""
    kinds = "utrq"  # calls of the plan are rows only when they fail
    wanted = sorted(key for key in panel.truth(chat) if key[0] in kinds)
    wait_for(lambda: sorted(key for key in panel.row_keys() if key[0] in kinds) == wanted, 10)


def told(model: ModelServer, number: int = -1) -> str:
    """What came last in a request."""
    return str(model.requests()[number].messages[-1])


def send_menu(panel: Panel, what: str, text: str) -> None:
    panel.box.fill(text)
    panel.button("When to send").click()
    panel.page.get_by_role("menuitem", name=what).click()


def queued(panel: Panel) -> Locator:
    return panel.session.get_by_role("list", name="Messages that wait their turn").get_by_role("listitem")


def test_an_answer_grows_and_is_what_the_log_holds(
    begin: Begin, talk_lab: Jupyter, model: ModelServer, shoot: Shoot
) -> None:
    thinking = "First I think of barn owls. Then of snowy ones."
    panel, chat = begin(reply("Ready."))
    panel.wait_live(FINISHED)
    panel.page.evaluate(COUNT_WORDS)
    model.script([reply(SAID, thinking=thinking, tokens_per_s=20)])
    panel.say("Tell me of owls")
    expect(panel.streaming()).to_contain_text("word3")
    assert "the end of it" not in panel.session.inner_text()
    shoot(panel.page, "model-streaming")
    panel.wait_live(FINISHED)
    counts: list[int] = panel.page.evaluate("window.counts")
    assert counts == sorted(counts), "what was shown once never goes away"
    assert len(counts) >= 8, f"it grows word by word: {counts}"

    (said,) = talk_lab.events(chat, "assistant_message")[1:]
    assert said["content"].strip() == SAID.strip()
    text = panel.items("text").last
    expect(text.get_by_role("heading")).to_have_text(re.compile("Owls and costs"))
    expect(text.locator("mjx-container")).to_have_count(2)
    expect(text.locator("pre").first).to_have_text(re.compile(r"def owl\(count: int\) -> int:\s+return count \+ 1"))
    assert text.locator("pre span[class]").count() >= 3, "the code has colours"
    expect(text.get_by_role("listitem")).to_have_text(["word9 word10 word11", "word12 word13 word14"])
    expect(text.get_by_role("cell")).to_have_text(["barn", "1.5"])
    expect(text).to_contain_text("the end of it.")
    thought = panel.items("thinking")
    assert thinking not in panel.session.inner_text()
    thought.get_by_role("button", name=re.compile("^Thought for")).click()
    expect(thought).to_contain_text(thinking)
    shoot(panel.page, "model-answer")
    shown(panel, chat)
    panel.page.reload()
    panel.items("text").nth(1).wait_for()
    shown(panel, chat)


def test_tokens_and_cost_are_told_while_it_works(begin: Begin, talk_lab: Jupyter, shoot: Shoot) -> None:
    used = {"input_tokens": 6_300, "output_tokens": 100}
    slow = reply("So be it, " * 40, tokens_per_s=30)
    panel, chat = begin(reply("Work.", calls=[call("plan", PLAN)], usage=used), slow)
    spent = panel.session.locator(".jp-Postdoc-Live-spent")
    expect(spent).to_contain_text("6.3K tokens in · 100 out")
    expect(spent).to_contain_text(re.compile(r"\$0\.7\d"))
    expect(panel.session.get_by_role("list").filter(has_text="Look").first).to_be_visible()
    shoot(panel.page, "model-cost")
    panel.wait_live(FINISHED)
    total = sum(usage["cost"] for usage in talk_lab.events(chat, "usage"))
    expect(spent).to_contain_text(f"${total:.2f}")
    panel.sessions()
    expect(panel.row(chat)).to_contain_text(f"${total:.2f}")


def test_leave_is_given_once_and_denied_with_a_reason(begin: Begin, model: ModelServer, shoot: Shoot) -> None:
    plan = [call("plan", PLAN)]
    replies = [reply("May I?", calls=plan), reply("And again?", calls=plan), reply("Well then.")]
    panel, chat = begin(*replies, persona="careful")
    panel.wait_live("Needs your answer")
    first, second = panel.items("approval").first, panel.items("approval").nth(1)
    expect(first).to_contain_text("May the agent do this?")
    expect(first).to_contain_text('"Look"')
    expect(first).to_contain_text("It only reads.")
    shoot(panel.page, "model-approval")
    first.get_by_role("button", name="Allow once").click()
    expect(first).to_contain_text("Allowed once")

    expect(second).to_contain_text("May the agent do this?")
    second.get_by_role("button", name="Deny…").click()
    expect(second.get_by_role("textbox")).to_be_focused()
    panel.page.keyboard.type("not on a Sunday")
    shoot(panel.page, "model-deny")
    panel.page.keyboard.press("Enter")
    panel.wait_live(FINISHED)
    expect(second).to_contain_text("Denied")
    assert "not on a Sunday" in told(model)
    assert len(panel.server.events(chat, "plan")) == 1
    all_shown(panel, chat)


def test_a_queued_message_is_changed_taken_back_and_read(begin: Begin, model: ModelServer, shoot: Shoot) -> None:
    panel, chat = begin(reply("a long word " * 60, tokens_per_s=25), reply("Snowy it is."))
    expect(panel.streaming()).to_contain_text("a long word")
    panel.say("And snowy owls?")
    panel.say("Forget this one.")
    expect(queued(panel)).to_have_count(2)
    expect(queued(panel).nth(1)).to_have_text("Forget this one.")
    queued(panel).nth(1).get_by_role("button", name="Take this message back").click()
    expect(queued(panel)).to_have_text(["And snowy owls?"])
    expect(panel.items("result")).to_have_text("Taken back before it was read")
    expect(panel.box).to_be_focused()
    queued(panel).get_by_role("button", name="Change this message").click()
    panel.session.get_by_label("The waiting message").fill("And what of snowy owls?")
    shoot(panel.page, "model-queue-edit")
    panel.button("Save").click()
    expect(queued(panel)).to_have_text(["And what of snowy owls?"])
    shoot(panel.page, "model-queue")
    expect(panel.items("text").nth(1)).to_have_text(re.compile("Snowy it is"), timeout=30_000)
    panel.wait_live(FINISHED)
    expect(queued(panel)).to_have_count(0)
    assert "And what of snowy owls?" in told(model)
    assert "Forget this one" not in str(model.requests()[-1].messages)
    all_shown(panel, chat)


def test_steering_is_read_at_the_next_step(begin: Begin, model: ModelServer) -> None:
    work = reply("a long word " * 25, calls=[call("plan", PLAN)], tokens_per_s=25)
    panel, chat = begin(work, reply("Snowy ones only."))
    expect(panel.streaming()).to_contain_text("a long word")
    send_menu(panel, "Steer at next step", "Snowy ones only, please")
    panel.wait_live(FINISHED)
    assert "Snowy ones only, please" in told(model)
    assert "tool_result" in told(model), "in the middle of the run, with the result of its step"
    all_shown(panel, chat)


def test_stop_and_send_cuts_it_off(begin: Begin, model: ModelServer, shoot: Shoot) -> None:
    panel, chat = begin(reply("a long word " * 400, tokens_per_s=25), reply("Snowy ones, then."))
    expect(panel.streaming()).to_contain_text("a long word")
    send_menu(panel, "Stop and send", "No: snowy ones")
    expect(panel.items("text").nth(1)).to_contain_text("Snowy ones, then.")
    expect(panel.items("text").first).to_contain_text("This reply was cut off.")
    panel.wait_live(FINISHED)
    assert "No: snowy ones" in told(model)
    shoot(panel.page, "model-stop-and-send")
    all_shown(panel, chat)


def test_force_stop_does_not_wait(begin: Begin, talk_lab: Jupyter, shoot: Shoot) -> None:
    silent = broken(reply("a long word " * 20), "stall", after=8)
    panel, chat = begin(silent)
    expect(panel.streaming()).to_contain_text("long")
    panel.button("Stop").click()
    panel.wait_live("Stopping after the current step…")
    shoot(panel.page, "model-stopping")
    panel.session.get_by_role("button", name="Force stop").last.click(delay=600)
    panel.wait_live(re.compile("^Stopped by you"), 10)
    talk_lab.wait_state(chat, "stopped")
    assert panel.session.locator(".jp-mod-streaming").count() == 0
    shoot(panel.page, "model-force-stopped")


def test_two_tabs_answer_and_one_wins(begin: Begin, model: ModelServer, open_panel: Open) -> None:
    ask = call("ask_user", {"question": "Which owl?", "options": ["barn", "snowy"]})
    one, chat = begin(reply(calls=[ask]), reply("So be it."))
    one.wait_live("Needs your answer")
    two = open_panel(one.server)
    two.open(chat)
    two.wait_live("Needs your answer")
    at: float = one.page.evaluate("Date.now() + 500")
    later = "(button, at) => void setTimeout(() => button.click(), at - Date.now())"
    for panel, option in ((one, "barn"), (two, "snowy")):
        panel.items("question").get_by_role("button", name=option).evaluate(later, at)
    one.wait_live(FINISHED)
    two.wait_live(FINISHED)
    (won,) = one.server.events(chat, "answered")
    for panel in (one, two):
        expect(panel.items("question").locator(".jp-Postdoc-Answer")).to_contain_text(won["answer"])
        shown(panel, chat)
    assert won["answer"] in told(model)
    assert model.requests()[-1].ended == "complete"


@pytest.mark.parametrize("fault", ["overloaded", "unauthorized"])
def test_an_error_of_the_model_is_told_and_retry_works(fault: str, begin: Begin, shoot: Shoot) -> None:
    refused = [overloaded()] * 6 if fault == "overloaded" else [unauthorized()]
    panel, chat = begin(*refused, reply("Here I am."))
    card = panel.items("error")
    expect(card.get_by_role("alert")).to_be_visible()
    expect(panel.items("result")).to_have_text(re.compile("^Ended"))
    (error,) = panel.server.events(chat, "error")
    expect(card).to_contain_text(error["error"])
    expect(card).to_contain_text(error["next"])
    assert KEY not in panel.session.inner_text()
    shoot(panel.page, f"model-{fault}")
    card.get_by_role("button", name=re.compile("^(Retry|Resume)$")).click()
    expect(panel.items("text")).to_contain_text("Here I am.")
    panel.wait_live(FINISHED)
    expect(card.get_by_role("button", name="Copy report")).to_have_count(0)
    shown(panel, chat)


def test_at_the_limit_of_cost_it_asks(begin: Begin, shoot: Shoot) -> None:
    used = {"input_tokens": 10_000, "output_tokens": 500}
    work = [reply("Work.", calls=[call("plan", {"items": [{"text": str(n)}]})], usage=used) for n in range(2)]
    panel, chat = begin(*work, reply("Enough."))
    card = panel.items("question")
    expect(card).to_contain_text("$2.50")
    expect(panel.session.locator(".jp-Postdoc-Live-line").get_by_role("button", name="Answer")).to_be_visible()
    shoot(panel.page, "model-budget")
    card.get_by_role("button", name="Go on").click()
    panel.wait_live(FINISHED)
    expect(panel.items("text").last).to_contain_text("Enough.")
    shown(panel, chat)
