"""Search by words: what is found, in which order, after whatever came and went."""

from __future__ import annotations

import re

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from brikk_discovery.domain.agent import Capability, Definition, Service
from brikk_discovery.domain.text_index import Match, TextIndex
from support.search_set import definitions, questions

BAR = 0.7


def service(service_id: str, *capabilities: Capability, description: str = "") -> Service:
    return Service(
        service_id=service_id,
        description=description,
        capabilities=capabilities or (Capability(name="some.thing"),),
    )


def definition(*services: Service, display_name: str = "", port: int = 9000) -> Definition:
    return Definition(
        display_name=display_name, endpoint=f"127.0.0.1:{port}", labels={}, services=services
    )


WEATHER = definition(
    service(
        "weather",
        Capability(name="weather.current", description="How warm it is now."),
        Capability(name="weather.forecast", tags=("rain",)),
    )
)
TRANSLATOR = definition(
    service("translation", Capability(name="text.translate", examples=("Put this into French",)))
)


def index_of(**agents: Definition) -> TextIndex:
    index = TextIndex()
    for agent_id, each in agents.items():
        index.put(agent_id, each)
    return index


def found(matches: list[Match]) -> list[str]:
    return [match.agent_id for match in matches]


def test_people_find_services_in_their_own_words() -> None:
    index = TextIndex()
    for agent_id, each in definitions():
        index.put(agent_id, each)
    asked = questions()
    hits = sum(wanted in found(index.search(question, 5)) for question, wanted in asked)
    assert len(asked) >= 60
    assert len(index) >= 60
    assert hits / len(asked) >= BAR


def test_every_part_of_a_service_is_searched() -> None:
    index = index_of(
        target=definition(
            service(
                "alpha",
                Capability(
                    name="bravo.charlie_delta",
                    description="Echo.",
                    tags=("foxtrot",),
                    examples=("Golf hotel",),
                ),
                description="India.",
            ),
            display_name="Juliet",
        ),
        other=WEATHER,
    )
    for word in re.findall(
        r"\w+", "alpha bravo charlie delta echo foxtrot golf hotel india juliet"
    ):
        assert found(index.search(word, 5)) == ["target"], word
    assert index.search("kilo", 5) == []
    assert index.search("what can it do", 5) == []


def test_names_tell_more_than_prose() -> None:
    index = index_of(
        named=definition(service("invoices")),
        told=definition(service("other", description="Has to do with invoices, among others.")),
    )
    best, second = index.search("invoice", 5)
    assert (best.agent_id, second.agent_id) == ("named", "told")
    assert best.score > second.score > 0


def test_rare_words_tell_more_than_common_ones() -> None:
    index = index_of(
        **{f"text-{n}": definition(service(f"text-{n}")) for n in range(5)},
        rare=definition(service("translation")),
    )
    assert found(index.search("text translation", 1)) == ["rare"]


def test_a_service_is_not_worse_for_offering_more() -> None:
    many = [Capability(name=f"other.thing_{n}", description="Long prose.") for n in range(50)]
    index = index_of(
        broad=definition(service("broad", *many, Capability(name="image.resize"))),
        vague=definition(service("vague", description="Has also images, if it must.")),
    )
    assert found(index.search("resize an image", 2)) == ["broad", "vague"]


def test_capabilities_that_match_by_themselves_come_best_first() -> None:
    [match] = index_of(a=WEATHER).search("will it rain: weather forecast", 5)
    assert match.capabilities == ("weather.forecast", "weather.current")
    [match] = index_of(a=WEATHER).search("warm", 5)
    assert match.capabilities == ("weather.current",)


def test_schemas_are_neither_searched_nor_returned() -> None:
    schema = '{"properties":{"zebra":{}}}'
    index = index_of(
        a=definition(service("x", Capability(name="a.b", input_schema=schema, output_schema="{}")))
    )
    assert index.search("zebra", 5) == []
    [match] = index.search("x", 5)
    assert match.service == service("x", Capability(name="a.b"))


