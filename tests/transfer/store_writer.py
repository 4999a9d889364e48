"""A process that fetches one file into a store, for tests that trace it or kill it at a system call.

Arguments: the store's directory, and `remove` to remove the holder instead. It writes the file in two commits, so that
a crash can lose the second one.
"""

import sys
from pathlib import Path

from model_provisioner.transfer.store.store import Store
from tests.support.models import SampleFile, attest, holder, plan_of, sample


def remove(directory: Path) -> None:
    with Store.open(directory, None) as store:
        store.records.remove(holder("writer").uid, delete=True)


def main(directory: Path) -> None:
    file, name = sample(), holder("writer")
    with Store.open(directory, None) as store:
        store.records.settle(name, plan_of(file))
        if store.files.published(file.planned) is None:
            bring(store, file)
        attest(store, name.uid, file)


def bring(store: Store, file: SampleFile) -> None:
    part = store.files.part(file.planned, 1)
    spans = part.spans
    for end in (file.planned.size // 2, file.planned.size):
        for start, stop in spans.missing(end):
            part.write(start, file.content[start:stop])
            spans = spans.add(start, stop)
        part.commit(spans)
    part.seal()
    store.files.publish(part, file.path)


if __name__ == "__main__":
    (remove if sys.argv[2:] == ["remove"] else main)(Path(sys.argv[1]))
