"""Signs requests with botocore, in the Python that has it: a request on each line of standard input, as JSON.

A line is `[method, url, headers, key id, secret, token, region, seconds of life, time stamp]`. The answer is the
signature, on a line of its own. `test_sigv4.py` runs it. Nothing of this project can be imported here.
"""

import json
import sys

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

for line in sys.stdin:
    method, url, headers, key_id, secret, token, region, expires, stamp = json.loads(line)
    request = AWSRequest(method, url, headers=headers)
    request.context["timestamp"] = stamp  # botocore takes the time from the clock
    signer = S3SigV4QueryAuth(Credentials(key_id, secret, token), "s3", region, expires=expires)
    signer._modify_request_before_signing(request)
    canonical = signer.canonical_request(request)
    sys.stdout.write(f"{signer.signature(signer.string_to_sign(request, canonical), request)}\n")
    sys.stdout.flush()
