"""Which namespaces are served."""

import pytest

from model_provisioner.domain.scope import EVERY_NAMESPACE, check, covers, is_everywhere


def test_a_list_covers_its_namespaces_and_the_star_all() -> None:
    assert covers(["a", "b"], "b")
    assert not covers(["a", "b"], "c")
    assert covers([EVERY_NAMESPACE], "anything")
    assert (is_everywhere(["a"]), is_everywhere([EVERY_NAMESPACE]), is_everywhere([])) == (False, True, False)


def test_the_star_stands_alone() -> None:
    check(["a", "b"])
    check([EVERY_NAMESPACE])
    with pytest.raises(ValueError, match="stands alone"):
        check(["a", EVERY_NAMESPACE])
