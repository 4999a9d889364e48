"""Presigns addresses with a client of botocore, in the Python that has it: one on each line of standard input, as JSON.

A line is `[endpoint or null, region, addressing style, bucket, key, key id, secret, token]`. The answer is the URL, on
a line of its own; nothing is sent. `test_buckets.py` runs it. Nothing of this project can be imported here.
"""

import json
import sys

from botocore.config import Config
from botocore.session import Session

for line in sys.stdin:
    endpoint, region, style, bucket, key, key_id, secret, token = json.loads(line)
    client = Session().create_client(
        "s3",
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=Config(signature_version="s3v4", s3={"addressing_style": style}),
    )
    url = client.generate_presigned_url("get_object", {"Bucket": bucket, "Key": key}, ExpiresIn=900)
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()
