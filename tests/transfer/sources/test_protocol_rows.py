"""What servers of every kind do, each with the one line that scripts it and the test of what the client does then.

`ROWS` names the test of each behaviour, with the row of its table. Behaviours of hubs that no other file tests are
tested here.
"""

import re
from pathlib import Path
from typing import NamedTuple

import pytest
from aiohttp import web

from model_provisioner.domain.errors import SourceNotFound, SourceUnavailable
from tests.support.ggufs import tiny_gguf
from tests.transfer.bench import MODEL, NAME, Bench
from tests.transfer.sources.test_mirrors import COMMIT, Script, document, resolve, serving

TESTS = Path(__file__).parents[2]


class Proof(NamedTuple):
    """`does` is what a server does. `row` is a text of the script in the test's file, if its table has several."""

    does: str
    file: str
    test: str
    row: str = ""


BAD, HTTPS = "transfer/download/test_bad_server.py", "transfer/sources/test_https.py"
OCI, OLLAMA = "transfer/sources/test_oci.py", "transfer/sources/test_ollama.py"
S3, S3_BAD = "transfer/sources/test_s3.py", "transfer/sources/test_s3_bad_answers.py"
SCOPE, MIRRORS = "transfer/sources/test_modelscope.py", "transfer/sources/test_mirrors.py"
SELECTION, PARTS = "domain/model_files/test_selection.py", "domain/model_files/test_parts.py"
HERE = "transfer/sources/test_protocol_rows.py"
ROWS: dict[str, tuple[Proof, ...]] = {
    "encodings and pages": (
        Proof(
            "encodes as gzip, though identity was asked for", BAD, "test_what_passes_costs_little", "gzip that nobody"
        ),
        Proof("encodes as Brotli", BAD, "test_what_passes_costs_little", '"brotli"'),
        Proof("always encodes", BAD, "test_what_does_not_pass_is_named", "always encoded"),
        Proof("sends a login page with 200", BAD, "test_what_does_not_pass_is_named", "a page to sign in"),
        Proof(
            "sends a login page as the range", BAD, "test_what_does_not_pass_is_named", "a page, said to be the range"
        ),
        Proof("sends a pointer of LFS", BAD, "test_what_does_not_pass_is_named", "a pointer to a large file"),
        Proof("compresses what it can (nginx)", HTTPS, "test_a_server_that_compresses"),
    ),
    "missing headers": (
        Proof("tells no Content-Length", BAD, "test_what_passes_costs_little", '"no length"'),
        Proof("tells no ETag and no Accept-Ranges", BAD, "test_what_passes_costs_little", "no ETag, no Accept-Ranges"),
        Proof("has a weak ETag", BAD, "test_what_passes_costs_little", "a weak ETag"),
        Proof("has a weak ETag when it is asked what a file is", HTTPS, "test_a_strong_tag_or_a_date", "W/"),
        Proof("answers HEAD with 405 (web server)", HTTPS, "test_a_file_is_fetched_in_ranges"),
        Proof(
            "answers HEAD with 405 (hub)", MIRRORS, "test_size_and_digest_are_read", "by a range, as HEAD is refused"
        ),
        Proof("answers HEAD with 200 and no redirect", MIRRORS, "test_size_and_digest_are_read", "on the file itself"),
    ),
    "listings of hubs": (
        Proof("lists 2,500 files in pages of its own host", HERE, "test_every_page_of_a_tree_is_read"),
        Proof("names the next page on another host", HERE, "test_the_next_page_is_asked_for_at_the_hub"),
        Proof("sends an empty page", HERE, "test_an_empty_page"),
        Proof("tells xetHash, no lfs, or a size of 0", HERE, "test_every_page_of_a_tree_is_read"),
        Proof("has names with spaces, %, #, + and letters of all scripts", HERE, "test_every_name_is_fetched"),
        Proof("has a name that climbs", "transfer/sources/test_resolver.py", "test_a_file_name_that_leads_out"),
        Proof("has names that differ in case only", SELECTION, "test_one_file_is_meant", "CASES, "),
    ),
    "quantisations": (
        Proof("has BF16 and F16", SELECTION, "test_one_file_is_meant", '(BARTOWSKI, "F16"'),
        Proof("has UD- beside plain ones", SELECTION, "test_one_file_is_meant", '(UNSLOTH, "UD-Q4_K_XL"'),
        Proof("has a directory for each", SELECTION, "test_one_file_is_meant", '(DIRECTORIES, "Q6_K"'),
        Proof("has parts", PARTS, "test_all_parts_of_a_split_model"),
        Proof("lacks a part", PARTS, "test_missing_parts_are_named"),
        Proof("has mmproj and imatrix files", "domain/model_files/test_companions.py", "test_the_model_is_told_from"),
        Proof("has raw pieces (.part1of2)", PARTS, "test_raw_pieces_are_told_apart"),
        Proof("writes names in small letters", SELECTION, "test_one_file_is_meant", "(LOWER_CASE, None"),
    ),
    "Xet": (
        Proof("sends the headers of Xet", HERE, "test_headers_of_xet_lead_nowhere"),
        Proof("refuses the token of Xet", HERE, "test_headers_of_xet_lead_nowhere"),
        Proof("sends them with the bytes", BAD, "test_what_passes_costs_little", "headers of Xet"),
    ),
    "registries": (
        Proof("expires a token on the way", OCI, "test_tokens_that_expire_on_the_way"),
        Proof("has its token server on another host", OCI, "test_a_token_is_asked_for_as_the_registry_says"),
        Proof("wants a password (Basic)", OCI, "test_a_protected_registry_wants_a_login"),
        Proof("sends an index", OCI, "test_an_index_leads_to_the_one_artifact"),
        Proof("redirects blobs to another host", OCI, "test_blobs_at_another_host_get_no_token"),
        Proof("knows no ranges", OCI, "test_a_registry_without_ranges"),
        Proof("sends bytes of another digest", OCI, "test_bytes_of_another_digest_or_size"),
        Proof("has ModelPack, raw", OCI, "test_a_layer_is_the_file_as_it_is", "ModelPack raw"),
        Proof("has Docker's gguf.v3", OCI, "test_a_layer_is_the_file_as_it_is", "Docker Model Runner 0.1"),
        Proof(
            "has layers of Ollama at a host of their own (307)", OLLAMA, "test_a_model_is_the_layer_with_the_weights"
        ),
        Proof("expires that address on the way", OLLAMA, "test_an_address_that_expires_on_the_way"),
        Proof("answers HEAD of a blob otherwise than GET", OCI, "test_a_token_is_asked_for_as_the_registry_says"),
    ),
    "buckets": (
        Proof(
            "expires a signed address on the way",
            "transfer/sources/test_expiring_signatures.py",
            "test_an_address_that_expires",
        ),
        Proof("answers 412 to If-Match", S3, "test_an_object_that_changes_is_fetched_anew"),
        Proof("keeps versions", S3, "test_a_version_is_pinned"),
        Proof("tells the digest of digests (COMPOSITE)", S3_BAD, "test_what_is_no_digest_of_the_whole", "COMPOSITE}-3"),
    ),
    "ModelScope": (
        Proof("lists 3,000 entries and no more", SCOPE, "test_a_listing_that_is_cut_off_is_walked"),
        Proof("lists 3,000 entries of one directory", SCOPE, "test_a_directory_with_too_many_files"),
        Proof("redirects files in LFS", SCOPE, "test_a_model_is_resolved_at_its_commit"),
        Proof("ignores ranges of other files", SCOPE, "test_a_file_that_ignores_ranges"),
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_every_behaviour_names_a_test(name: str) -> None:
    for proof in ROWS[name]:
        text = (TESTS / proof.file).read_text()
        assert re.search(rf"def {proof.test}\w*\(", text), proof
        assert proof.row in text, proof


async def test_every_page_of_a_tree_is_read(bench: Bench) -> None:
    repository = bench.hub.repository(NAME)
    repository.add_all(
        {f"a/{number:04}.txt": b"x" for number in range(2_500)} | {"a/empty.txt": b"", "z.gguf": b"GGUF"}
    )
    repository.omits = frozenset({"siblings"})
    plan = await bench.resolve()
    assert plan.files[0].path == f"hf/{NAME}/z.gguf"
    assert sum("/tree/" in request.path for request in bench.hub.log) == 3


ENTRY = {"type": "file", "path": MODEL, "size": 23, "oid": "1" * 40}


async def test_the_next_page_is_asked_for_at_the_hub() -> None:
    """If the hub names another host, as a mirror does, only the cursor is used."""
    asked: list[str] = []

    async def note(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response()

    async with serving(note) as other:
        tree = document([ENTRY], Link=f'<{other.replace("127.0.0.1", "localhost")}/api?cursor=1>; rel="next"')
        async with serving(Script(info=document({"sha": COMMIT}), tree=tree).answer) as hub:
            with pytest.raises(SourceUnavailable, match="pages without an end"):
                await resolve(hub)
    assert not asked


async def test_an_empty_page_of_a_tree_is_one_without_files() -> None:
    async with serving(Script(info=document({"sha": COMMIT}), tree=document([])).answer) as hub:
        with pytest.raises(SourceNotFound, match="has no GGUF file"):
            await resolve(hub)


NAMES = ["with space.gguf", "100%.gguf", "a#b.gguf", "a+b&c=d.gguf", "пример-模型-é.gguf", "%41.gguf"]


@pytest.mark.parametrize("name", NAMES)
async def test_every_name_is_fetched(bench: Bench, name: str) -> None:
    content = tiny_gguf(seed=len(name))
    bench.hub.repository(NAME).add(name, content)
    provided = await bench.fetch(f"hf:{NAME}:{name}")
    assert provided.files[0].path == f"hf/{NAME}/{name}"
    assert bench.content(provided) == content


async def test_headers_of_xet_lead_nowhere(bench: Bench) -> None:
    """The hub sends them with each redirect, and has no token for them; its bytes come over plain HTTP."""
    content = tiny_gguf()
    bench.hub.repository(NAME).add(MODEL, content)
    assert bench.content(await bench.fetch()) == content
    assert not [one.path for one in bench.hub.log if "xet-read-token" in one.path or "reconstructions" in one.path]
