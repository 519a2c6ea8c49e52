"""The service in a process of its own, so that a test may choose its PATH and environment.

``python -m tests.agent.child HOME JOBS`` carries out the jobs (JSON), each in a service built anew:
``{"config"?, "research": fields}`` or ``{"config"?, "resume": chat}``. It prints what came of them:
``[{"chat", "state", "events", "health"}, …]``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from tests.agent.support import ANA, research, serving, settled

from jupyterlab_postdoc import protocol


async def main(home: Path, jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    done = []
    for job in jobs:
        async with serving(home, **job.get("config", {})) as services:
            chat = job.get("resume")
            if chat is None:
                chat = await research(services, **{"provider": "template", **job["research"]})
            else:
                await services.sessions.submit(ANA, protocol.Resume(chatId=chat))
            events = await settled(services, chat)
            shown = await services.sessions.get(ANA, chat)
            health = await services.sessions.health(ANA)
            done.append({"chat": chat, "state": shown["state"], "events": events, "health": health["parts"]})
    return done


if __name__ == "__main__":
    json.dump(asyncio.run(main(Path(sys.argv[1]), json.loads(sys.argv[2]))), sys.stdout)
