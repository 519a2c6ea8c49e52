# /// script
# requires-python = ">=3.11"
# dependencies = ["jupyterlab-postdoc", "marimo"]
# ///
"""Follow a research session from a notebook: its plan, what it does now, what came of it.

marimo edit notebooks/follow_a_session.py -- --chat c_…
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Follow a session")

with app.setup:
    import json
    import urllib.request
    from pathlib import Path

    import marimo as mo

    from jupyterlab_postdoc import Follow
    from jupyterlab_postdoc.cli.server import running


@app.cell(hide_code=True)
def title():
    mo.md("""
    # Follow a session

    `Follow("c_…")` shows a session of the Jupyter server that runs on this machine, live, in a cell: here in marimo, and just
    so in a Jupyter notebook. It only looks; to answer a question or to stop the run, use the Research panel or the terminal.
    """)
    return


@app.function
def newest_session(folder: str = ".") -> str | None:
    """The id of the session that changed last on the server nearest to `folder`; None without server or session."""
    for server in running(Path(folder).resolve()):
        request = urllib.request.Request(
            server.url.rstrip("/") + "/postdoc/api/chats?limit=1",
            headers={"Authorization": f"token {server.token}"} if server.token else {},
        )
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                chats = json.load(answer)
        except OSError:
            continue
        if chats:
            return chats[0]["id"]
    return None


@app.cell
def choice():
    chat = mo.ui.text(value=str(mo.cli_args().get("chat") or newest_session() or ""), label="Session", full_width=True)
    chat
    return (chat,)


@app.cell
def status(chat):
    mo.stop(
        not chat.value,
        mo.md(
            "There is no session to follow: no Jupyter server of yours runs here, or nothing was researched on it yet. "
            "Start one with `jupyter lab`, ask for a study in the Research panel (or with "
            '`jupyter postdoc research "Short Term Reversal"` in a terminal), then run the cell above again.'
        ),
    )
    follow = Follow(chat.value)
    follow
    return (follow,)


@app.cell
def figures(follow):
    # What the card shows is plain data too.
    {key: follow.status[key] for key in ("state", "line", "cost", "tokens")}
    return


@app.function
def test_without_a_server_there_is_nothing_to_follow(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    assert newest_session(str(tmp_path)) is None


if __name__ == "__main__":
    app.run()
