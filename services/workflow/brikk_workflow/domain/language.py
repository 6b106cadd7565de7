"""The keys of the workflow language: their values, their limits, and what they are for.

The reader goes by these tables, and so do editors: the JSON Schema is made of them.
"""

from __future__ import annotations

from datetime import timedelta

from brikk_shared.selection import Policy
from brikk_workflow.domain.amounts import Join, Money, Part
from brikk_workflow.domain.definition import (
    AtMostOnce,
    Budget,
    Catch,
    Compensation,
    OnError,
    RetryPolicy,
    Step,
    StepTimeout,
    WorkflowDefinition,
)
from brikk_workflow.domain.kinds import (
    Bidding,
    CallStep,
    Case,
    EmitStep,
    FailStep,
    LoopStep,
    MapStep,
    OnTimeout,
    Quorum,
    ReturnStep,
    Select,
    SetStep,
    SignalStep,
    SwitchStep,
    Tolerance,
    WaitStep,
    WorkflowStep,
)
from brikk_workflow.domain.objects import Key, Object
from brikk_workflow.domain.shapes import (
    Duration,
    Form,
    Items,
    Number,
    Payload,
    Text,
    Texts,
    Whole,
    Word,
)
from brikk_workflow.domain.step_list import Steps

MAX_STEPS = 500
MAX_NESTING = 8
MAX_ITEMS = 10_000
MAX_ITERATIONS = 100_000
MAX_AGENTS = 100

_INSTANT = timedelta()
_TICK = timedelta(milliseconds=1)
_PULSE = timedelta(milliseconds=100)
_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)
_WEEK = timedelta(days=7)
_YEAR = timedelta(days=365)

_NAME = Text(
    longest=63,
    form=Form(
        "[a-z]([a-z0-9-]*[a-z0-9])?",
        "a name has letters a-z, digits and -, begins with a letter and does not end with -",
    ),
)
_STEP_ID = Text(
    longest=63,
    form=Form(
        "(?!(?:in|true|false|null|catch|compensate)$)[a-z][a-z0-9_]*",
        "an id has letters a-z, digits and _, begins with a letter and is no word of CEL, nor catch"
        " or compensate",
    ),
)
_VARIABLE = Text(
    longest=63,
    form=Form(
        "(?!(?:in|true|false|null|input|steps|execution|state|loop|as|break|const|continue|else|for"
        "|function|if|import|let|package|namespace|return|var|void|while)$)[a-z][a-z0-9_]*",
        "a variable has letters a-z, digits and _, begins with a letter, and is neither a word of"
        " CEL nor one of input, steps, execution, state and loop",
    ),
)
_CAPABILITY = Text(
    longest=128,
    varies=True,
    form=Form(
        "[a-z][a-z0-9_]*(\\.[a-z][a-z0-9_]*)*",
        "a capability is words of a-z, 0-9 and _ joined by dots, as in text.summarize",
    ),
)
_WORKFLOW = Text(longest=4096, varies=True, form=_NAME.form)
_CODE = Text(
    longest=63,
    form=Form(
        "[A-Z][A-Z0-9_]*", "codes and reasons are written in capitals, as in INVALID_ARGUMENT"
    ),
)
_SIGNAL = Text(
    longest=63,
    form=Form(
        "[a-z][a-z0-9_]*",
        "the name of a signal has letters a-z, digits and _, and begins with a letter",
    ),
)
_EVENT = Text(
    longest=63,
    form=Form(
        "[a-z][a-z0-9_]*(\\.[a-z][a-z0-9_]*)*",
        "the type of an event is words of a-z, 0-9 and _ joined by dots, as in order.placed",
    ),
)
_EXPRESSION = Text(longest=4096)
_NEEDED_EXPRESSION = Text(longest=4096, shortest=1)
_TEMPLATE = Text(longest=4096)
_SHORT_TEMPLATE = Text(longest=1024)
_MESSAGE = Text(longest=1000)
_VALUE = Payload(max_bytes=1 << 16, max_depth=16)
_MEMBERS = Payload(max_bytes=1 << 16, max_depth=16, is_object=True)
_SCHEMA = Payload(max_bytes=1 << 15, max_depth=16, is_object=True)
_CODES = Items(_CODE, 50)
_TOLERANCE = Part(Tolerance, 0, MAX_ITEMS)
QUORUM = Part(Quorum, 1, MAX_AGENTS)

