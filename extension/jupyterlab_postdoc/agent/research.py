"""A research run from topic to repository: choose the template, prepare the project, converse, complete, publish."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jupyterlab_postdoc.agent import hand
from jupyterlab_postdoc.agent.acts import ask_user
from jupyterlab_postdoc.agent.agent import Agent
from jupyterlab_postdoc.agent.history import read_history
from jupyterlab_postdoc.agent.lab import SYNTHETIC, Lab, data_file
from jupyterlab_postdoc.agent.loop import Ending, converse
from jupyterlab_postdoc.agent.means import Means, Mission
from jupyterlab_postdoc.agent.prompts import research_prompt, system_prompt
from jupyterlab_postdoc.agent.workplace import Workplace
from jupyterlab_postdoc.errors import HTTP_STATUS, PostdocError
from jupyterlab_postdoc.forge import repository
from jupyterlab_postdoc.protocol import AgentStatus
from jupyterlab_postdoc.providers.base import ToolOutcome, Turn
from jupyterlab_postdoc.runs import RunContext
from jupyterlab_postdoc.templates import Template
from jupyterlab_postdoc.tools.project import Project

__all__ = ["BUDGETS", "SYNTHETIC", "Lab", "Outcome", "ResearchRun", "data_file"]

BUDGETS = ("max_turns", "budget", "stuck")
NEEDED = ("nb_edit", "nb_run", "finish")
"""Without these tools no study comes to its end."""
KEPT = "Everything made so far is kept and committed."


@dataclass(frozen=True)
class Outcome:
    """What a research run came to. ``code`` and ``hint`` say why it failed, when it did."""

    success: bool
    stop_reason: str
    summary: str
    verdict: dict[str, Any] | None
    artifacts: dict[str, str]
    code: str = ""
    hint: str = ""


class ResearchRun:
    """One execution of a research run. Every part of it is a journalled step, so it may begin again at any time."""

    def __init__(self, ctx: RunContext, lab: Lab, means: Means, base_prompt: str) -> None:
        self.ctx = ctx
        self.lab = lab
        self.means = means
        self.base_prompt = base_prompt
        self.agent: Agent | None = None
        self.workplace = Workplace(ctx, lab, means)
        ctx.provider = means.provider.id

    @property
    def project(self) -> Project | None:
        """The project, as soon as there is one."""
        return self.workplace.project

    @property
    def _continues(self) -> bool:
        checkout = self.workplace.checkout
        return checkout is not None and checkout.continues

    async def execute(self) -> Outcome:
        """Do the research. Raises Paused, Stopped and Yielded; a failure that a person should read is an Outcome."""
        given = self.ctx.run.input
        self._check_tools()
        await self.ctx.emit(AgentStatus(message="Preparing the research project", phase="prepare"))
        template = await self._template(given)
        asked = given.get("params") or {}
        parameters = dict(asked)
        if template is not None:
            complete = template.validate_parameters(asked)
            # A model chooses the rest itself when it begins with the template.
            parameters = {name: complete[name] for name in asked} if self.means.speaks else complete
        await hand.wait(self.ctx)  # the session's notebook will be another one: not while a person has this one
        try:
            project = await self.workplace.prepare(given, template, parameters)
            ending = await self._work(project, template, given)
            await hand.wait(self.ctx)
            return await self._complete(project, ending)
        finally:
            if self.project is not None:
                await self.project.notebook.close()

    async def keep(self, ending: repository.Outcome) -> dict[str, str] | None:
        """After a stop or a failure: commit what lies there (see :meth:`Workplace.keep`)."""
        return await self.workplace.keep(ending)

    def _check_tools(self) -> None:
        """A persona that cannot write a notebook would use up its turns for nothing."""
        lacking = [name for name in NEEDED if self.means.tools.get(name) is None] if self.means.speaks else []
        if lacking:
            raise PostdocError(
                "forbidden",
                f"The persona {self.means.persona.title} may not use {', '.join(lacking)}, which research needs.",
                next="Start the research in a chat with another persona, for example the default one.",
            )

    # --- which template ---

    async def _template(self, given: Mapping[str, Any]) -> Template | None:
        """The template that was asked for or that fits. None only when a model works, which needs none."""
        templates = self.lab.templates

        async def choose() -> str | None:
            if given.get("template"):
                return templates.get(str(given["template"])).name
            found = templates.match(str(given["topic"]))
            return found.name if found else None

        name = await self.ctx.step("template", choose)
        attempt = 0
        while name is None:
            if self.means.speaks:
                return None
            name = await self._ask_for_template(str(given["topic"]), attempt)
            attempt += 1
        return templates.get(name)

    async def _ask_for_template(self, topic: str, attempt: int) -> str | None:
        known = [template.name for template in self.lab.templates.list()]
        found = self.lab.templates.candidates(topic)
        why = "Several research templates fit" if found else "No research template fits"
        again = "That is not the name of a template. " if attempt else ""
        question = f"{again}{why} the topic “{topic[:200]}”. Which one shall be used?"
        answer = await ask_user(self.ctx, f"template-{attempt}", question, known)
        return answer.strip() if answer.strip() in known else None

    # --- the work ---

    async def _work(self, project: Project, template: Template | None, given: Mapping[str, Any]) -> Ending:
        study = project.study
        task: dict[str, Any] = {
            "topic": study.topic,
            "template": template.name if template is not None else None,
            "parameters": dict(study.parameters),
            "repo_name": study.repo_name,
            "study": {"session": study.session, "repository": study.repo_name, "created": _date(study.created)},
        }
        mission = Mission(task=task, prompt=study.topic, project=project)
        if self.means.speaks:
            mission = await self._briefed(mission, project, template, given)
        resources = replace(self.means.resources, templates=self.lab.templates)
        agent = self.agent = Agent(self.ctx, replace(self.means, resources=resources), mission)
        # A single long run of the notebook must not outlast the budget either; one second is left to say so.
        project.notebook_timeout_s = min(project.notebook_timeout_s, agent.limits.seconds_left() + 1)
        ending = await converse(agent)
        if ending.stop_reason in ("max_turns", "budget") and not ending.text:
            ending = replace(ending, text=agent.limits.sentence(ending.stop_reason))
        return ending

    async def _briefed(
        self, mission: Mission, project: Project, template: Template | None, given: Mapping[str, Any]
    ) -> Mission:
        """What a model is told before it begins."""
        templates = self.lab.templates
        earlier, through = await read_history(self.ctx.log.store, self.ctx.session, before_run=self.ctx.run.id)
        system = system_prompt(
            self.means.persona, base=self.base_prompt, project=project, templates=templates, tools=self.means.tools
        )
        asked = {**given, "params": dict(project.study.parameters)}
        prompt = research_prompt(asked, template, templates, continues=self._continues)

        async def digests() -> dict[str, str]:
            return {"system": _sha256(system), "task": _sha256(prompt)}

        project.study = replace(project.study, prompts=await self.ctx.step("prompts", digests))
        return replace(
            mission,
            prompt=prompt,
            system=system,
            earlier=earlier,
            through=through,
            must_finish=True,
        )

    async def _complete(self, project: Project, ending: Ending) -> Outcome:
        """README, provenance, last commit, publication; then the outcome in words."""
        assert self.agent is not None
        success, code, sentence, hint = _judge(ending, _failed_call(self.agent.turns), model=self.means.speaks)
        state = repository.Outcome() if success else repository.Outcome("failed", sentence)
        message = "Describe the study" if success else "Describe what was done so far"
        artifacts = await self.workplace.conclude(message, state)
        verdict = project.verdict() if success else None
        summary = str((verdict or {}).get("summary") or sentence or "The run ended without a result.")
        return Outcome(success, ending.stop_reason, summary, verdict, artifacts, code, hint)


def _judge(ending: Ending, failed: ToolOutcome | None, *, model: bool) -> tuple[bool, str, str, str]:
    """Success, else the error's code, a sentence that says why, and what to do next."""
    if ending.finished:
        return True, "", ending.text, ""
    if ending.stop_reason in BUDGETS:
        again = "Send a message to go on from here, or start" if model else "Start"
        return False, "budget_exceeded", ending.text, f"{KEPT} {again} again with a larger budget."
    if ending.stop_reason == "refusal":
        sentence = "The model declined to go on with this topic, so there is no result."
        return False, "provider_refusal", sentence, f"{KEPT} Put the topic in other words, or choose another model."
    if ending.stop_reason in ("max_tokens", "model_context_window_exceeded"):
        sentence = "The model's reply was longer than it may be, several times, so the study did not come to its end."
        return False, "provider_stream_error", sentence, f"{KEPT} Send a message to go on from here in smaller steps."
    if model:
        word = f" It said last: {ending.text.strip()[:500]}" if ending.text.strip() else ""
        sentence = f"The model ended its work without a verdict from a notebook that has run.{word}"
        return False, "notebook_failed", sentence, f"{KEPT} Send a message that says what to do about it."
    code = str(failed.data.get("code", "")) if failed is not None else ""
    code = code if code in HTTP_STATUS else "notebook_failed"
    return False, code, ending.text or ending.stop_reason, f"{KEPT} Correct the input and start again."


def _failed_call(turns: Sequence[Turn]) -> ToolOutcome | None:
    """What a failed study failed of: in the last turn in which something went wrong, the first call that did."""
    for turn in reversed(turns):
        for call in turn.calls:
            if call.id in turn.results and not turn.results[call.id].ok:
                return turn.results[call.id]
    return None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _date(ts: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(ts))
