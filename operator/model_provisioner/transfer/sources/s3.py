"""Resolves `s3:` refs: an object in a bucket, or the model that a quantisation means among the keys below a prefix.

Called by `resolver`. How a bucket is asked is in `s3_client`. The bytes are at addresses that are signed for a while,
for which workers ask again; those of a public bucket need no signature. An object is bound to its version if the bucket
keeps versions, and to its entity tag, so that no range of another version is ever taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from urllib.parse import quote, unquote

from model_provisioner.aio.parallel import in_parallel
from model_provisioner.domain.credentials.credentials import AwsKeys
from model_provisioner.domain.errors import (
    AccessDenied,
    AmbiguousModel,
    IncompleteModel,
    NotGGUF,
    ProvisionError,
    SourceNotFound,
    SourceUnavailable,
    Terminal,
    UnsupportedSource,
)
from model_provisioner.domain.gguf.file_role import FileRole
from model_provisioner.domain.lifecycle.suspended_message import NO_ALTERNATIVES, Alternatives
from model_provisioner.domain.model_files.part_names import parts_of
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.network.file_address import Address
from model_provisioner.domain.refs.s3 import S3Ref
from model_provisioner.domain.refusals.s3_errors import NO_KEY_OF_ITS_OWN, archived
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.paths import store_path
from model_provisioner.domain.store.plan import Pin, Plan, PlannedFile
from model_provisioner.domain.store.upload_parts import UploadParts
from model_provisioner.transfer.clients.bodies import Malformed
from model_provisioner.transfer.clients.buckets.s3_client import BucketClient, malformed
from model_provisioner.transfer.clients.file_facts import composite_of, read_facts, revision_of
from model_provisioner.transfer.http.client import Reply
from model_provisioner.transfer.sources.alternatives import alternatives
from model_provisioner.transfer.sources.chosen import chosen_files, of_model
from model_provisioner.transfer.sources.source import (
    Asked,
    Resolved,
    Source,
    identity,
    no_projector_for,
    with_expected_digest,
)

_PARALLEL_REQUESTS = 8
_ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
_MAX_PARTS = 100_000
"""Upload parts of a plan, which the operator keeps in some 3 MiB then, and sends to the worker as a line of 4 MiB."""
_MAX_VERSION = 1024  # docs.aws.amazon.com/AmazonS3, "How S3 Versioning works": the characters of a version's id
_VERSION = "?versionId="


@dataclass(frozen=True, slots=True)
class _Object:
    """`size` is in bytes. `version` is that of a bucket with versions, `tag` the strong entity tag.

    `composite` is the SHA-256 of the digests of its parts, `parts` are these if they are known.
    """

    key: str
    size: int
    digest: Digest | None
    tag: str | None
    version: str | None
    composite: bytes | None = None
    parts: UploadParts | None = None

    @property
    def revision(self) -> str | None:
        return self.version or self.tag


class S3(Source[S3Ref]):
    """Buckets of Amazon S3, MinIO, Ceph, R2, Google Cloud Storage and others with the same API."""

    finds_projectors = True

    async def resolve(self, asked: Asked[S3Ref]) -> Resolved:
        """Raises the errors of `BucketClient` and of `chosen_files`, IncompleteModel if a part is missing, InvalidRef
        for the projector of a key, and what `with_expected_digest` raises. An earlier version is asked for if the
        bucket keeps versions.
        """
        if asked.projector and not asked.ref.is_prefix:
            raise no_projector_for(asked.ref)
        client = await self._opened(asked)
        try:
            return await self._resolved(client, asked)
        except (AccessDenied, SourceUnavailable):
            if self._tools.pod_keys and client.keys:
                self._tools.pod_keys.refused(client.keys)
            raise

    async def _resolved(self, client: BucketClient, asked: Asked[S3Ref]) -> Resolved:
        chosen, others = await self._chosen(client, asked)
        paths = {key: store_path(asked.ref, key, asked.endpoint, own=asked.own_endpoint) for key in chosen}
        found = _bounded(await self._all(client, asked, list(chosen)))
        planned = tuple(_planned(asked, client, paths[one.key], one, chosen[one.key]) for one in found)
        files = with_expected_digest(planned, asked.digest)
        return Resolved(Plan(str(asked.ref), revision_of([one.revision for one in found]), files), others)

    async def address(self, asked: Asked[S3Ref], file: PlannedFile) -> Address:
        """A new signature. `file.source` tells the key and the version of the plan.

        With the key of the pod, the object is asked for first: that key may be revoked before its session is over, of
        which a signature tells nothing. An error is not raised here: the range tells it.
        """
        name, _, quoted = file.source.partition(" at ")[0].partition(_VERSION)
        key, version = unquote(name.partition("/")[2]), unquote(quoted) or None
        client = await self._opened(asked)
        if self._tools.pod_keys and client.keys and client.keys.expires is not None:
            try:
                await client.head(key, version)
            except (AccessDenied, SourceUnavailable):
                self._tools.pod_keys.refused(client.keys)
                client = await self._opened(asked)
            except ProvisionError:
                pass
        expires = client.keys.expires if client.keys else None
        return Address(client.address(key, version), expires=expires)

    async def _opened(self, asked: Asked[S3Ref]) -> BucketClient:
        keys = await self._keys(asked)
        return await BucketClient.open(self._tools.client, self._tools.reading, asked.ref, asked.endpoint, keys)

    async def _keys(self, asked: Asked[S3Ref]) -> AwsKeys | None:
        """What signs; None if nothing does. Raises AccessDenied if this pod should have a key and has none."""
        credentials = asked.credentials
        if credentials is None or not credentials.permits(Origin.of(asked.endpoint)):
            return None
        if not credentials.ambient:
            return credentials.aws
        if self._tools.pod_keys is None:
            raise AccessDenied(NO_KEY_OF_ITS_OWN)
        return await self._tools.pod_keys.get()

    async def _chosen(self, client: BucketClient, asked: Asked[S3Ref]) -> tuple[dict[str, FileRole], Alternatives]:
        """The keys of all parts of the model and of its projector, and the other models below the prefix."""
        ref = asked.ref
        if not ref.is_prefix:
            return dict.fromkeys(parts_of(ref.key), FileRole.NAMED), NO_ALTERNATIVES
        sizes = {
            key.removeprefix(ref.key): size
            for key, size in (await client.sizes(ref.key)).items()
            if not key.endswith("/")  # a folder that a console made
        }
        return await self._tools.reading.run(lambda: _choice(ref, sizes, projector=asked.projector))

    async def _all(self, client: BucketClient, asked: Asked[S3Ref], keys: Sequence[str]) -> list[_Object]:
        first = await self._object(client, asked, keys[0])  # alone: the others would fail for the same reason
        if len(keys) == 1:
            return [await self._earlier(client, asked, first)]

        async def part(key: str) -> _Object:
            try:
                return await self._object(client, asked, key)
            except SourceNotFound:
                raise IncompleteModel(
                    f"the part {key!a} of {asked.ref} is not there: upload it, or name another model"
                ) from None

        return [first, *await in_parallel(_PARALLEL_REQUESTS, part, keys[1:])]

    async def _earlier(self, client: BucketClient, asked: Asked[S3Ref], newest: _Object) -> _Object:
        """The version of the earlier resolution, if the bucket still has it.

        An error that may pass is raised: it does not tell that the version is gone, whose bytes may be half fetched.
        """
        wanted = asked.revision
        if newest.version is None or wanted in {None, newest.version} or (wanted or "").startswith(('"', "sha256:")):
            return newest
        try:
            return await self._object(client, asked, newest.key, wanted)
        except Terminal:
            return newest

    async def _object(self, client: BucketClient, asked: Asked[S3Ref], key: str, version: str | None = None) -> _Object:
        reply = await client.head(key, version)
        try:
            found = _read(key, reply)
        except Malformed as error:
            raise malformed(reply.origin, str(error), asked.ref) from None
        if found.size == 0:
            raise NotGGUF(f"{_name(asked.ref, key)} is empty: upload the model again")
        if reply.headers.get("x-amz-storage-class") in _ARCHIVES and "x-amz-restore" not in reply.headers:
            raise archived(_name(asked.ref, key))
        return await _with_parts(client, found) if asked.digest is None and found.digest is None else found


async def _with_parts(client: BucketClient, found: _Object) -> _Object:
    """`found` with the parts that its COMPOSITE SHA-256 is of. Others, such as those of another version, are no use."""
    if found.composite is None:
        return found
    parts = await client.upload_parts(found.key, found.version)
    return replace(found, parts=parts) if parts and parts.make_up(found.size, found.composite) else found


def _bounded(objects: Sequence[_Object]) -> list[_Object]:
    """`objects`, of which the last ones have no parts if all have more than a plan may have."""
    numbers = accumulate(one.parts.count if one.parts else 0 for one in objects)
    return [
        one if number <= _MAX_PARTS else replace(one, parts=None) for one, number in zip(objects, numbers, strict=True)
    ]


def _choice(ref: S3Ref, sizes: dict[str, int], *, projector: bool) -> tuple[dict[str, FileRole], Alternatives]:
    """The choice below the prefix. The messages of its rule are about repositories; a key is spelled otherwise here."""
    try:
        chosen = chosen_files(list(sizes), ref.selector, projector=projector)
    except (AmbiguousModel, IncompleteModel, SourceNotFound, UnsupportedSource) as error:
        place = f"s3://{ref.bucket}/{ref.key}"
        message = error.message.replace("the repository", place).replace("its path", "its key")
        message = message.replace("as in :", f"as in {place}")
        raise type(error)(message, wants_token=error.wants_token) from None
    roles = {ref.key + path: role for path, role in chosen.items()}
    return roles, alternatives(sizes, of_model(chosen))


def _read(key: str, reply: Reply) -> _Object:
    """What the headers of an object say. Raises Malformed."""
    headers = reply.headers
    if reply.is_web_page:
        raise Malformed("a web page")
    facts = read_facts(reply.status, [headers])
    version = headers.get("x-amz-version-id", "").strip()
    if len(version) > _MAX_VERSION or not version.isprintable() or not version.isascii():
        raise Malformed("a version that no object has")
    tag = facts.pin.value if facts.pin and facts.pin.value.startswith('"') else None
    digest = facts.digest or _stated(headers.get("x-amz-meta-sha256", ""))
    kept = version if version not in {"", "null"} else None
    return _Object(key, facts.size, digest, tag, kept, composite_of(headers))


def _stated(text: str) -> Digest | None:
    """The digest that the uploader wrote into the metadata; None if it is none."""
    try:
        return Digest.parse(text.strip().lower())
    except ValueError:
        return None


def _planned(asked: Asked[S3Ref], client: BucketClient, path: str, found: _Object, role: FileRole) -> PlannedFile:
    version = f"{_VERSION}{quote(found.version, safe='')}" if found.version else ""
    source = f"s3:{asked.ref.bucket}/{quote(found.key)}{version}"
    file = PlannedFile(
        path=path,
        size=found.size,
        digest=found.digest,
        source=identity(source, asked.endpoint, own=asked.own_endpoint),
        url=None,
        endpoint=asked.endpoint,
        digest_published=found.digest is not None,
        signed=True,
        pin=Pin("If-Match", found.tag) if found.tag else None,
        role=role,
        upload_parts=found.parts,
    )
    return file if client.keys else replace(file, url=client.address(found.key, found.version), signed=False)


def _name(ref: S3Ref, key: str) -> str:
    return f"s3://{ref.bucket}/{key!a}" if not key.isprintable() else f"s3://{ref.bucket}/{key}"
