"""What a pod that waits is told by Events, and how often."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from model_provisioner.domain.errors import SourceNotFound
from tests.controller.gates.rig import PATH, REF, Rig, on_claim, on_path
from tests.support.programs import eventually

OTHER_REF = "hf:a/c:Q4_K_M"


@dataclass(frozen=True)
class Case:
    """`annotations` of a pod, `prepare` makes what there is, and the Event has `reason` and a message with `words`."""

    annotations: dict[str, str]
    reason: str
    words: str
    prepare: Callable[[Rig], None] = lambda _rig: None


def models(text: str) -> dict[str, str]:
    return {"models.rbee.dev/models": text}


def use(text: str) -> dict[str, str]:
    return {"models.rbee.dev/use": text}


BROKEN = {
    "no such object": Case(models("tinylama"), "ModelNotFound", "there is no ModelDownload tinylama in namespace "),
    "no model": Case({}, "InvalidAnnotation", "the pod names no model"),
    "no name": Case(models("Tiny Llama"), "InvalidAnnotation", "'Tiny Llama' is no name of a ModelDownload"),
    "a ref as a name": Case(models(REF), "InvalidAnnotation", "a ref is written into models.rbee.dev/use"),
    "a wrong ref": Case(use("hf:a"), "InvalidRef", "the annotation models.rbee.dev/use: 'hf:a'"),
    "no object with the ref": Case(use(REF), "ModelNotFound", f"has the ref {REF}: create one"),
    "too many": Case(models(",".join(["a"] * 17)), "InvalidAnnotation", "names 17 models"),
    "a thousand": Case(models(",".join(["a"] * 1000)), "InvalidAnnotation", "names 1000 models"),
    "huge": Case(models("a" * 200_000), "InvalidAnnotation", "has 200000 characters"),
    "strange": Case(models("\x1b[31m\u202eevil,\n"), "InvalidAnnotation", r"'\x1b[31m\u202eevil' is no name"),
    "a relative mount": Case(
        {**models("tiny"), "models.rbee.dev/mount-path": "models"},
        "InvalidAnnotation",
        "'models' is no path of a mount",
    ),
    "another claim": Case(
        models("elsewhere"),
        "WrongClaim",
        "is on the claim other, and the pod mounts only models at /models: mount other there",
        lambda rig: rig.ready("elsewhere", ref=OTHER_REF, model=on_claim("other")),
    ),
    "another mount": Case(
        {**models("tiny"), "models.rbee.dev/mount-path": "/srv"},
        "WrongClaim",
        "is on the claim models, and the pod mounts no claim at /srv",
        lambda rig: rig.ready("tiny", ref=OTHER_REF),
    ),
    "stalled": Case(
        models("private"),
        SourceNotFound.__name__,
        "ModelDownload private is SourceNotFound: there is no repository a/b",
        lambda rig: rig.stalled("private", ref=OTHER_REF),
    ),
}


def test_what_is_broken_is_told_once(rig: Rig) -> None:
    names = {f"pod-{number}": case for number, case in enumerate(BROKEN.values())}
    for name, case in names.items():
        case.prepare(rig)
        rig.pods.create(name, case.annotations)
    with rig.running():
        for name, case in names.items():
            message = eventually(partial(rig.pods.told, name, case.reason), f"{name} is told {case.reason}")
            assert case.words in message
            event = rig.pods.events(name)[case.reason]
            assert (event["type"], event["count"], event["reportingInstance"]) == ("Warning", 1, "me")
    assert [name for name in names if rig.patches(name)] == []


def test_an_annotation_that_is_corrected_opens_the_gate(rig: Rig) -> None:
    rig.ready("tiny")
    rig.pods.waiting_for("server", "tinylama")
    with rig.running():
        eventually(lambda: rig.pods.told("server", "ModelNotFound"), "it is told")
        rig.pods.annotate("server", {"models.rbee.dev/models": "tiny"})
        eventually(lambda: rig.pods.is_open("server"), "the gate is open")
    assert rig.pods.annotations("server")["model-path-0"] == PATH


def test_progress_is_told_once_a_minute_at_most_and_a_transition_soon(rig: Rig) -> None:
    rig.downloading("tiny", 420)
    rig.pods.waiting_for("server", "tiny", "none-yet")
    rig.model("none-yet")
    with rig.running():
        message = eventually(lambda: rig.pods.told("server", "Downloading"), "it is told")
        assert message == (
            "waits: ModelDownload tiny is Downloading: 42% · 100 B/s · 4s, of 1000 B. "
            "2 of 2 models are not Ready; the others: ModelDownload none-yet is Resolving"
        )
        for received in (500, 600, 700):
            rig.downloading("tiny", received)
        rig.stalled("tiny")
        eventually(lambda: rig.pods.told("server", "SourceNotFound"), "the transition is told")
    assert {reason: event["count"] for reason, event in rig.pods.events("server").items()} == {
        "Downloading": 1,
        "SourceNotFound": 1,
    }
    assert rig.pods.events("server")["Downloading"]["type"] == "Normal"


def test_a_model_that_is_deleted_is_told_and_one_that_comes_back_opens(rig: Rig) -> None:
    rig.downloading("tiny")
    rig.pods.waiting_for("server", "tiny")
    with rig.running():
        eventually(lambda: rig.pods.told("server", "Downloading"), "it is told")
        rig.delete("tiny")
        eventually(lambda: rig.pods.told("server", "ModelNotFound"), "the deletion is told")
        rig.ready("tiny")
        eventually(lambda: rig.pods.is_open("server"), "the gate is open")


def test_several_ready_models_for_one_ref_are_named(rig: Rig) -> None:
    rig.ready("four", ref="hf:a/b:Q4_K_M")
    rig.ready("other", ref="hf:a/b:Q8_0", model=on_path("hf/a/b/other.gguf"))
    rig.pods.using("bare", "hf:a/b")
    rig.pods.using("exact", "hf:a/b:Q8_0")
    with rig.running():
        message = eventually(lambda: rig.pods.told("bare", "AmbiguousModel"), "it is told")
        assert message == "hf:a/b can be any of the ModelDownloads four, other: name one of them instead"
        eventually(lambda: rig.pods.is_open("exact"), "the gate is open")
    assert rig.pods.annotations("exact")["model-name-0"] == "other"
