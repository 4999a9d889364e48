"""A transfer that is held at its half, disturbed, and let go on. Called by the steps of both scenes."""

from collections.abc import Callable

from deploy.e2e.commands import PATIENCE, check, until
from deploy.e2e.models import Model
from deploy.e2e.namespaces import Namespace
from deploy.e2e.scene import Scene


def interrupted(scene: Scene, place: Namespace, model: Model, limit: int, interrupt: Callable[[], object]) -> str:
    """Stops the transfer of `model` to `place` at its half, calls `interrupt`, and lets it go on.

    `limit` is the most bytes that may be sent twice. Says how many were, and what `interrupt` returned.
    """
    half = model.size // 2
    gate = scene.hub.pause_at(half, model.file)
    place.ask_for(model)
    gate.wait_reached(PATIENCE)
    until(lambda: place.has_bytes(model, half - limit), "the status says that half is there")
    said = interrupt()
    gate.release()
    place.until_ready(model)
    place.check_on_disk(model)
    twice = scene.hub.bytes_sent(model.file) - model.size
    check(twice <= limit, f"{twice} bytes were sent twice, more than {limit}")
    place.remove(model)
    return f"{twice:,} of {model.size:,} bytes were sent twice{f'; {said}' if said else ''}"
