"""Personas: the built-in ones, a user's file, what a persona may use and what it has to ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jupyterlab_postdoc.agent.personas import DEFAULT_POLICY, Personas
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.tools.registry import BUILT_IN


def write(path: Path, text: str) -> Personas:
    path.write_text(text)
    return Personas(path)


def test_the_built_in_personas() -> None:
    personas = Personas()
    assert [persona.name for persona in personas.list()] == ["researcher", "analyst", "reviewer", "assistant"]
    assert personas.get(None).name == "researcher"
    for persona in personas.list():
        assert "system_prompt" not in persona.describe()
        assert len(persona.system_prompt) > 200


def test_reviewer_and_assistant_change_nothing() -> None:
    for name in ("reviewer", "assistant"):
        persona = Personas().get(name)
        allowed = {tool.name: tool.risk for tool in BUILT_IN if persona.allows(tool.name)}
        assert "nb_cells" in allowed
        assert set(allowed.values()) == {"read"}


def test_the_researcher_may_use_everything_and_asks_before_something_leaves_the_machine() -> None:
    persona = Personas().get("researcher")
    for tool in BUILT_IN:
        assert persona.allows(tool.name)
        assert persona.policy(tool.name, tool.risk) == ("ask" if tool.risk == "outside" else "auto")
    assert persona.allows("web_search")
    assert persona.policy("mcp__papers__search", "outside") == "ask"
    assert persona.policy("new", "a risk nobody knows") == "ask"
    assert set(DEFAULT_POLICY) == {"read", "write", "execute", "outside"}


def test_the_most_specific_rule_counts(tmp_path: Path) -> None:
    persona = write(
        tmp_path / "p.yaml",
        """
careful:
  title: Careful
  system_prompt: Be careful.
  tools: ["nb_*", shell, "mcp__*"]
  effort: xhigh
  thinking: false
  approvals:
    execute: ask
    write: never
    "mcp__*": never
    "mcp__papers__*": ask
    mcp__papers__search: auto
    nb_edit: auto
""",
    ).get("careful")
    assert (persona.effort, persona.thinking) == ("xhigh", False)
    assert [persona.policy(*call) for call in (("shell", "execute"), ("nb_run", "execute"))] == ["ask", "ask"]
    assert persona.policy("nb_edit", "write") == "auto"
    assert persona.policy("nb_create", "write") == "never"
    assert persona.policy("nb_cells", "read") == "auto"
    assert persona.policy("mcp__other__x", "read") == "never"
    assert persona.policy("mcp__papers__cite", "outside") == "ask"
    assert persona.policy("mcp__papers__search", "outside") == "auto"
    assert persona.allows("nb_run")
    assert persona.allows("mcp__papers__search")
    assert not persona.allows("mcp__other__x")
    assert not persona.allows("read_file")
    assert not persona.allows("web_search")


def test_a_users_file_adds_replaces_chooses_the_default_and_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    personas = write(file, "mine: {title: Mine, system_prompt: I am yours., default: true}\n")
    assert personas.get(None).title == "Mine"
    assert personas.get("researcher").title == "Researcher"
    file.write_text("researcher: {title: Another, system_prompt: Somebody else., default: true}\n")
    os.utime(file, ns=(1, 1))
    assert personas.get(None).title == "Another"
    with pytest.raises(PostdocError, match="no persona"):
        personas.get("mine")
    file.write_text("# nothing yet\n")
    assert personas.get(None).title == "Researcher"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1\n", ["line 2"]),
        ("- a\n- b\n", ["one entry per persona"]),
        ("a: 5\n", ["'a'", "title"]),
        ("7: {title: T, system_prompt: P}\n", ["'7'", "quotation marks"]),
        ("a: {title: T}\n", ["'a'", "system_prompt"]),
        ("a: {title: T, system_prompt: P, effort: huge}\n", ["'a'", "huge", "effort"]),
        ("a: {title: T, system_prompt: P, tools: shell}\n", ["'a'", "tools"]),
        ("a: {title: T, system_prompt: P, approvals: {shell: perhaps}}\n", ["'a'", "perhaps", "approvals"]),
        ("a: {title: T, system_prompt: P, colour: red}\n", ["'a'", "colour"]),
        ("a: {title: T, system_prompt: P, name: b}\n", ["'a'", "name"]),
        ("a: !!python/object:os.system {}\n", ["python/object"]),
        ("\x00", ["not a YAML text file"]),
    ],
)
def test_a_broken_file_says_what_is_wrong_where(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(PostdocError) as caught:
        write(tmp_path / "mine.yaml", text).list()
    assert caught.value.code == "bad_message"
    for word in ["mine.yaml", *words]:
        assert word in caught.value.message
    assert "\n" not in caught.value.message
    assert "personas_file" in caught.value.next


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(PostdocError, match="cannot be read: No such file"):
        Personas(tmp_path / "none.yaml").list()
