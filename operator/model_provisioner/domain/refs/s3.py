"""Refs of models in buckets: `s3://<bucket>/<key>.gguf`, or `s3://<bucket>/<prefix>/[:<quantisation>]` to choose one.

A key is written as it is, not percent-encoded. Bucket names follow the rules of Amazon S3, which every other server
accepts. What is below a prefix is chosen as in a repository (`domain.model_files.selection`).
"""

from dataclasses import dataclass
from typing import ClassVar, Self

from model_provisioner.domain.credentials.secret_keys import AWS, SecretKind
from model_provisioner.domain.errors import InvalidRef
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.network.buckets import is_bucket_name
from model_provisioner.domain.refs.https import host_directory
from model_provisioner.domain.refs.model_ref import (
    ModelRef,
    check_no_login,
    checked_path,
    is_quantisation,
    shown,
)


@dataclass(frozen=True, slots=True)
class S3Ref(ModelRef):
    """A model in a bucket.

    `key` is the key of a .gguf file, or a prefix: empty, or with a slash at its end. `selector` is a quantisation
    among what is below the prefix.
    """

    bucket: str
    key: str
    selector: str | None = None

    schemes = ("s3",)
    root = "s3"
    spelling = "s3://<bucket>/<key>.gguf or s3://<bucket>/<prefix>/[:<quantisation>]"
    names_endpoint = True
    default_endpoint = "https://s3.amazonaws.com"
    secret_kinds: ClassVar[tuple[SecretKind, ...]] = (AWS,)

    @classmethod
    def parse(cls, text: str) -> Self:
        if not text.startswith("s3://"):
            raise InvalidRef(f"{shown(text)}: write {cls.spelling}")
        check_no_login(text, AWS.keys)
        bucket, slash, rest = text.removeprefix("s3://").partition("/")
        if not is_bucket_name(bucket):
            raise InvalidRef(
                f"{shown(text)}: {shown(bucket)} is not the name of a bucket, which has 3 to 63 lower-case letters, "
                f"digits, '-' and '.': write {cls.spelling}"
            )
        key, colon, selector = rest.partition(":")
        if not slash or (key and not key.endswith("/")):
            return cls(bucket, _file(text, rest))
        if key:
            checked_path(text, key.removesuffix("/"), f"a prefix as in {cls.spelling}")
        if colon and not is_quantisation(selector):
            raise InvalidRef(
                f"{shown(text)}: {shown(selector)} is no quantisation such as Q4_K_M: write {cls.spelling}"
            )
        return cls(bucket, key, selector if colon else None)

    @property
    def is_prefix(self) -> bool:
        """Whether a model has to be chosen from what is below `key`."""
        return not self.key or self.key.endswith("/")

    @property
    def words(self) -> str:
        return f"{self.bucket} {self.key.rstrip('/').rpartition('/')[2]} {self.selector or ''}"

    def directory(self, endpoint: str | None) -> str:
        """`s3/<endpoint host>/<bucket>`: a bucket's name means another bucket at another endpoint."""
        host = host_directory(Origin.of(endpoint or self.default_endpoint))
        return f"{self.root}/{host}/{self.bucket}"

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}" + (f":{self.selector}" if self.selector else "")


def _file(text: str, key: str) -> str:
    if not key.lower().endswith(".gguf"):
        raise InvalidRef(
            f"{shown(text)}: {shown(key)} ends neither in .gguf nor in the slash of a prefix: write {S3Ref.spelling}"
        )
    return checked_path(text, key, f"a key as in {S3Ref.spelling}")
