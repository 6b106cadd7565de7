"""The JSON form in which definitions are stored."""

class _RetryJson(TypedDict):
    max_attempts: int
    initial: int
    multiplier: float
    max: int
    jitter: float
    non_retryable: list[str]


class _TimeoutJson(TypedDict):
    schedule_to_start: int
    start_to_close: int
    schedule_to_close: int | None
    heartbeat: NotRequired[int]


class _StepJson(TypedDict):
    id: str
    after: list[str]
    when: str
    capability: str
    input: Mapping[str, Json]
    policy: NotRequired[str]
    retry: _RetryJson
    timeout: _TimeoutJson
    at_most_once: NotRequired[str]


class _BudgetJson(TypedDict):
    calls: int | None
    tokens: int | None
    cost_micros: int | None


class DefinitionJson(TypedDict):
    """The stored form; durations are whole microseconds.

    What came later is left out at its default, so that definitions stored before it stay equal.
    """

    id: str
    description: str
    input_schema: Mapping[str, Json] | None
    timeout: int
    budget: NotRequired[_BudgetJson]
    concurrency: NotRequired[int]
    steps: list[_StepJson]
    output: Json


def definition_to_json(definition: WorkflowDefinition) -> DefinitionJson:
    """Return the stored form, which `json.dumps` takes as it is."""
    json = DefinitionJson(
        id=definition.id,
        description=definition.description,
        input_schema=definition.input_schema,
        timeout=_microseconds(definition.timeout),
        steps=[_step_to_json(step) for step in definition.steps],
        output=definition.output,
    )
    budget = definition.budget
    if budget != Budget():
        json["budget"] = _BudgetJson(
            calls=budget.calls, tokens=budget.tokens, cost_micros=budget.cost_micros
        )
    if definition.concurrency is not None:
        json["concurrency"] = definition.concurrency
    return json


def definition_from_json(stored: DefinitionJson) -> WorkflowDefinition:
    """Return the definition that `definition_to_json` was given; it is not checked again."""
    budget = stored.get("budget")
    return WorkflowDefinition(
        id=stored["id"],
        description=stored["description"],
        input_schema=stored["input_schema"],
        timeout=timedelta(microseconds=stored["timeout"]),
        budget=Budget() if budget is None else Budget(**budget),
        concurrency=stored.get("concurrency"),
        steps=tuple(_step_from_json(step) for step in stored["steps"]),
        output=stored["output"],
    )


def _step_to_json(step: Step) -> _StepJson:
    retry, timeout = step.retry, step.timeout
    close = timeout.schedule_to_close
    json = _StepJson(
        id=step.id,
        after=list(step.after),
        when=step.when,
        capability=step.call.capability,
        input=step.call.input,
        retry=_RetryJson(
            max_attempts=retry.max_attempts,
            initial=_microseconds(retry.initial),
            multiplier=retry.multiplier,
            max=_microseconds(retry.max),
            jitter=retry.jitter,
            non_retryable=list(retry.non_retryable),
        ),
        timeout=_TimeoutJson(
            schedule_to_start=_microseconds(timeout.schedule_to_start),
            start_to_close=_microseconds(timeout.start_to_close),
            schedule_to_close=None if close is None else _microseconds(close),
        ),
    )
    if timeout.heartbeat is not None:
        json["timeout"]["heartbeat"] = _microseconds(timeout.heartbeat)
    if step.at_most_once is not None:
        json["at_most_once"] = step.at_most_once.value
    if step.call.policy is not Policy.BEST:
        json["policy"] = step.call.policy.value
    return json


def _step_from_json(stored: _StepJson) -> Step:
    retry, timeout = stored["retry"], stored["timeout"]
    close, heartbeat = timeout["schedule_to_close"], timeout.get("heartbeat")
    at_most_once = stored.get("at_most_once")
    return Step(
        id=stored["id"],
        after=tuple(stored["after"]),
        when=stored["when"],
        call=CallStep(
            capability=stored["capability"],
            input=stored["input"],
            policy=Policy(stored.get("policy", Policy.BEST)),
        ),
        retry=RetryPolicy(
            max_attempts=retry["max_attempts"],
            initial=timedelta(microseconds=retry["initial"]),
            multiplier=retry["multiplier"],
            max=timedelta(microseconds=retry["max"]),
            jitter=retry["jitter"],
            non_retryable=tuple(retry["non_retryable"]),
        ),
        timeout=StepTimeout(
            schedule_to_start=timedelta(microseconds=timeout["schedule_to_start"]),
            start_to_close=timedelta(microseconds=timeout["start_to_close"]),
            schedule_to_close=None if close is None else timedelta(microseconds=close),
            heartbeat=None if heartbeat is None else timedelta(microseconds=heartbeat),
        ),
        at_most_once=None if at_most_once is None else AtMostOnce(at_most_once),
    )


def _microseconds(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1)
