# SPDX-License-Identifier: Apache-2.0
"""The control API of a node, in a namespace without an outside route, and clients for it: boto3, signed requests byte by byte, the
aws command line, and root over the local socket."""
import contextlib
import ctypes
import datetime
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import socket
import subprocess
import sys
import urllib.parse

import boto3
import botocore.config

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "net"))

from weft import BUILD, Node, wait_for  # noqa: E402,F401

CLONE_NEWNET = 0x40000000
ACCOUNT = "123456789012"
ROOT_ID, ROOT_SECRET = "AKIAROOTROOTROOTROOT", "root/secret+of/the/tests"
PORT = 9080
libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def in_namespace(path):
    """This thread, and those that it starts, are there. Nothing of AWS's is configured, and AWS is nowhere."""
    with open("/proc/thread-self/ns/net") as old, open(path) as new:
        for one in (new, old):
            if libc.setns(one.fileno(), CLONE_NEWNET) < 0:
                raise OSError(ctypes.get_errno(), f"setns {one.name}")
            if one is new:
                try:
                    yield
                except BaseException:
                    libc.setns(old.fileno(), CLONE_NEWNET)
                    raise


class Answer:
    def __init__(self, response):
        self.status, self.headers, self.text = response.status, response.headers, response.read()

    @property
    def json(self):
        return json.loads(self.text)

    @property
    def error(self):
        return self.headers.get("x-amzn-ErrorType")


