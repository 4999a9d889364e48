"""What the files in an archive are called, and which one a layer means."""

import pytest

from model_provisioner.domain.archives.bad_archive import BadArchive
from model_provisioner.domain.archives.model_members import in_gzip, named_members
from model_provisioner.domain.archives.tar_walk import Member

ONE, TWO = Member("../../w/tiny.Q4_0.gguf", 512, 100), Member("w/tiny.Q8_0.gguf", 1024, 100)


def test_only_the_last_part_of_a_name_in_an_archive_is_used() -> None:
    assert named_members([ONE], "") == {"tiny.Q4_0.gguf": ONE}
    assert named_members([ONE, TWO], "weights") == {"tiny.Q4_0.gguf": ONE, "tiny.Q8_0.gguf": TWO}


def test_a_layer_that_is_called_like_a_model_names_it() -> None:
    assert named_members([ONE], "a/other.gguf") == {"a/other.gguf": ONE}
    assert named_members([ONE, TWO], "a/tiny.Q8_0.gguf") == {"a/tiny.Q8_0.gguf": TWO}
    assert len(named_members([ONE, TWO], "a/other.gguf")) == 2


def test_two_files_of_one_name_are_refused() -> None:
    twice = [ONE, Member("other/tiny.Q4_0.gguf", 2048, 5)]
    for layer in ("", "tiny.Q4_0.gguf"):
        with pytest.raises(BadArchive, match="several GGUF files of one name"):
            named_members(twice, layer)
    assert named_members([], "x.gguf") == {}


def test_gzip_may_have_one_model_of_a_size_that_it_can_hold() -> None:
    assert in_gzip([ONE], "", 1) == {"tiny.Q4_0.gguf": ONE}
    assert in_gzip([], "", 1) == {}
    with pytest.raises(BadArchive, match=r"has 'w/tiny\.Q8_0\.gguf' too"):
        in_gzip([ONE, TWO], "tiny.Q4_0.gguf", 10_000)
    with pytest.raises(BadArchive, match="no gzip of its size"):
        in_gzip([Member("a.gguf", 0, 1033)], "", 1)
