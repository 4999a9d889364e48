"""Which question to a hub is asked next."""

from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from model_provisioner.domain.scheduling.hub_questions import Question, next_question

PLACES = 16
QUESTIONS = st.lists(st.builds(Question, st.sampled_from("abcde"), st.sampled_from("xyz")), max_size=60)


def asked(waiting: list[Question], running: Sequence[Question] = ()) -> list[Question]:
    """The questions that get a place beside those that are `running`, if none of them ends; all of these."""
    left, running = list(waiting), list(running)
    while one := next_question(left, namespaces(running), origins(running), PLACES):
        left.remove(one)
        running.append(one)
    return running


def namespaces(questions: list[Question]) -> Counter[str]:
    return Counter(one.namespace for one in questions)


def origins(questions: list[Question]) -> Counter[str]:
    return Counter(one.origin for one in questions)


def test_a_namespace_gets_half_of_the_places() -> None:
    assert len(asked([Question("a", "x")] * 300)) == 8


def test_an_origin_gets_three_quarters_of_the_places() -> None:
    assert len(asked([Question(namespace, "x") for namespace in "abcdefghijklmnopqrst"])) == 12


def test_the_last_quarter_is_for_namespaces_that_have_none() -> None:
    running = asked([Question(namespace, origin) for namespace in "ab" for origin in "xy"] * 30)
    assert namespaces(running) == {"a": 6, "b": 6}
    assert len(asked([Question(namespace, "z") for namespace in "cdefgh"], running)) == 16


def test_namespaces_take_turns() -> None:
    assert namespaces(asked([*[Question("a", "x")] * 300, *[Question("b", "y")] * 5])) == {"a": 7, "b": 5}


def test_of_equals_the_first_is_next() -> None:
    assert next_question([Question("b", "x"), Question("a", "x")], {}, {}, PLACES) == Question("b", "x")
    assert next_question([], {}, {}, PLACES) is None


@given(QUESTIONS, QUESTIONS)
def test_a_namespace_of_its_own_and_an_origin_of_its_own_never_wait(
    first: list[Question], second: list[Question]
) -> None:
    """The questions of two other namespaces, however many and to which hubs, leave a place."""
    hostile = [Question(one.namespace if one.namespace in "ab" else "a", one.origin) for one in first + second]
    running = asked(hostile)
    assert len(running) <= 12
    assert max(origins(running).values(), default=0) <= 12
    assert next_question([Question("honest", "hub")], namespaces(running), origins(running), PLACES)