RETRY = Object(
    RetryPolicy,
    Key("max_attempts", Whole(1, 10_000), "Attempts in all."),
    Key("initial", Duration(_INSTANT, _DAY), "Wait before the second attempt."),
    Key("multiplier", Number(1, 100), "Growth of the wait."),
    Key("max", Duration(_INSTANT, _WEEK), "Longest wait."),
    Key("jitter", Number(0, 1), "Share of the wait by which it varies at random, both ways."),
    Key("non_retryable", _CODES, "gRPC codes and reasons that are never retried."),
)
TIMEOUT = Object(
    StepTimeout,
    Key("schedule_to_start", Duration(_INSTANT, _YEAR), "Longest wait for a live agent."),
    Key("start_to_close", Duration(_TICK, _DAY), "Longest single call."),
    Key("schedule_to_close", Duration(_TICK, _YEAR), "Longest time for the whole step."),
    Key("heartbeat", Duration(_PULSE, _DAY), "Longest silence of an agent at work."),
)
BUDGET = Object(
    Budget,
    Key("calls", Whole(1, 10**9), "Most calls of agents, retries included."),
    Key("tokens", Whole(1, 10**12), "Most tokens of language models, as the agents report them."),
    Key("cost", Money(10**9), "Most money, as the agents report it.", "cost_micros"),
)
BIDDING = Object(
    Bidding,
    Key("timeout", Duration(_TICK, 5 * _MINUTE), "How long bids are waited for."),
    Key("score", _NEEDED_EXPRESSION, "CEL over `bid`; the highest wins."),
)
CALL = Object(
    CallStep,
    Key("capability", _CAPABILITY, "What the agent must be able to do.", required=True),
    Key("input", _MEMBERS, "What it is given; strings may hold ${expressions}."),
    Key("policy", Word(Policy), "How one of the live agents is chosen."),
    Key("affinity", _SHORT_TEMPLATE, "Calls with the same key go to the same agent."),
    Key("select", Word(Select), "Which of the live agents are called."),
    Key("quorum", QUORUM, "With `select: all`, how many must succeed: a number, or as 60%."),
    Key("max_agents", Whole(1, MAX_AGENTS), "Unless `select: one`, most that are called."),
    Key("selector", _SHORT_TEMPLATE, "Only agents whose labels match, as in region=eu,tier!=free."),
    Key("bids", BIDDING, "With `select: bids`, how bids are asked for and judged."),
)

STEPS = Steps(lambda: STEP, most=MAX_STEPS, deepest=MAX_NESTING)
_INNER = Key("steps", STEPS, "The steps.", required=True)

