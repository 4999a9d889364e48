"""Which provider of a pod's own access key the variables of EKS name, and which addresses it may have."""

import pytest

from model_provisioner.domain.credentials.ambient import PodIdentity, Provider, WebIdentity, provider_of
from model_provisioner.domain.errors import AddressNotAllowed
from model_provisioner.domain.network.addresses import NetworkPolicy, Origin, check_address, check_url

ROLE = "arn:aws:iam::123456789012:role/models"
FILE = "/var/run/secrets/eks.amazonaws.com/serviceaccount/token"
IRSA = {"AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": FILE, "AWS_REGION": "eu-west-3"}
URI = "http://169.254.170.23/v1/credentials"
AGENT = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": URI, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": FILE}
NAME = "model-provisioner"


@pytest.mark.parametrize(
    ("variables", "provider"),
    [
        ({}, None),
        ({"AWS_REGION": "eu-west-3", "AWS_ACCESS_KEY_ID": "AKID"}, None),
        ({"AWS_ROLE_ARN": " ", "AWS_WEB_IDENTITY_TOKEN_FILE": ""}, None),
        (IRSA, WebIdentity("https://sts.eu-west-3.amazonaws.com/", ROLE, NAME, FILE)),
        (
            {**IRSA, "AWS_REGION": "cn-north-1"},
            WebIdentity("https://sts.cn-north-1.amazonaws.com.cn/", ROLE, NAME, FILE),
        ),
        (
            {**IRSA, "AWS_REGION": "", "AWS_DEFAULT_REGION": "us-west-2"},
            WebIdentity("https://sts.us-west-2.amazonaws.com/", ROLE, NAME, FILE),
        ),
        (
            {**IRSA, "AWS_ENDPOINT_URL_STS": "https://sts.example:8443", "AWS_ROLE_SESSION_NAME": "me"},
            WebIdentity("https://sts.example:8443", ROLE, "me", FILE),
        ),
        (AGENT, PodIdentity(URI, FILE)),
        (
            {**AGENT, "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://[fd00:ec2::23]/v1"},
            PodIdentity("http://[fd00:ec2::23]/v1", FILE),
        ),
        (
            {**AGENT, "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:80/"},
            PodIdentity("http://127.0.0.1:80/", FILE),
        ),
        ({**AGENT, **IRSA}, WebIdentity("https://sts.eu-west-3.amazonaws.com/", ROLE, NAME, FILE)),
    ],
)
def test_the_provider_that_the_variables_name(variables: dict[str, str], provider: Provider | None) -> None:
    assert provider_of(variables) == provider


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({**IRSA, "AWS_WEB_IDENTITY_TOKEN_FILE": ""}, "AWS_WEB_IDENTITY_TOKEN_FILE is not set, and AWS_ROLE_ARN is"),
        ({**IRSA, "AWS_ROLE_ARN": ""}, "AWS_ROLE_ARN is not set, and AWS_WEB_IDENTITY_TOKEN_FILE is"),
        ({**IRSA, "AWS_REGION": ""}, "AWS_REGION is not set"),
        ({**IRSA, "AWS_REGION": "evil.example/"}, "AWS_REGION is not the name of a region"),
        ({**IRSA, "AWS_ENDPOINT_URL_STS": "http://sts.example"}, "AWS_ENDPOINT_URL_STS is not a URL such as https"),
        ({**IRSA, "AWS_ENDPOINT_URL_STS": "https://a:b@sts.example"}, "AWS_ENDPOINT_URL_STS is not a URL"),
        ({**IRSA, "AWS_ROLE_ARN": "arn\nrole"}, "AWS_ROLE_ARN has a line break"),
        ({**IRSA, "AWS_ROLE_SESSION_NAME": "x" * 3000}, "more than 2,048 characters"),
        ({**AGENT, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": ""}, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE is not set"),
        *[
            ({**AGENT, "AWS_CONTAINER_CREDENTIALS_FULL_URI": uri}, "is not at 169.254.170.23")
            for uri in (
                "http://169.254.169.254/latest/meta-data/iam",
                "http://169.254.170.2/v2/credentials",
                "http://evil.example/",
                "https://evil.example/",
                "http://127.0.0.1.evil.example/",
                "http://169.254.170.23@evil.example/",
                "http://me@127.0.0.1/",
                "http://[::ffff:169.254.169.254]/",
                "http://10.0.0.1/",
                "http://2130706433/",
                "file:///etc/passwd",
                "169.254.170.23/v1",
            )
        ],
    ],
)
def test_variables_that_can_not_be_used_are_named(variables: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        provider_of(variables)


@pytest.mark.parametrize("url", ["http://169.254.170.23/v1", "http://[fd00:ec2::23]:80/v1", "http://127.0.0.1:8080/"])
def test_an_agent_is_reached_and_nothing_else(url: str) -> None:
    origin = Origin.of(url)
    policy = NetworkPolicy.only(origin)
    check_url(url, policy)
    check_address(origin.host, origin.host, origin.port, policy)
    for other in ("169.254.169.254", "169.254.170.24", "fd00:ec2::254", "10.0.0.1", "127.0.0.2"):
        with pytest.raises(AddressNotAllowed):
            check_address(other, other, origin.port, policy)
    for elsewhere in ("https://huggingface.co/", f"http://{'[::1]' if ':' in origin.host else '127.0.0.9'}/"):
        with pytest.raises(AddressNotAllowed):
            check_url(elsewhere, policy)
    with pytest.raises(AddressNotAllowed):
        check_url(url, NetworkPolicy())


def test_a_service_may_be_private_in_its_network() -> None:
    policy = NetworkPolicy.only(Origin.of("https://sts.eu-west-3.amazonaws.com/"))
    check_address("10.1.2.3", "sts.eu-west-3.amazonaws.com", 443, policy)
    with pytest.raises(AddressNotAllowed):
        check_address("169.254.169.254", "sts.eu-west-3.amazonaws.com", 443, policy)
