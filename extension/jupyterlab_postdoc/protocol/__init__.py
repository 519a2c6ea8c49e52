"""The wire types: what a client may send, what an event holds, and how both look as bytes.

This package imports nothing else of ours. An event body is a frozen msgspec struct whose ``type`` tag is part of its
JSON; an :class:`Event` is such a body at its place (``seq``) in the log of one session. The store keeps the encoded
body and a replay ships those bytes without parsing them: :meth:`Event.frame` only puts the head in front.
"""

from __future__ import annotations

from .basics import ENVELOPE_SUBPROTOCOL as ENVELOPE_SUBPROTOCOL
from .basics import MAX_CONTENT as MAX_CONTENT
from .basics import MAX_DEPTH as MAX_DEPTH
from .basics import MAX_FRAME as MAX_FRAME
from .basics import MAX_INBOUND as MAX_INBOUND
from .basics import VERSION as VERSION
from .basics import Content as Content
from .basics import Id as Id
from .basics import Name as Name
from .basics import encode as encode
from .basics import iso as iso
from .basics import new_id as new_id
from .commands import COMMAND_TYPES as COMMAND_TYPES
from .commands import COMMANDS as COMMANDS
from .commands import Budget as Budget
from .commands import Chat as Chat
from .commands import Command as Command
from .commands import Fork as Fork
from .commands import Hello as Hello
from .commands import Ping as Ping
from .commands import Post as Post
from .commands import Publish as Publish
from .commands import QueueCancel as QueueCancel
from .commands import QueueUpdate as QueueUpdate
from .commands import Research as Research
from .commands import Respond as Respond
from .commands import Resume as Resume
from .commands import SessionSet as SessionSet
from .commands import Stop as Stop
from .commands import Subscribe as Subscribe
from .commands import Unsubscribe as Unsubscribe
from .control import CONTROL_TYPES as CONTROL_TYPES
from .control import Ack as Ack
from .control import Bye as Bye
from .control import ChatInfo as ChatInfo
from .control import ConnectionLimits as ConnectionLimits
from .control import Control as Control
from .control import Done as Done
from .control import History as History
from .control import Person as Person
from .control import Pong as Pong
from .control import Published as Published
from .control import Received as Received
from .control import RequestError as RequestError
from .control import Reset as Reset
from .control import SessionChanged as SessionChanged
from .control import SessionList as SessionList
from .control import Welcome as Welcome
from .events import EVENT_TYPES as EVENT_TYPES
from .events import AgentStatus as AgentStatus
from .events import Answered as Answered
from .events import ApprovalRequest as ApprovalRequest
from .events import ApprovalResolved as ApprovalResolved
from .events import Artifact as Artifact
from .events import AssistantMessage as AssistantMessage
from .events import Body as Body
from .events import Cell as Cell
from .events import ContextSummary as ContextSummary
from .events import Error as Error
from .events import Event as Event
from .events import FromRun as FromRun
from .events import ImageRef as ImageRef
from .events import Plan as Plan
from .events import PlanItem as PlanItem
from .events import Publication as Publication
from .events import Question as Question
from .events import QueueChanged as QueueChanged
from .events import Result as Result
from .events import SessionState as SessionState
from .events import Thinking as Thinking
from .events import Token as Token
from .events import ToolInput as ToolInput
from .events import ToolOutput as ToolOutput
from .events import ToolResult as ToolResult
from .events import ToolUse as ToolUse
from .events import Usage as Usage
from .events import UserMessage as UserMessage
from .events import type_of as type_of
from .publication import Checks as Checks
from .publication import Finding as Finding
from .publication import Problem as Problem
from .publication import PublishedBranch as PublishedBranch
from .publication import PublishedRepository as PublishedRepository
from .publication import PublishStep as PublishStep
from .publication import PullRequest as PullRequest
from .publication import Review as Review
from .schema import Envelope as Envelope
from .schema import Head as Head
from .schema import json_schema as json_schema
