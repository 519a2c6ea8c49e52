async def test_smoke(http, connect):
    r = await http("GET", "api/chats")
    print(r.status, r.headers, r.body)
    r = await http("POST", "api/chats", body={"title": "x"})
    print(r.status, r.headers, r.body)
    id = r.json["id"]
    for m, p, b in [
        ("POST", f"api/chats/{id}/messages", {"content": "hi"}),
        ("GET", f"api/chats/{id}/messages", None),
        ("GET", "api/health", None),
        ("GET", f"api/chats/{id}/report", None),
        ("GET", "nope", None),
        ("GET", "api/agents.md", None),
        ("POST", "api/messages", {"content": "x", "agent": "a"}),
        ("GET", "api/messages", None),
        ("GET", "assets/0.25.2/index.html", None),
        ("GET", f"api/chats/{id}/events?after=0", None),
        ("GET", f"api/chats/{id}/events?after=abc", None),
        ("PUT", f"api/chats/{id}", {}),
    ]:
        r = await http(m, p, body=b)
        print(m, p, r.status, r.body[:200])
    r = await http("GET", "api/chats", auth=False)
    print(r.status, r.body)
    c = await connect()
    for f in [
        {"type": " Hello ", "caps": ["batch"]},
        {"type": "subscribe", "chatId": id},
        {"type": "chat", "chatId": id, "content": "x"},
        {"type": "bogus"},
        "[1",
        "[1]",
        "{}{}",
    ]:
        print(f, await c.ask(f))
    print(await c.receive())
    assert 0
