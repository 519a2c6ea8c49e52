"""The whole way: a model asks for a tool of an MCP server, somebody gives leave, the answer goes back to the model."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from tests.agent.modelled import modelled, respond, say, settings, texts, told
from tests.agent.support import ANA, of, serving, settled
from tests.connectors.support import configure, notes, pids, remote, running, until
from tests.model_server import call, reply

from jupyterlab_postdoc import protocol

CITE = call("mcp__papers__cite", {"title": "Owls of Borneo"}, id="toolu_cite")


async def test_a_tool_of_a_server_is_called_after_leave_was_given(tmp_path: Path) -> None:
    config = {"mcp_file": str(configure(tmp_path, papers=remote(tmp_path)))}
    asks = [reply("May I cite?", calls=[CITE]), reply("Now I read.", calls=[call("mcp__papers__draw", {})])]
    async with modelled(tmp_path, *asks, reply("All done."), **config) as (services, server):
        assert notes(tmp_path) == [], "nothing is started before somebody needs it"
        chat = await say(services, "Cite the owls")
        events = await settled(services, chat, "waiting")
        (request,) = of(events, "approval_request")
        assert (request["toolName"], request["risk"]) == ("mcp__papers__cite", "outside")
        assert request["what"] == "cite (papers)"
        assert "cite Owls of Borneo" not in notes(tmp_path), "not before somebody has given leave"
        await respond(services, chat, request["requestId"], decision="allow")
        events = await settled(services, chat, "finished")
        assert notes(tmp_path).count("cite Owls of Borneo") == 1
        health = await services.sessions.health(ANA)
        assert health["parts"]["connectors"]["ok"], health["parts"]["connectors"]
    assert texts(events) == ["May I cite?", "Now I read.", "All done."]
    assert len(of(events, "approval_request")) == 1, "what only reads needs no leave"
    cited, drawn = of(events, "tool_result")
    assert (cited["ok"], cited["content"]) == (True, "cited Owls of Borneo")
    assert drawn["images"][0]["mediaType"] == "image/png"
    first, second, third = server.requests()
    offered = {tool["name"]: tool for tool in first.body["tools"]}
    assert offered["mcp__papers__search"]["input_schema"]["required"] == ["query"]
    assert told(second) == ["cited Owls of Borneo"]
    assert '"type": "image"' in json.dumps(third.messages[-1]), "the model sees the picture itself"
    assert first.body["tools"] == third.body["tools"], "the same tools in the same order, or the cache is of no use"
    assert not any(map(running, pids(tmp_path))), "the server ends with us"


async def test_leave_may_come_when_everything_was_started_again(tmp_path: Path) -> None:
    config = {"mcp_file": str(configure(tmp_path, papers=remote(tmp_path)))}
    async with modelled(tmp_path, reply("May I?", calls=[CITE]), reply("Thanks."), **config) as (services, server):
        chat = await say(services, "Cite the owls")
        (request,) = of(await settled(services, chat, "waiting"), "approval_request")
        await services.stop(1.0)
        async with serving(tmp_path, **settings(tmp_path, server, **config)) as later:
            await respond(later, chat, request["requestId"], decision="allow")
            events = await settled(later, chat, "finished")
    assert texts(events) == ["May I?", "Thanks."]
    assert notes(tmp_path).count("cite Owls of Borneo") == 1
    assert len(pids(tmp_path)) == 2


async def test_a_stop_reaches_the_call_at_the_server(tmp_path: Path) -> None:
    config = {"mcp_file": str(configure(tmp_path, papers=remote(tmp_path)))}
    slow = reply("", calls=[call("mcp__papers__slow", {"seconds": 60})])
    async with modelled(tmp_path, slow, **config) as (services, _):
        chat = await say(services, "Go")
        assert await until(lambda: "slow began" in notes(tmp_path), 20)
        began = time.monotonic()
        await services.sessions.submit(ANA, protocol.Stop(chatId=chat, how="now"))
        await settled(services, chat, "stopped")
        assert time.monotonic() - began < 2
        assert await until(lambda: "slow cancelled" in notes(tmp_path))


async def test_a_persona_has_only_the_servers_that_it_names(tmp_path: Path) -> None:
    personas = tmp_path / "personas.yaml"
    personas.write_text(
        'lone:\n  title: Lone\n  system_prompt: x\n  default: true\n  tools: [plan, "mcp__papers__s*"]\n'
        "  approvals: {mcp__papers__slow: never}\n"
    )
    other = tmp_path / "other"
    other.mkdir()
    file = configure(tmp_path, papers=remote(tmp_path), other=remote(other))
    config = {"mcp_file": str(file), "personas_file": str(personas)}
    async with modelled(tmp_path, reply("", calls=[CITE]), reply("Pity."), **config) as (services, server):
        chat = await say(services, "Go")
        events = await settled(services, chat, "finished")
    (refused,) = of(events, "tool_result")
    assert not refused["ok"]
    assert "no tool 'mcp__papers__cite'" in refused["content"]
    assert {tool["name"] for tool in server.requests()[0].body["tools"]} == {"plan", "mcp__papers__search"}
    assert notes(other) == [], "a server of which it may use nothing is not started"


async def test_a_server_that_does_not_work_costs_its_tools_and_is_told(tmp_path: Path) -> None:
    broken: dict[str, Any] = {"command": "no-such-program-here"}
    wrong: dict[str, Any] = {"comand": "papers"}
    config = {"mcp_file": str(configure(tmp_path, broken=broken, wrong=wrong))}
    async with modelled(tmp_path, reply("Without papers, then."), **config) as (services, server):
        chat = await say(services, "Go")
        assert texts(await settled(services, chat, "finished")) == ["Without papers, then."]
        part = (await services.sessions.health(ANA))["parts"]["connectors"]
    assert not [tool for tool in server.requests()[0].body["tools"] if tool["name"].startswith("mcp__")]
    assert not part["ok"]
    assert "'wrong' is not used" in part["message"]
    assert "no-such-program-here" in part["message"]
    assert "docs/mcp.md" in part["next"]
