"""Rooms: what agents and people say in them appears live, and can be sorted out."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, expect

from .panel import Panel
from .service import Jupyter, wait_for

Open = Callable[..., Panel]
Shoot = Callable[..., None]
MANY = 240


def post(server: Jupyter, room: str, content: str, agent: str = "Owl", kind: str = "note") -> None:
    server.post("postdoc/api/messages", room=room, content=content, agent=agent, kind=kind)


def messages(panel: Panel) -> Locator:
    return panel.root.get_by_role("log", name="Messages").get_by_role("article")


def enter(panel: Panel, room: str) -> None:
    panel.button("Rooms").click()
    panel.root.get_by_role("listitem").get_by_role("button", name=re.compile(f"^{room}")).click()
    expect(panel.root.get_by_role("region", name=f"Room {room}")).to_be_visible()


@pytest.fixture(scope="module")
def nest(lab: Jupyter) -> Jupyter:
    """A server with two rooms."""
    post(lab, "nest", "I look at the **data**.", "Barn", "status")
    post(lab, "nest", "Which year?", "Snowy", "question")
    post(lab, "nest", "The file is broken.", "Barn", "blocker")
    post(lab, "barn", "Hello.", "Barn")
    return lab


def test_messages_appear_live_in_two_windows(nest: Jupyter, open_panel: Open, shoot: Shoot) -> None:
    one = open_panel(nest)
    enter(one, "nest")
    said = messages(one)
    expect(said).to_have_count(3)
    expect(said.first).to_contain_text("I look at the data.")
    expect(said.first).to_have_accessible_name("Status from Barn")
    two = open_panel(nest, path="postdoc/rooms/nest")
    expect(messages(two)).to_have_count(3)
    post(nest, "nest", "1987, by the way", "Snowy", "result")
    for panel in (one, two):
        expect(messages(panel)).to_have_count(4)
        expect(messages(panel).last).to_contain_text("1987, by the way")
    shoot(one.page, "room")

    box = one.root.get_by_role("textbox", name="Message to nest")
    box.fill("Thank you, both")
    one.root.get_by_label("Kind of message").select_option("question")
    box.press("Enter")
    expect(messages(two).last).to_contain_text("Thank you, both")
    expect(messages(two).last).to_have_accessible_name(re.compile("^Question from "))
    expect(box).to_have_value("")
    last = nest.get("postdoc/api/messages?room=nest")[-1]
    assert (last["content"], last["kind"]) == ("Thank you, both", "question")
    one.page.reload()
    expect(messages(one)).to_have_count(5)


def test_agents_and_kinds_are_filtered(lab: Jupyter, open_panel: Open, shoot: Shoot) -> None:
    for agent, kind in (("Barn", "status"), ("Snowy", "status"), ("Barn", "blocker"), ("Barn", "hoot")):
        post(lab, "filtered", f"{kind} of {agent}", agent, kind)
    panel = open_panel(lab)
    enter(panel, "filtered")
    said = messages(panel)
    expect(said).to_have_count(4)
    panel.button("Filter").click()
    kinds, agents = panel.root.get_by_role("group", name="Kinds"), panel.root.get_by_role("group", name="Agents")
    kinds.get_by_role("button", name="Status").click()
    expect(said).to_have_count(2)
    agents.get_by_role("button", name="Snowy").click()
    expect(said).to_have_count(1)
    expect(said).to_contain_text("status of Snowy")
    post(lab, "filtered", "not wanted now", "Barn", "status")
    post(lab, "filtered", "one more", "Snowy", "status")
    expect(said).to_have_count(2)
    expect(said.last).to_contain_text("one more")
    expect(panel.root.get_by_text("2 of 6")).to_be_visible()
    shoot(panel.page, "room-filter")
    panel.button("Show all").click()
    expect(said).to_have_count(6)


def test_a_new_room_is_made_by_its_first_message(lab: Jupyter, open_panel: Open, shoot: Shoot) -> None:
    panel = open_panel(lab)
    panel.button("Rooms").click()
    name = panel.root.get_by_label("Name of a new room")
    name.fill("no/room")
    name.press("Enter")
    expect(panel.root.get_by_role("alert")).to_contain_text("A name has up to 59 letters")
    name.fill("fresh room")
    name.press("Enter")
    expect(panel.root).to_contain_text("Nothing has been said here yet.")
    shoot(panel.page, "room-new")
    panel.root.get_by_role("textbox", name="Message to fresh room").fill("I am the first.")
    panel.button("Send").click()
    expect(messages(panel)).to_have_count(1)
    post(lab, "fresh room", "And I the second.")
    expect(messages(panel).last).to_contain_text("And I the second.")
    assert "fresh room" in [room["room"] for room in lab.get("postdoc/api/rooms")]
    panel.button("All rooms and new ones").click()
    expect(panel.root.get_by_role("listitem").filter(has_text="fresh room")).to_be_visible()
    shoot(panel.page, "rooms")


def test_earlier_messages_are_loaded_and_the_place_is_kept(lab: Jupyter, open_panel: Open) -> None:
    for number in range(MANY):
        post(lab, "long", f"Message {number}.", f"Owl {number % 3}")
    panel = open_panel(lab)
    enter(panel, "long")
    said = messages(panel)
    expect(said.last).to_contain_text(f"Message {MANY - 1}.")
    expect(said.last).to_be_in_viewport()
    assert said.count() <= 200
    first = said.first.inner_text()
    while panel.button("Load earlier").is_visible():
        before = said.count()
        panel.button("Load earlier").click()
        wait_for(lambda before=before: said.count() > before)
    texts = [re.findall(r"Message \d+\.", text)[0] for text in said.all_inner_texts()]
    assert texts == [f"Message {number}." for number in range(MANY)]
    # Who reads further up is left there; that something came is said, and leads to it.
    old = said.filter(has_text=re.compile(re.findall(r"Message \d+", first)[0] + r"\.")).first
    old.scroll_into_view_if_needed()
    post(lab, "long", "Something new.")
    pill = panel.root.get_by_role("button", name=re.compile("New messages"))
    expect(pill).to_be_visible()
    expect(old).to_be_in_viewport()
    pill.click()
    expect(said.last).to_contain_text("Something new.")
    expect(said.last).to_be_in_viewport()
