"""What agents, tools and files say is data: nothing of it runs, asks another host or passes for a part of the panel."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from playwright.sync_api import Page, Request, WebSocket, expect

from tests.model_server import ModelServer
from tests.model_server.replies import call, reply

from .panel import Panel
from .service import TOKEN, Jupyter, wait_for

Open = Callable[..., Panel]
AWAY = "https://tracker.example.com/x.png"

MARKUP = f"""
<script>alert(1)</script>
<img src=x onerror=alert(2)>
<img src="{AWAY}?1" width=1 height=1>
<svg onload=alert(3)><image href="{AWAY}?2"/><script>alert(4)</script></svg>
<a href="javascript:alert(5)">a</a> <a href="&#106;avascript&#58;alert(6)">b</a> [c](javascript:alert(7))
<a href="java&#9;script:alert(8)">d</a> [e](data:text/html,<script>alert(9)</script>)
<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=alert(10)&gt;">
</mglyph></table></mtext></math>
<math><annotation-xml encoding="text/html"><iframe srcdoc="<script>parent.alert(11)</script>"></iframe></annotation-xml>
<mi href="javascript:alert(12)">x</mi></math>
<noscript><p title="</noscript><img src=x onerror=alert(13)>"></noscript>
<form action="{AWAY}?3"><input name=getElementById><button>Allow once</button></form>
<form id=querySelector></form><img name=body><a id=location name=cookie>f</a>
<a data-commandlinker-command="terminal:create-new" data-commandlinker-args="{{}}" href="#">g</a>
<div style="position:fixed;inset:0;background:url({AWAY}?4)">h</div>
<style>@import url({AWAY}?5); body {{display: none}}</style>
<link rel=stylesheet href="{AWAY}?6"><base href="https://evil.example.com/">
<meta http-equiv=refresh content="0;url={AWAY}?7">
<video src="{AWAY}?8" poster="{AWAY}?9" autoplay></video><audio src="{AWAY}?10"></audio>
<iframe src="{AWAY}?11"></iframe>
<object data="{AWAY}?12"></object><embed src="{AWAY}?13"><input type=image src="{AWAY}?14"><body background="{AWAY}?15">
<table background="{AWAY}?16"><tr><td background="{AWAY}?17">i</td></tr></table>
<picture><source srcset="{AWAY}?18"><img srcset="{AWAY}?19"></picture>
<div class="jp-Dialog jp-mod-accept lm-Widget lm-mod-hidden cm-tooltip cm-panels jp-Postdoc-Card" role=dialog>j</div>
<dialog open>Allow?</dialog><details open ontoggle=alert(14)><summary>k</summary></details>
<div hidden id=x popover=manual tabindex=1 accesskey=s contenteditable autofocus onfocus=alert(15)>l</div>
![m]({AWAY}?20) ![n](//tracker.example.com/y.png) ![o](file/../../api/shutdown)
![p][ref] <https://example.com/"onmouseover=alert(16)>

[ref]: {AWAY}?21 "onerror=alert(17)"

# A heading <img src=x onerror=alert(18)>
"""

DIAGRAMS = f"""
```mermaid
flowchart TD
  A@{{ img: "{AWAY}?30", label: "x", pos: "t", w: 60, h: 60 }}
  B["<img src='{AWAY}?31' onerror='alert(30)'>"]
  A --> B
  click B href "javascript:alert(31)"
```

- in a list

  ~~~ mermaid
  %%{{init: {{"themeCSS": "@import url('{AWAY}?32'); .node {{background:url({AWAY}?33)}}"}}}}%%
  flowchart LR
    C["c"] --> D["<iframe src='{AWAY}?34'></iframe>"]
  ~~~

> ````  mermaid \u0020
> ---
> config:
>   themeCSS: "@import url('{AWAY}?35');"
>   fontFamily: "x; background: url({AWAY}?36)"
> ---
> sequenceDiagram
>   Alice->>Bob: <img src='{AWAY}?37'>
> ````
"""

FORMULAS = rf"""
$\href{{javascript:alert(40)}}{{x}}$ and $\class{{jp-Dialog lm-mod-hidden}}{{y}}$ and $\cssId{{main}}{{z}}$

$$\style{{position:fixed;top:0;left:0;background:url({AWAY}?40)}}{{w}} \includegraphics{{{AWAY}?41}}$$

$\require{{html}}\data{{x=1}}{{v}}$ $\unicode[font]{{x3c}}$ $\def\a{{\a\a}}\a$ $\text{{<img src=x onerror=alert(41)>}}$

$\begin{{array}}{{c}}\href{{https://example.com/}}{{u}}\end{{array}}$ $<img src=x onerror=alert(42)>$
"""

SHAPES = "\n".join([
    "> " * 400 + "deep",
    "",
    "".join("  " * depth + "- deep\n" for depth in range(120)),
    "w" * 50_000,
    "",
    "| a | b |\n|---|---|\n" + "| 1 | 2 |\n" * 3_000,
    "[" * 3_000,
    "",
    "*" * 3_000,
    "",
    "<div>" * 2_000,
])  # fmt: skip

TITLE = "<img src=x onerror=alert(50)>\u202egnp.exe\u202c \x1b[31mred\x1b[0m"


def chat_with(server: Jupyter, title: str = "Hostile") -> str:
    return server.new_chat(title)


def everything(page: Page) -> None:
    """Scroll through all that is shown, so that nothing waits for being seen; and let it settle."""
    log = page.locator(".jp-Postdoc-Scroller").first
    for share in (0, 0.25, 0.5, 0.75, 1):
        log.evaluate("(node, share) => { node.scrollTop = share * node.scrollHeight }", share)
        page.wait_for_timeout(150)
    page.wait_for_timeout(1500)


def inert(panel: Panel) -> None:
    """No element of the shown text has a power that only the panel's own elements have."""
    found: list[str] = panel.root.evaluate(
        """root => Array.from(root.querySelectorAll('.jp-Postdoc-Markdown *'), node => {
            const bad = [];
            if (node.matches('.jp-Postdoc-Block > .jp-RenderedMarkdown')) return bad; // JupyterLab's own renderer
            const style = getComputedStyle(node);
            if (/^(SCRIPT|STYLE|IFRAME|OBJECT|EMBED|FORM|LINK|META|BASE|VIDEO|AUDIO|DIALOG|svg)$/i.test(node.nodeName)
                && !node.closest('mjx-container')) bad.push('element');
            if (style.position === 'fixed' || (style.position === 'sticky')) bad.push(style.position);
            for (const {name, value} of node.attributes) {
              if (/^on/.test(name) || /^data-commandlinker/.test(name)) bad.push(name);
              if (/^(name|background|srcset|action|formaction|poster)$/.test(name)) bad.push(name);
              if (name === 'id' && !node.closest('mjx-container')) bad.push('id');
              if (/^(href|src|xlink:href)$/.test(name) && !/^(https?:|mailto:|data:image)/.test(value)) bad.push(value);
              if (/^(jp-Dialog|lm-|jp-mod-accept|jp-Postdoc-Card|cm-tooltip|cm-panels)/.test(value) && name === 'class')
                bad.push(value);
              if (name === 'style' && /url\\(|position: *(fixed|absolute|sticky)/.test(value)) bad.push(value);
            }
            return bad.map(what => `${what} in ${node.outerHTML.slice(0, 200)}`);
        }).flat()"""
    )
    assert found == []


def reply_shown(panel: Panel, model: ModelServer, server: Jupyter, said: str, **more: Any) -> str:
    """A chat in which the agent has said this; its id."""
    model.script([reply([said], **more)])
    chat = chat_with(server)
    panel.sessions()
    panel.open(chat)
    panel.say("Go on")
    server.wait_state(chat, "finished", "error")
    panel.items("text").first.wait_for()
    everything(panel.page)
    return chat


@pytest.mark.parametrize("said", [MARKUP, DIAGRAMS, FORMULAS], ids=["markup", "diagrams", "formulas"])
def test_a_reply_is_inert(said: str, model_lab: Jupyter, model: ModelServer, open_panel: Open, watched: Any) -> None:
    # Chromium also tells of what the page's policy forbids in the dead document in which HTML is sanitised.
    watched.allowed = re.compile(f"{watched.allowed.pattern}|Content Security Policy")
    panel = open_panel(model_lab)
    chat = reply_shown(panel, model, model_lab, said)
    inert(panel)
    panel.page.evaluate("document.querySelectorAll('.jp-Postdoc-Markdown a:not([href^=http])').forEach(a => a.click())")
    panel.page.wait_for_timeout(300)
    assert panel.page.locator("body > .jp-Dialog, .jp-Terminal").count() == 0
    assert panel.root.is_visible()
    # The same words on the page without JupyterLab.
    panel.page.goto(f"{model_lab.url}postdoc/s/{chat}")
    panel.items("text").first.wait_for()
    everything(panel.page)
    inert(panel)


def test_a_picture_from_elsewhere_is_loaded_by_a_click_only(
    model_lab: Jupyter, model: ModelServer, open_panel: Open, watched: Any
) -> None:
    panel = open_panel(model_lab)
    reply_shown(panel, model, model_lab, f"![chart]({AWAY})")
    panel.page.route("https://tracker.example.com/**", lambda route: route.abort())
    assert watched.foreign == []
    panel.button("Load image from tracker.example.com (chart)").click()
    wait_for(lambda: watched.foreign == [AWAY])
    watched.foreign.clear()


def test_shapes_that_are_hard_to_show(model_lab: Jupyter, model: ModelServer, open_panel: Open) -> None:
    panel = open_panel(model_lab)
    reply_shown(panel, model, model_lab, SHAPES)
    assert panel.root.evaluate("root => root.scrollWidth <= root.clientWidth + 1"), "the panel scrolls sideways"
    panel.box.fill("still here")
    expect(panel.box).to_have_value("still here")


def test_titles_tools_and_notices_are_inert(model_lab: Jupyter, model: ModelServer, open_panel: Open) -> None:
    model.script([
        reply(calls=[call("ask_user", {"question": MARKUP, "options": ["<img src=x onerror=alert(51)>", "b"]})]),
        reply(calls=[call("<img src=x onerror=alert(52)>", {"<b>": "<img src=x onerror=alert(53)>"})]),
        reply("Done.", thinking="<img src=x onerror=alert(54)>"),
    ])  # fmt: skip
    panel = open_panel(model_lab)
    chat = chat_with(model_lab, TITLE)
    other = chat_with(model_lab, "Another")
    panel.open(chat)
    expect(panel.session.get_by_role("heading").first).to_contain_text("<img src=x onerror=alert(50)>")
    panel.say("<img src=x onerror=alert(55)>")
    panel.wait_live("Needs your answer")
    panel.open(other)
    panel.open(chat)
    inert(panel)
    panel.items("question").get_by_role("button", name="<img src=x onerror=alert(51)>").click()
    model_lab.wait_state(chat, "finished", "error")
    everything(panel.page)
    panel.page.locator(".jp-Postdoc-Tool button").first.click()
    panel.session.get_by_role("button", name="Actions of this session").click()
    panel.root.get_by_role("menuitem", name="Delete").click()
    panel.page.locator(".jp-Dialog").get_by_role("button", name="Cancel").click()
    panel.page.keyboard.press("Control+Shift+C")
    panel.page.wait_for_timeout(500)
    inert(panel)


def note(asked: list[str], what: Request | WebSocket) -> None:
    asked.append(what.url)


def test_the_token_is_nowhere(lab: Jupyter, open_panel: Open) -> None:
    """Not in an address that is asked for, kept or shown; not in what the browser remembers; not in the panel."""
    for path in (None, "postdoc/"):
        panel = open_panel(lab, path=path)
        panel.root.wait_for()
        asked: list[str] = []
        panel.page.on("request", partial(note, asked))
        panel.page.on("websocket", partial(note, asked))
        panel.page.reload()
        if path is None:
            panel.page.wait_for_selector(".jp-LauncherCard, .jp-Postdoc-App", timeout=40_000)
            panel.show()
        chat = panel.start("Short Term Reversal")
        panel.wait_live(re.compile("^Finished"))
        panel.items("result").get_by_role("button", name="Open report").click()
        frame = panel.page.locator(f'iframe[src*="{chat}"]')
        frame.wait_for()
        assert frame.get_attribute("sandbox") == "allow-popups allow-popups-to-escape-sandbox"
        kept: str = panel.page.evaluate(
            """() => JSON.stringify([location.href, history.state, Object.entries(localStorage),
                Object.entries(sessionStorage), document.querySelector('.jp-Postdoc-App').outerHTML,
                Array.from(document.querySelectorAll('iframe, a, img'), node => node.outerHTML)])"""
        )
        assert any("postdoc/ws" in url for url in asked)
        assert [url for url in asked if TOKEN in url] == []
        assert TOKEN not in kept
