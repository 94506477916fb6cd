#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""AWS's own Python library as the reference of the tests of agent/aws and agent/iam.

    botocore_reference.py requests SEED COUNT    random requests that botocore signed, a JSON object a line
    botocore_reference.py identity               reads the XML of GetCallerIdentity, or of an error, and prints what botocore finds
"""

import hashlib
import json
import random
import sys
from urllib.parse import quote, urlsplit

from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.parsers import create_parser

UNRESERVED = "-._~"
# What may be in a segment without an escape (RFC 3986), and then has one in the canonical path.
PLAIN = "!$&'()*+,;=:@"
CHARACTERS = "abcXYZ019 -._~+/%:;=&?#@!*'()$,\"<>[]{}|\\^`\t" + "äßé日本語🙂"
WORDS = ["a", "x=1", "\"q\"", "{}", "UTF-8", "k;v", "50%", "-", "~", "it's"]


def text(longest):
    return "".join(random.choice(CHARACTERS) for _ in range(random.randint(1, longest)))


def lower_hex(escaped):
    first, *rest = escaped.split("%")
    return "%".join([first, *(part[:2].lower() + part[2:] for part in rest)])


def segment():
    name = text(12)
    while name in (".", ".."):
        name = text(12)
    escaped = quote(name, safe=random.choice([UNRESERVED, UNRESERVED + PLAIN]))
    return lower_hex(escaped) if random.random() < 0.2 else escaped


def path():
    if random.random() < 0.1:
        return "/"
    return "".join("/" + segment() for _ in range(random.randint(1, 5)))


def query():
    names = [text(6) for _ in range(random.randint(1, 3))] + ["limit", "nextToken", "resourceArn"]
    pairs = []
    for _ in range(random.randint(0, 5)):
        name = quote(random.choice(names), safe=UNRESERVED)
        value = quote(random.choice(["", text(10), "arn:aws:appmesh:us-east-1:123456789012:mesh/a b"]), safe=UNRESERVED)
        pairs.append(name if not value and random.random() < 0.5 else f"{name}={value}")
    return "&".join(pairs)


def header_value():
    blanks = [" ", "  ", "\t", " \t  "]
    value = random.choice(WORDS)
    for _ in range(random.randint(0, 4)):
        value += random.choice(blanks) + random.choice(WORDS)
    return random.choice(["", " ", "\t "]) + value + random.choice(["", "  "])


def headers(body):
    found = [("User-Agent", "not signed"), ("X-Amzn-Trace-Id", "Root=1-not-signed")]
    if body:
        found.append(("Content-Type", "application/json"))
    for name in ["X-Amz-Target", "x-amz-meta", "My-Header", "my_header", "amz-sdk-request"]:
        found += [(name, header_value()) for _ in range(random.choice([0, 0, 1, 1, 2, 3]))]
    if random.random() < 0.3:
        found.append(("X-Amz-Content-SHA256", hashlib.sha256(body).hexdigest()))
    random.shuffle(found)
    return found


def sign(presigned):
    body = b"" if presigned else random.choice([b"", b"{}", random.randbytes(random.randint(1, 200))])
    region = random.choice(["us-east-1", "eu-central-1", "us-gov-west-1", "local"])
    service = random.choice(["appmesh", "sts"])
    credentials = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    asked = query()
    url = f"http://{random.choice(['127.0.0.1:9080', 'mesh.example.com', '[::1]:80'])}{path()}{'?' + asked if asked else ''}"
    request = AWSRequest(method=random.choice(["GET", "PUT", "POST", "DELETE"]), url=url, data=body)
    for name, value in headers(body):
        request.headers[name] = value  # adds: the names may repeat
    if not presigned and random.random() < 0.2:
        request.headers["Date"] = "replaced"
    if presigned:
        signer = SigV4QueryAuth(credentials, service, region, expires=random.choice([1, 900, 604800]))
    else:
        signer = SigV4Auth(credentials, service, region)
    signer.add_auth(request)
    parts = urlsplit(request.url)
    return {
        "method": request.method, "target": parts.path + ("?" + parts.query if parts.query else ""),
        "headers": [["Host", signer.headers_to_sign(request)["host"]]] + [list(header) for header in request.headers.items()],
        "body": body.hex(), "timestamp": request.context["timestamp"], "region": region, "service": service,
        "secret": credentials.secret_key, "id": credentials.access_key, "presigned": presigned}


def print_requests(seed, count):
    random.seed(seed)
    for i in range(count):
        print(json.dumps(sign(presigned=i % 3 == 2)))


def print_identity():
    model = ServiceModel(Loader().load_service_model("sts", "service-2"), "sts")
    body = sys.stdin.buffer.read()
    status = 400 if b"<ErrorResponse" in body else 200
    found = create_parser(model.protocol).parse({"body": body, "headers": {}, "status_code": status},
                                                model.operation_model("GetCallerIdentity").output_shape)
    found["RequestId"] = found.pop("ResponseMetadata")["RequestId"]
    print(json.dumps(found, sort_keys=True))


if __name__ == "__main__":
    if sys.argv[1] == "requests":
        print_requests(int(sys.argv[2]), int(sys.argv[3]))
    else:
        print_identity()
