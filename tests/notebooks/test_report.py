"""The report a scientist opens: no script, no server, no network; and the interactive page as the server sends it."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.notebooks.support import STUDY, execute, go, runtime

from jupyterlab_postdoc.notebooks import report

EVIL = """mo.Html('''<script>alert(1)</script><img src=x onerror=alert(1)><a href="javascript:alert(1)">x</a>
<iframe src="https://e.example"></iframe><svg onload=alert(1)><text>t</text></svg>
<form action="https://e.example"><input></form>
<p style="background:url(https://e.example/a);color:red" title="t" onclick="x()">kept</p>
<style>body{display:none}</style><base href="https://e.example"><img src="https://e.example/track.png">''')"""


class Page(HTMLParser):
    """Elements and attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attrs: list[tuple[str, str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attrs += [(tag, name, value or "") for name, value in attrs]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study, executed."""
    folder = tmp_path_factory.mktemp("report")

    async def scene() -> Path:
        async with runtime(folder) as nb:
            (nb.root / "notebook.py").write_text(STUDY.read_text())
            done = await nb.run(timeout_s=100)
            assert done.ok, done.message
            return nb.root

    return go(scene())


def test_the_report_stands_alone(project: Path) -> None:
    text = (project / "reports" / "report.html").read_text()
    page = Page(text)
    assert "script" not in page.tags
    assert not [name for _, name, _ in page.attrs if name.startswith("on")]
    addresses = [value for tag, name, value in page.attrs if name in ("src", "href", "action", "data") and tag != "a"]
    assert addresses
    assert all(value.startswith("data:image/") for value in addresses)
    assert "url(" not in text
    assert "default-src 'none'" in text


def test_the_report_can_be_read_by_people_and_by_screen_readers(project: Path) -> None:
    text = (project / "reports" / "report.html").read_text()
    page = Page(text)
    alts = [value for tag, name, value in page.attrs if (tag, name) == ("img", "alt")]
    assert alts == ["Chart: Outcome by group (standard deviations)", "Figure: figure"]
    assert text.count("<h1") == 1
    assert "<title>Does the treatment help?</title>" in text
    assert ("html", "lang", "en") in page.attrs
    assert '<th scope="col" class="n">mean</th>' in text
    assert '<th scope="row">control</th>' in text
    assert "<math" in text
    assert "Verdict: Supported" in text
    assert text.index("Verdict: Supported") < text.index("The treated group is higher by")
    assert "prefers-color-scheme:dark" in text
    assert "@media print" in text


def test_hostile_output_is_made_harmless(tmp_path: Path) -> None:
    cells = {
        "setup": "import marimo as mo",
        "evil": EVIL,
        "text": "'</pre><script>alert(2)</script>'",
        "verdict": "{'claim': '<script>alert(3)</script>', 'supported': False}",
        "code": "'<!-- ' + '</code></details><script>alert(4)</script>'",
    }
    done, _ = go(execute(tmp_path, cells))
    assert done.ok, done.message
    text = (tmp_path / "project" / "reports" / "report.html").read_text()
    page = Page(text)
    assert not {"script", "iframe", "form", "input", "base", "svg", "object"} & set(page.tags)
    assert not [(n, v) for _, n, v in page.attrs if n.startswith("on") or "javascript:" in v or "e.example" in v]
    assert '<p style="color:red" title="t">kept</p>' in text
    assert "Verdict: Not supported" in text


def test_charts_inside_of_a_stack_are_drawn(tmp_path: Path) -> None:
    chart = "alt.Chart(pd.DataFrame({'a': [1, 2]}), title='Rise <of> a').mark_line().encode(x='a:Q', y='a:Q')"
    cells = {
        "setup": "import altair as alt\nimport marimo as mo\nimport pandas as pd",
        "stack": f"mo.vstack([mo.md('## Both'), {chart}, mo.callout(mo.md('note'), kind='warn')])",
    }
    done, _ = go(execute(tmp_path, cells))
    assert done.ok, done.message
    page = Page((tmp_path / "project" / "reports" / "report.html").read_text())
    assert [v for t, n, v in page.attrs if (t, n) == ("img", "alt")] == ["Chart: Rise <of> a"]
    assert any(v.startswith("data:image/svg+xml") for t, n, v in page.attrs if (t, n) == ("img", "src"))


def test_the_interactive_page_asks_only_this_server(project: Path) -> None:
    raw = (project / "reports" / "interactive.html").read_bytes()
    version = report.page_version(raw)
    assert version == report.static_version()
    page = report.prepare(raw, f"/user/ana/postdoc/assets/{version}").decode()
    outside = re.findall(r"""(?:src|href)=["'](https?://[^"']+)""", page)
    assert outside == []
    assert "@marimo-team/frontend@" not in page
    used = set(re.findall(rf"/user/ana/postdoc/assets/{version}/([^\"'?#\s]+)", page))
    root = report.static_root()
    assert root is not None
    assert len(used) > 50
    assert [name for name in used if not (root / name).is_file()] == []
    assert page.index("localStorage") < page.index('<script type="module"')


def test_a_static_report_is_sent_as_it_is(project: Path) -> None:
    raw = (project / "reports" / "report.html").read_bytes()
    assert report.prepare(raw, "/postdoc/assets/1") == raw
    assert report.page_version(raw) is None


def test_the_headers_leave_the_page_no_way_out() -> None:
    headers = report.report_headers("https://hub.example:8000", "/user/ana/postdoc/assets/0.25.2")
    policy = dict(rule.split(" ", 1) for rule in headers["Content-Security-Policy"].split("; "))
    assert policy["sandbox"] == "allow-popups allow-popups-to-escape-sandbox"
    interactive = report.report_headers("https://hub.example:8000", "/postdoc/assets/0.25.2", interactive=True)
    assert interactive["Content-Security-Policy"].startswith("sandbox allow-scripts;")
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "https://hub.example:8000/user/ana/postdoc/assets/0.25.2/ data: blob:"
    assert "allow-same-origin" not in headers["Content-Security-Policy"]
    assert "'self'" in policy.pop("frame-ancestors")
    assert not any("'self'" in value or "*" in value for value in policy.values())
    assert report.static_headers()["Access-Control-Allow-Origin"] == "*"


def test_serving_needs_no_marimo_import() -> None:
    code = (
        "import sys; from jupyterlab_postdoc.notebooks import report, batch; print(report.static_root(), report.static_version());"  # noqa: E501
        "print([m for m in sys.modules if m.split('.')[0] in ('marimo', 'numpy', 'pandas')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert first.split()[0].endswith("_static")
    assert second == "[]"
