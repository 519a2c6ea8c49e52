# /// script
# requires-python = ">=3.11"
# dependencies = ["jupyterlab-postdoc", "marimo"]
# ///
"""The loop of a live notebook: an agent works, a person takes the notebook over, changes a cell and gives it back.

marimo edit notebooks/take_over_a_study.py
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Take over a study")

with app.setup:
    import json
    import time
    import urllib.request
    from dataclasses import dataclass
    from pathlib import Path

    import marimo as mo

    from jupyterlab_postdoc.cli.server import running


@app.cell(hide_code=True)
def title():
    mo.md("""
    # Take over a study

    An agent works in a live notebook; you watch, take it over, change something, give it back, and it goes on. The panel
    has buttons for that. Here the same is done step by step, through the same addresses, with a study that needs no key.

    Start a server (`jupyter lab`) in this folder or one above it, then run the cells one after the other.
    """)
    return


@app.class_definition
@dataclass(frozen=True)
class Server:
    """The part of Postdoc's REST interface that is needed here."""

    url: str
    token: str

    def get(self, path: str) -> object:
        return self._ask(path, None)

    def post(self, path: str, **body: object) -> object:
        return self._ask(path, json.dumps(body).encode())

    def page(self, chat: str) -> str:
        """Where a person looks at the notebook of a session."""
        return f"{self.url.rstrip('/')}/postdoc/notebook/{chat}"

    def _ask(self, path: str, data: bytes | None) -> object:
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"token {self.token}"
        request = urllib.request.Request(f"{self.url.rstrip('/')}/postdoc/api/{path}", data=data, headers=headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


@app.function
def nearest(folder: str = ".") -> Server | None:
    """The server nearest to `folder`; None when none of yours runs on this machine."""
    for found in running(Path(folder).resolve()):
        return Server(found.url, found.token)
    return None


@app.cell
def server():
    server = nearest()
    mo.stop(server is None, mo.md("No Jupyter server of yours runs here. Start one with `jupyter lab`, then run this cell again."))
    server.url
    return (server,)


@app.cell
def begin():
    begin = mo.ui.run_button(label="1. Let an agent begin a study")
    begin
    return (begin,)


@app.cell
def study(begin, server):
    mo.stop(not begin.value)
    chat = server.post("chats", title="A study to take over")["id"]
    server.post(f"chats/{chat}/research", topic="Momentum", provider="template")
    while not server.get(f"chats/{chat}/notebook")["path"]:
        time.sleep(0.1)
    mo.md(f"It works. [Open the live notebook]({server.page(chat)}) in another tab and watch.")
    return (chat,)


@app.cell
def take(chat):
    take = mo.ui.run_button(label="2. Take it over")
    mo.vstack([take, mo.md("The agent carries out the step that it has begun, then it waits.")])
    return (take,)


@app.cell
def taken(chat, server, take):
    mo.stop(not take.value)
    server.post(f"chats/{chat}/notebook/take")
    now = server.get(f"chats/{chat}/notebook")
    mo.md(f"The notebook is in the hands of **{now['holder']}**, `{now['path']}`. In the open page you can write now.")
    return


@app.cell
def give(chat):
    give = mo.ui.run_button(label="3. Give it back")
    mo.vstack([mo.md("Change a cell in the page, or only look. Then:"), give])
    return (give,)


@app.cell
def given(chat, give, server):
    mo.stop(not give.value)
    back = server.post(f"chats/{chat}/notebook/give")
    mo.md(f"Changed by you: {', '.join(back.get('cells') or {}) or 'nothing'}. The agent goes on.")
    return


@app.cell
def steps(chat):
    mo.stop(not chat)
    look = mo.ui.refresh(label="Steps so far", options=["2s"], default_interval="2s")
    look
    return (look,)


@app.cell
def checkpoints(chat, look, server):
    look
    mo.ui.table(
        [
            {"step": one["subject"], "by": one["by"], **one["cells"]}
            for one in server.get(f"chats/{chat}/checkpoints")
        ],
        selection=None,
    )
    return


@app.function
def test_without_a_server_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    assert nearest(str(tmp_path)) is None


if __name__ == "__main__":
    app.run()