def sign(method, target, body=b"", region="us-east-1", service="appmesh", key=(ROOT_ID, ROOT_SECRET), now=None, headers=(), canonical_path=None):
    """The headers of a request, made here so that each of them can be wrong."""
    now = now or datetime.datetime.now(datetime.timezone.utc)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    path, _, query = target.partition("?")
    canonical_path = canonical_path or urllib.parse.quote(path, safe="/-_.~")
    pairs = sorted(urllib.parse.parse_qsl(query, keep_blank_values=True))
    canonical_query = "&".join(f"{urllib.parse.quote(k, safe='-_.~')}={urllib.parse.quote(v, safe='-_.~')}" for k, v in pairs)
    signed = {"host": f"127.0.0.1:{PORT}", "x-amz-date": stamp, **dict(headers)}
    names = ";".join(sorted(signed))
    canonical = "\n".join([method, canonical_path, canonical_query, *(f"{n}:{signed[n]}" for n in sorted(signed)), "", names,
                           hashlib.sha256(body).hexdigest()])
    scope = f"{day}/{region}/{service}/aws4_request"
    to_sign = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    secret = ("AWS4" + key[1]).encode()
    for part in (day, region, service, "aws4_request"):
        secret = hmac.new(secret, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(secret, to_sign.encode(), hashlib.sha256).hexdigest()
    return {**signed, "authorization": f"AWS4-HMAC-SHA256 Credential={key[0]}/{scope}, SignedHeaders={names}, Signature={signature}"}


class LocalConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("weft", timeout=30)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(self.path)


class Api(Node):
    """Enter it, and this process is in its namespace."""

    def __init__(self, *options, directory=False):
        super().__init__("--api", f"127.0.0.1:{PORT}", "--account", ACCOUNT, *options, directory=directory)
        self.stack = contextlib.ExitStack()
        self.environment = {"WEFT_ROOT_ACCESS_KEY_ID": ROOT_ID, "WEFT_ROOT_SECRET_ACCESS_KEY": ROOT_SECRET}
        self.agent_wrapper = ["env", *(f"{k}={v}" for k, v in self.environment.items())]

    def __enter__(self):
        super().__enter__()
        try:
            self.stack.enter_context(in_namespace(self.namespace.path))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *error):
        self.stack.close()
        super().__exit__(*error)

    @property
    def url(self):
        return f"http://127.0.0.1:{PORT}"

    def client(self, region="us-east-1", service="appmesh", key=(ROOT_ID, ROOT_SECRET), **config):
        """validate=False: what is wrong comes to weftd, not to boto3."""
        validate = config.pop("validate", True)
        return boto3.session.Session(aws_access_key_id=key[0], aws_secret_access_key=key[1], region_name=region).client(
            service, endpoint_url=self.url, config=botocore.config.Config(
                retries={"max_attempts": 0}, parameter_validation=validate, **config))

    def send(self, method, target, body=b"", headers=None, host="127.0.0.1"):
        """A request as it is, without a signature unless it is among the headers."""
        connection = http.client.HTTPConnection(host, PORT, timeout=30)
        with contextlib.closing(connection):
            connection.putrequest(method, target, skip_host=bool(headers) and "host" in headers, skip_accept_encoding=True)
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            if body:
                connection.putheader("content-length", str(len(body)))
            connection.endheaders(body or None)
            return Answer(connection.getresponse())

    def signed(self, method, target, document=None, **how):
        """`document` may be bytes, or what becomes JSON."""
        body = document if isinstance(document, bytes) else b"" if document is None else json.dumps(document).encode()
        return self.send(method, target, body, sign(method, target, body, **how))

    def local(self, method, target, document=None, headers=None):
        connection = LocalConnection(f"/run/weft/{self.instance}/weftd.sock")
        body = document if isinstance(document, bytes) else None if document is None else json.dumps(document).encode()
        with contextlib.closing(connection):
            connection.request(method, target, body, headers or {})
            return Answer(connection.getresponse())

    def aws_environment(self, region="us-east-1"):
        return {"PATH": f"{HERE / 'bin'}:/usr/bin:/bin", "HOME": str(self.directory), "AWS_ACCESS_KEY_ID": ROOT_ID,
                "AWS_SECRET_ACCESS_KEY": ROOT_SECRET, "AWS_DEFAULT_REGION": region, "AWS_PAGER": "", "AWS_MAX_ATTEMPTS": "1",
                "AWS_EC2_METADATA_DISABLED": "true", "LC_ALL": "C.UTF-8", "WEFT_ENDPOINT": self.url}

    def aws(self, *words, check=True, region="us-east-1", script=None):
        """The aws command line of Debian, which knows of nothing but this endpoint; a script finds it as `aws`."""
        argv = ["bash", "-eu", script, *words] if script else ["aws", *words]
        result = subprocess.run(argv, env=self.aws_environment(region), capture_output=True, text=True, timeout=120)
        if check:
            assert result.returncode == 0, result.stderr
        return result

    def clear(self, region="us-east-1"):
        """Takes away all meshes of the region, and what is in them, in the order in which that is possible."""
        def names(collection, member, name):
            answer = self.local("GET", f"/v20190125/{collection}?limit=100", headers={"X-Weft-Region": region})
            return [urllib.parse.quote(one[name], safe="") for one in answer.json[member]] if answer.status == 200 else []

        def delete(path):
            answer = self.local("DELETE", f"/v20190125/{path}", headers={"X-Weft-Region": region})
            assert answer.status == 200, answer.text

        for mesh in names("meshes", "meshes", "meshName"):
            inside = f"meshes/{mesh}"
            for gateway in names(f"{inside}/virtualGateways", "virtualGateways", "virtualGatewayName"):
                for route in names(f"{inside}/virtualGateway/{gateway}/gatewayRoutes", "gatewayRoutes", "gatewayRouteName"):
                    delete(f"{inside}/virtualGateway/{gateway}/gatewayRoutes/{route}")
                delete(f"{inside}/virtualGateways/{gateway}")
            while services := names(f"{inside}/virtualServices", "virtualServices", "virtualServiceName"):
                for service in services:
                    delete(f"{inside}/virtualServices/{service}")
            for router in names(f"{inside}/virtualRouters", "virtualRouters", "virtualRouterName"):
                for route in names(f"{inside}/virtualRouter/{router}/routes", "routes", "routeName"):
                    delete(f"{inside}/virtualRouter/{router}/routes/{route}")
                delete(f"{inside}/virtualRouters/{router}")
            while nodes := names(f"{inside}/virtualNodes", "virtualNodes", "virtualNodeName"):
                for node in nodes:
                    delete(f"{inside}/virtualNodes/{node}")
            delete(inside)