def test_suspects_come_after_others_that_say_the_same_or_match_as_well() -> None:
    index = index_of(doubtful=TRANSLATOR, sound=TRANSLATOR)
    index.put("doubtful", TRANSLATOR, suspect=True)
    first, second = index.search("translate", 5)
    assert (first.agent_id, second.agent_id) == ("sound", "doubtful")
    assert first.score > second.score
    index.put("lone", definition(service("translators")), suspect=True)
    index.put("other", definition(service("translation")))
    assert found(index.search("translation", 5))[-1] == "lone"
    index.put("doubtful", TRANSLATOR)
    index.put("lone", definition(service("translators")))
    assert len({match.score for match in index.search("french", 5)}) == 1


def test_replicas_give_way_to_others_when_there_is_not_room_for_all() -> None:
    index = index_of(
        **{f"replica-{n}": TRANSLATOR for n in range(5)},
        other=definition(service("dictionary", description="Translates single words.")),
    )
    assert len(index.search("translate", 10)) == 6
    assert found(index.search("translate", 2)) == ["replica-0", "other"]
    assert found(index.search("translate", 3)) == ["replica-0", "replica-1", "other"]


def test_what_an_agent_said_before_is_forgotten() -> None:
    index = index_of(a=WEATHER)
    index.put("a", TRANSLATOR)
    assert index.search("weather", 5) == []
    assert found(index.search("translate", 5)) == ["a"]
    index.remove("a")
    index.remove("a")
    assert index.search("translate", 5) == []
    assert len(index) == 0


def test_one_that_says_too_much_is_found_by_its_names() -> None:
    prose = " ".join(f"word{n}" for n in range(100_000))
    many = [
        Capability(name=f"chatter.topic{n}", description=prose, examples=(prose,))
        for n in range(100)
    ]
    index = index_of(a=definition(service("chatterbox", *many)))
    assert found(index.search("chatterbox", 5)) == ["a"]
    assert found(index.search("topic99", 5)) == ["a"]
    assert index.search("word99999", 5) == []


def test_a_word_that_everybody_uses_does_not_hide_what_the_others_find() -> None:
    index = TextIndex()
    for n in range(70_000):
        index.put(f"agent-{n}", definition(service(f"common-{n}")))
    index.put("sought", definition(service("common-needle")))
    assert found(index.search("common needle", 1)) == ["sought"]
    assert found(index.search("common common-69999", 1)) == ["agent-69999"]
    assert len(index.search("common", 100)) == 100


AGENTS = st.sampled_from("abcde")
WORDS = st.sampled_from(("red", "green", "blue", "stone", "paper", "scissors"))
SERVICES = st.builds(
    lambda name, text: service("s", Capability(name=name, description=" ".join(text))),
    WORDS,
    st.lists(WORDS, max_size=3),
)


class ComingAndGoing(RuleBasedStateMachine):
    """The index answers as one that never held anything else."""

    def __init__(self) -> None:
        super().__init__()
        self.index = TextIndex()
        self.held: dict[str, tuple[Definition, bool]] = {}

    @rule(
        agent_id=AGENTS,
        each=SERVICES,
        port=st.integers(9000, 9001),
        suspect=st.booleans(),
    )
    def put(self, agent_id: str, each: Service, port: int, suspect: bool) -> None:
        said = definition(each, port=port)
        self.index.put(agent_id, said, suspect=suspect)
        self.held[agent_id] = said, suspect

    @rule(agent_id=AGENTS)
    def remove(self, agent_id: str) -> None:
        self.index.remove(agent_id)
        self.held.pop(agent_id, None)

    @invariant()
    def answers_as_if_new(self) -> None:
        fresh = TextIndex()
        for agent_id, (said, suspect) in self.held.items():
            fresh.put(agent_id, said, suspect=suspect)
        for question in ("red", "blue stone", "green paper scissors"):
            ours, theirs = self.index.search(question, 9), fresh.search(question, 9)
            assert sorted(ours, key=repr) == sorted(theirs, key=repr)


TestComingAndGoing = ComingAndGoing.TestCase
