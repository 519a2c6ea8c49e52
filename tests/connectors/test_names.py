"""Names of tools: valid, distinct, and nobody's tool can pass for another server's."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from jupyterlab_postdoc.connectors.names import may_fit, slugs, tool_names

VALID = re.compile(r"mcp__[A-Za-z0-9-]+(?:_[A-Za-z0-9-]+)*__[A-Za-z0-9_-]+")
NAMES = st.lists(st.text(max_size=90) | st.text("ab_.- ", max_size=6), max_size=12, unique=True)


def full(servers: list[str], tools: list[str]) -> dict[tuple[str, str], str]:
    found = {}
    for server, slug in slugs(servers).items():
        for tool, name in tool_names(f"mcp__{slug}__", tools).items():
            found[server, tool] = name
    return found


@given(NAMES, NAMES)
def test_all_names_are_valid_and_distinct(servers: list[str], tools: list[str]) -> None:
    names = full(servers, tools)
    assert len(set(names.values())) == len(names) == len(servers) * len(tools)
    assert all(VALID.fullmatch(name) and len(name) <= 64 for name in names.values())
    assert names == full(servers, tools)


@given(NAMES, NAMES)
def test_a_rule_for_one_server_reaches_no_other(servers: list[str], tools: list[str]) -> None:
    short = slugs(servers)
    for (server, _), name in full(servers, tools).items():
        assert [other for other in servers if name.startswith(f"mcp__{short[other]}__")] == [server]


def test_plain_names_stay_as_they_are() -> None:
    assert full(["papers"], ["search", "get_paper"]) == {
        ("papers", "search"): "mcp__papers__search",
        ("papers", "get_paper"): "mcp__papers__get_paper",
    }
    assert slugs(["Brave Search", "a__b", "_x_"]) == {"Brave Search": "Brave_Search", "a__b": "a_b", "_x_": "x"}
    two = slugs(["a b", "a_b"])
    assert two["a_b"] == "a_b"
    assert re.fullmatch(r"a_b_[0-9a-f]{8}", two["a b"])
    assert tool_names("mcp__p__", ["a.b", "c"]) == {"a.b": "mcp__p__a_b", "c": "mcp__p__c"}


def test_only_servers_that_may_be_needed_are_asked() -> None:
    prefix = "mcp__papers__"
    for pattern in ("*", "mcp__*", "mcp__papers__*", "mcp__papers__search", "mcp__p*", "*search", "mcp__[po]*"):
        assert may_fit([pattern], prefix), pattern
    for pattern in ("nb_*", "shell", "mcp__other__*", "mcp__papers", "mcp__papersx__*"):
        assert not may_fit([pattern], prefix), pattern
    assert may_fit(None, prefix)
    assert not may_fit([], prefix)
