"""Remote tools as an agent has them: what they are called, what they may do, what comes back."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from tests.connectors.remote_server import png
from tests.connectors.support import Keeper, configure, notes, old, pids, remote

from jupyterlab_postdoc.connectors.answers import Answer, Picture
from jupyterlab_postdoc.connectors.config import Entry, Server
from jupyterlab_postdoc.connectors.offers import Described, offers
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.providers.base import ToolOutcome
from jupyterlab_postdoc.tools.base import MAX_RESULT, Tool
from jupyterlab_postdoc.tools.mcp import MAX_TEXT, McpTools, outcome_of
from jupyterlab_postdoc.tools.registry import all_tools


class Used:
    """Tools of one configuration, called with a context that keeps blobs."""

    def __init__(self, file: Path | None) -> None:
        self.mcp, self.kept = McpTools(file, wait_s=30), Keeper()
        self.tools: dict[str, Tool] = {}

    async def __aenter__(self) -> Used:
        self.tools = {tool.name: tool for tool in await self.mcp.tools(None)}
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.mcp.close()

    async def call(self, name: str, **given: Any) -> ToolOutcome:
        return await self.tools[name].call(self.kept.context(), given)


async def test_a_remote_tool_is_a_tool_like_any_other(tmp_path: Path) -> None:
    file = configure(tmp_path, papers=remote(tmp_path, risk={"huge": "outside"}))
    async with Used(file) as used:
        search = used.tools["mcp__papers__search"]
        assert search.title({}) == "Search papers (papers)"
        assert search.description == "Find papers."
        assert search.spec()["input_schema"]["required"] == ["query"]
        assert search.spec()["input_schema"]["type"] == "object"
        risks = {name.removeprefix("mcp__papers__"): tool.risk for name, tool in used.tools.items()}
        assert (risks["search"], risks["cite"], risks["huge"]) == ("read", "outside", "outside")
        assert not any(tool.needs_project for tool in used.tools.values())
        box = all_tools().plus(used.tools.values()).only(["mcp__papers__*", "shell"])
        assert set(box.names()) == {*used.tools, "shell"}
        assert [tool.name for tool in await used.mcp.tools(["mcp__papers__s*", "nb_*"])] == [
            "mcp__papers__search",
            "mcp__papers__slow",
        ]


async def test_what_comes_back(tmp_path: Path) -> None:
    async with Used(configure(tmp_path, papers=remote(tmp_path))) as used:
        found = await used.call("mcp__papers__search", query="owl", most=2)
        assert found.ok
        assert found.content == "\n".join(f"{n}. owl " + ("snippet " * 40).rstrip(" ") for n in range(2)).replace(
            "snippet\n", "snippet \n"
        )
        drawn = await used.call("mcp__papers__draw")
        assert drawn.ok
        assert used.kept.blobs[drawn.images[0].blob] == (png(), "image/png")
        failed = await used.call("mcp__papers__fail")
        assert (failed.ok, failed.content) == (False, "Error executing tool fail")
        wrong = await used.call("mcp__papers__search", question="owl")
        assert not wrong.ok
        assert "Field required" in wrong.content
        mixed = await used.call("mcp__papers__mixed")
        assert mixed.data == {"structured": {"found": 2}}
        assert mixed.content.splitlines() == [
            "one",
            "doc://two:",
            "two",
            "[three](https://example.org/three)",
            "[audio of the type audio/wav: it cannot be shown]",
            "[a picture is left out: it is neither PNG nor JPEG]",
        ]


async def test_a_huge_result_is_kept_whole_beside_the_log(tmp_path: Path) -> None:
    async with Used(configure(tmp_path, papers=remote(tmp_path))) as used:
        much = await used.call("mcp__papers__huge", characters=1_000_000)
        assert much.ok
        assert len(much.content) < MAX_RESULT + 100
        assert much.data == {"truncated": True}
        assert used.kept.blobs[much.blob or ""] == (b"x" * 1_000_000, "text/plain; charset=utf-8")
        most = await used.call("mcp__papers__huge", characters=MAX_TEXT + 7)
        assert used.kept.blobs[most.blob or ""][0].endswith("x\n… 7 characters left out".encode())
        too_much = await used.call("mcp__papers__huge", characters=9 << 20)
        assert not too_much.ok
        assert "broke in mid-call" in too_much.content
        assert (await used.call("mcp__papers__search", query="owl")).ok


async def test_what_a_hostile_server_offers_is_made_safe(tmp_path: Path) -> None:
    async with Used(configure(tmp_path, papers=old(tmp_path, "hostile"))) as used:
        names = [name.removeprefix("mcp__papers__") for name in used.tools]
        assert len(names) == 10
        assert all(len(name) <= 64 and name.isascii() for name in used.tools)
        assert {"ok", "either", "both", "mcp__papers__search", "_script_alert_1_script_", "tool"} <= set(names)
        fine = used.tools["mcp__papers__ok"]
        assert fine.title({}) == "Fine tool (papers)"
        assert fine.description.startswith("See  this  [2J. xxx")
        assert len(fine.description) == 4000
        assert fine.description.endswith("…")
        assert used.tools["mcp__papers__either"].parameters == {"type": "object", "properties": {"a": {}}}
        assert used.tools["mcp__papers__both"].risk == "outside"
        assert (await used.call("mcp__papers__mcp__papers__search")).content == "mcp__papers__search done"
        told = " ".join(used.mcp.problems())
        assert "'wrong' is left out: the description of its arguments is not a JSON Schema" in told
        assert "'big' is left out: the description of its arguments is too long" in told
        assert "'keys' is left out: one of its arguments has a name that models cannot use" in told
        assert not {"wrong", "keys", "big"} & set(names)
        own = all_tools()
        assert own.plus(used.tools.values()).get("shell") is own.get("shell")


async def test_a_list_that_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    async with Used(configure(tmp_path, papers=old(tmp_path, "text"))) as used:
        assert used.tools == {}
        assert "says something that the protocol does not allow" in used.mcp.problems()[0]


def test_a_list_without_end_is_cut() -> None:
    server = Server("p", "p", Entry(command="x"), "/")
    many = [Described(f"t{n:03}", "", "", {"type": "object"}, False) for n in range(500)]
    found, told = offers(server, many)
    assert [offer.remote for offer in found] == [f"t{n:03}" for n in range(200)]
    assert told == ["it has 500 tools, of which 200 are used; choose them with `tools`"]
    deep: Any = {"type": "object"}
    for _ in range(3000):
        deep = {"type": "object", "properties": {"a": deep}}
    assert offers(server, [Described("deep", "", "", deep, False)])[0] == []


@pytest.mark.parametrize(
    ("pictures", "shown", "sentence"),
    [
        ([Picture(png(), "image/png")] * 9, 8, "there are more than 8"),
        ([Picture(b"GIF89a", "image/png")], 0, "neither PNG nor JPEG"),
        ([Picture(png() + b"\0" * (5 << 20), "image/png")], 0, "more than 4 MiB"),
        ([Picture(b"\xff\xd8\xff\xe0", "image/jpeg")], 1, ""),
        ([Picture(png()[:16] + b"\xff" * 8 + png()[24:], "image/png")], 0, "too large"),
    ],
)
async def test_pictures_that_a_model_cannot_take_are_left_out(
    pictures: list[Picture], shown: int, sentence: str
) -> None:
    outcome = await outcome_of(Keeper().context(), Answer(True, "", pictures))
    assert len(outcome.images) == shown
    assert sentence in outcome.content


async def test_data_without_text_is_text_for_the_model() -> None:
    context = Keeper().context()
    assert await outcome_of(context, Answer(True, "", [], {"a": [1]})) == ToolOutcome(
        True, '{"a":[1]}', {"structured": {"a": [1]}}
    )
    large = await outcome_of(context, Answer(True, "", [], {"a": "x" * 50_000}))
    assert (large.data, len(large.content)) == ({}, 50_008)
    assert (await outcome_of(context, Answer(False, ""))).content == "(no text)"


async def test_after_a_crash_only_reading_is_done_again(tmp_path: Path) -> None:
    async with Used(configure(tmp_path, papers=old(tmp_path))) as used:
        look, act = used.tools["mcp__papers__look"], used.tools["mcp__papers__act"]
        assert look.reconcile is not None
        assert act.reconcile is not None
        context = used.kept.context()
        assert await look.reconcile(context, look.parse({})) is None
        outcome = await act.reconcile(context, act.parse({"a": 1}))
        assert outcome is not None
        assert not outcome.ok
        assert "whether it was done is unknown" in outcome.content
        assert not [note for note in notes(tmp_path) if note.startswith(("look", "act"))]


async def test_arguments_are_passed_on_as_they_are(tmp_path: Path) -> None:
    async with Used(configure(tmp_path, papers=old(tmp_path))) as used:
        given = {"a": {"b": [1, None, "ü"]}, "ctx": 1, "given": 2, "self": 3}
        assert (await used.tools["mcp__papers__act"].call(used.kept.context(), given)).ok
        assert json.loads(notes(tmp_path)[-1].removeprefix("act ")) == given
        with pytest.raises(PostdocError, match="must be an object"):
            used.tools["mcp__papers__act"].parse([1])  # type: ignore[arg-type]


async def test_a_problem_is_a_result_that_the_model_reads(tmp_path: Path) -> None:
    async with Used(configure(tmp_path, papers=old(tmp_path))) as used:
        refused = await used.call("mcp__papers__look", refuse=True)
        assert refused == ToolOutcome(
            False, "the MCP server 'papers' answered with an error: no [31m such thing", {"code": "tool_failed"}
        )


def test_without_the_package_people_are_told_what_to_install(tmp_path: Path) -> None:
    """In a process of its own, where the package cannot be imported; and nothing of it is loaded before it is used."""
    file = configure(tmp_path, papers=old(tmp_path))
    code = f"""
        import asyncio, sys
        from pathlib import Path
        import jupyterlab_postdoc.app
        from jupyterlab_postdoc.tools.mcp import McpTools

        assert not {{"mcp", "mcp_types", "httpx2"}} & set(sys.modules)
        sys.modules["mcp"] = None

        async def main():
            mcp = McpTools(Path({str(file)!r}))
            print(await mcp.tools(None), mcp.problems())
            await mcp.close()

        asyncio.run(main())
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.stdout.startswith('[] ["MCP servers need the package mcp'), done.stderr
    assert "pip install 'jupyterlab-postdoc[mcp]'" in done.stdout
    assert notes(tmp_path) == []


async def test_a_server_that_failed_is_tried_again_only_when_it_is_needed(tmp_path: Path) -> None:
    async with Used(configure(tmp_path, papers=old(tmp_path, "crash"))) as used:
        starts = len(pids(tmp_path))
        assert starts == 2, "both handshakes"
        await asyncio.sleep(1.5)
        assert len(pids(tmp_path)) == starts
        assert await used.mcp.tools(None) == []
        assert len(pids(tmp_path)) == 2 * starts
