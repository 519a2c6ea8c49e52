"""One message of a free chat: answered with what the session has, a project or only words."""

from __future__ import annotations

from dataclasses import replace

from jupyterlab_postdoc.agent import hand
from jupyterlab_postdoc.agent.agent import Agent
from jupyterlab_postdoc.agent.history import read_history
from jupyterlab_postdoc.agent.lab import Lab
from jupyterlab_postdoc.agent.loop import Ending, converse
from jupyterlab_postdoc.agent.means import Means, Mission
from jupyterlab_postdoc.agent.prompts import system_prompt
from jupyterlab_postdoc.agent.workplace import Workplace
from jupyterlab_postdoc.forge import repository
from jupyterlab_postdoc.runs import RunContext
from jupyterlab_postdoc.store.base import SessionRow


class ChatRun:
    """One execution of a chat run. ``artifacts`` are those of the session's project, when the run changed it."""

    def __init__(self, ctx: RunContext, lab: Lab, means: Means, base_prompt: str) -> None:
        self.ctx = ctx
        self.lab = lab
        self.means = means
        self.base_prompt = base_prompt
        self.agent: Agent | None = None
        self.artifacts: dict[str, str] | None = None
        self.workplace = Workplace(ctx, lab, means)

    async def execute(self, session: SessionRow) -> Ending:
        """Answer the message. Raises Paused, Stopped and Yielded; PostdocError when the model fails for good."""
        project = await self.workplace.reopen(session)
        try:
            # `finish` ends a study; an answer ends by itself.
            tools = self.means.tools.where(
                lambda tool: tool.name != "finish" and (project is not None or not tool.needs_project)
            )
            resources = replace(self.means.resources, templates=self.lab.templates)
            earlier, through = await read_history(self.ctx.log.store, session.id, before_run=self.ctx.run.id)
            mission = Mission(
                task=self.ctx.run.input,
                prompt=str(self.ctx.run.input["content"]),
                system=system_prompt(
                    self.means.persona,
                    base=self.base_prompt,
                    project=project,
                    templates=self.lab.templates,
                    tools=tools,
                ),
                project=project,
                earlier=earlier,
                through=through,
            )
            self.agent = Agent(self.ctx, replace(self.means, tools=tools, resources=resources), mission)
            ending = await converse(self.agent)
            if project is not None and project.changed:
                await hand.wait(self.ctx)
            self.artifacts = await self.workplace.conclude_revision()
            return ending
        finally:
            if project is not None:
                await project.notebook.close()

    async def keep(self, ending: repository.Outcome) -> dict[str, str] | None:
        """After a stop or a failure: commit what lies there."""
        return await self.workplace.keep(ending)