MAP = Object(
    MapStep,
    Key("over", _NEEDED_EXPRESSION, "CEL that gives the list of items.", required=True),
    Key("as", _VARIABLE, "Name of the variable that holds the item.", "variable"),
    Key("max_concurrency", Whole(1, 1000), "Most items at once."),
    Key("tolerate", _TOLERANCE, "How many items may fail: a number, or a share as 20%."),
    _INNER,
)
CASE = Object(
    Case,
    Key("when", _NEEDED_EXPRESSION, "CEL condition.", required=True),
    _INNER,
)
SWITCH = Object(
    SwitchStep,
    Key("cases", Items(CASE, 50, 1), "The first that holds runs.", required=True),
    Key("default", STEPS, "What runs when no case holds."),
)
LOOP = Object(
    LoopStep,
    Key("while", _EXPRESSION, "CEL condition, asked before each iteration.", "while_"),
    Key("until", _EXPRESSION, "CEL condition, asked after each iteration; it ends the loop."),
    Key("max_iterations", Whole(1, MAX_ITERATIONS), "Most iterations; beyond, the step fails."),
    Key("keep_last", Whole(1, 1000), "The output is the list of the last so many outputs."),
    _INNER,
)
WAIT = Object(
    WaitStep,
    Key("duration", Duration(_INSTANT, _YEAR), "How long."),
    Key("until", _TEMPLATE, "Until which time, as RFC 3339 writes it."),
)
SIGNAL = Object(
    SignalStep,
    Key("name", _SIGNAL, "Name of the signal.", required=True),
    Key("timeout", Duration(_TICK, _YEAR), "Longest wait."),
    Key("on_timeout", Word(OnTimeout), "What becomes of the step when no signal comes in time."),
)
WORKFLOW = Object(
    WorkflowStep,
    Key("workflow", _WORKFLOW, "ID of the workflow.", required=True),
    Key("version", Whole(1, 2**31 - 1), "Its version; the newest when absent."),
    Key("input", _MEMBERS, "What it is started with; strings may hold ${expressions}."),
)
EMIT = Object(
    EmitStep,
    Key("type", _EVENT, "The event is of type brikk.custom.<type>.v1.", required=True),
    Key("data", _MEMBERS, "What it says; strings may hold ${expressions}."),
)
SET = Object(
    SetStep,
    Key("values", _MEMBERS, "Members of `state` to write; others stay.", required=True),
    Key("if_version", _EXPRESSION, "CEL: the version that the state must have."),
)
FAIL = Object(
    FailStep,
    Key("reason", _CODE, "The reason, as in ORDER_REFUSED.", required=True),
    Key("message", _MESSAGE, "What happened; may hold ${expressions}."),
)
RETURN = Object(
    ReturnStep,
    Key("output", _VALUE, "The output of the execution; strings may hold ${expressions}."),
)
CATCH = Object(
    Catch,
    Key("errors", _CODES, "gRPC codes and reasons that it is for; none: any."),
    _INNER,
)
COMPENSATION = Object(
    Compensation,
    Key("call", CALL, "The call that undoes the step.", required=True),
    Key("retry", RETRY, "How often and how soon a failed attempt is repeated."),
    Key("timeout", TIMEOUT, "How long it may take."),
)
STEP: Object = Object(
    Step,
    Key("id", _STEP_ID, "Its name, unique in the workflow.", required=True),
    Key("after", Items(_STEP_ID, MAX_STEPS), "Steps that must be done before; else the one above."),
    Key("join", Join(MAX_STEPS), "How many of those must have succeeded: all, any or a number."),
    Key("when", _EXPRESSION, "CEL condition; false skips the step."),
    Key("call", CALL, "Calls agents.", "kind"),
    Key("map", MAP, "Runs steps for each item of a list.", "kind"),
    Key("switch", SWITCH, "Runs the steps of the first case that holds.", "kind"),
    Key("loop", LOOP, "Runs steps again and again.", "kind"),
    Key("wait", WAIT, "Waits for a time.", "kind"),
    Key("signal", SIGNAL, "Waits for a signal.", "kind"),
    Key("workflow", WORKFLOW, "Runs another workflow.", "kind"),
    Key("emit", EMIT, "Announces an event.", "kind"),
    Key("set", SET, "Writes the shared state.", "kind"),
    Key("fail", FAIL, "Fails.", "kind"),
    Key("return", RETURN, "Ends the execution with an output.", "kind"),
    Key("retry", RETRY, "How often and how soon a failed attempt is repeated."),
    Key("timeout", TIMEOUT, "How long it may take."),
    Key("at_most_once", Word(AtMostOnce), "Keeps a call of unknown outcome from being repeated."),
    Key("on_error", Word(OnError), "What its failure does that nobody catches."),
    Key("catch", Items(CATCH, 20), "What is done when it fails: the first that matches."),
    Key("compensate", COMPENSATION, "Undoes it when its execution fails."),
    Key("labels", Texts(Text(longest=63), 32), "Free labels."),
)
DEFINITION = Object(
    WorkflowDefinition,
    Key("name", _NAME, "Name of the workflow.", "id", required=True),
    Key("description", Text(longest=2000), "What it is for, in a sentence."),
    Key("input_schema", _SCHEMA, "JSON Schema that every input must match."),
    Key("timeout", Duration(_TICK, _YEAR), "Longest time that an execution may take."),
    Key("budget", BUDGET, "What an execution may use."),
    Key("concurrency", Whole(1, 100_000), "Most executions that run at once."),
    Key("steps", STEPS, "The steps.", required=True),
    Key("output", _VALUE, "What an execution returns; strings may hold ${expressions}."),
)
