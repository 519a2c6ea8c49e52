"""What a study is, as far as its repository's files are concerned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One finished step of the run: journal key, a few words, and its commit (None: nothing changed).

    ``run`` is None for the run that made the study, else the later one that changed it.
    """

    key: str
    title: str
    commit: str | None = None
    run: str | None = None


@dataclass(frozen=True, slots=True)
class Revision:
    """A later run in which a language model changed the study; ``at`` is UNIX seconds."""

    run: str
    model: str
    persona: str
    at: float


@dataclass(frozen=True, slots=True)
class Study:
    """All that the repository's files are written from; same study, same bytes.

    ``created`` and ``finished`` are UNIX seconds; ``requires`` are import names (template.yaml's ``requires``);
    ``title`` is the template's title; ``author`` the user's display name; ``plan`` the planned steps in words;
    ``references`` have ``text`` and ``doi`` or ``url``. A study that a language model wrote has no ``title``, and a
    ``template`` only when it began with one. ``home`` is the web address of the repository once it is published, and
    ``branch`` the study's branch there; ``pages``: a workflow publishes the report as a site.
    ``prompts`` are the sha256 of what a model was told first (``system``, ``task``). ``origins`` are the sessions that
    made the study up to the checkpoint from which this session goes on (``forked_at``), the first one first.

    In somebody's repository ``readme`` is the file that describes the study, and ``theirs`` are paths that are not the
    study's to write, whether they exist or not.
    """

    topic: str
    title: str
    repo_name: str
    template: str
    template_version: str
    provider: str
    session: str
    run: str
    author: str
    created: float
    parameters: Mapping[str, Any] = field(default_factory=dict)
    requires: Sequence[str] = ()
    plan: Sequence[str] = ()
    references: Sequence[Mapping[str, str]] = ()
    model: str | None = None
    steps: Sequence[StepRecord] = ()
    finished: float | None = None
    persona: str = ""
    revisions: Sequence[Revision] = ()
    home: str = ""
    branch: str = ""
    pages: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict)
    readme: str = "README.md"
    theirs: Sequence[str] = ()
    origins: Sequence[str] = ()
    forked_at: str = ""

    def may_write(self, path: str) -> bool:
        """Whether a file that is made for the study may lie there."""
        return path.casefold() not in {one.casefold() for one in self.theirs}

    @property
    def by_model(self) -> bool:
        """Whether a language model wrote it; the template provider is none."""
        return self.provider != "template"

    @property
    def used_model(self) -> bool:
        """Whether a language model took part."""
        return self.by_model or bool(self.revisions)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the run ended: ``done``, ``running``, ``failed`` or ``stopped``, with a sentence that says why.

    ``changed``: a later run changed the notebook and did not run it to its end.
    """

    state: str = "done"
    reason: str = ""
