"""The object names that are made from refs."""

import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from model_provisioner.domain.refs.hugging_face import HuggingFaceRef
from model_provisioner.domain.refs.object_names import object_name
from model_provisioner.domain.refs.refs import parse


def test_names_are_readable_and_the_same_for_the_same_ref() -> None:
    ref = HuggingFaceRef("TheBloke", "TinyLlama-1.1B-Chat-v1.0-GGUF", None, "Q4_K_M")
    assert re.fullmatch(r"tinyllama-1-1b-chat-v1-0-q4-k-m-[0-9a-f]{8}", object_name(ref))
    assert object_name(ref) == object_name(parse(str(ref)))
    assert object_name(ref) != object_name(replace(ref, revision="dev"))


@given(st.builds(HuggingFaceRef, *[st.from_regex(r"[A-Za-z0-9_]{1,96}", fullmatch=True)] * 2))
def test_every_name_is_a_dns_label(ref: HuggingFaceRef) -> None:
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", object_name(ref))
