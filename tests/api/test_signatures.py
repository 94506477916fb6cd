# SPDX-License-Identifier: Apache-2.0
"""Who may ask: signatures in headers and in URLs, and what is refused."""
import datetime
import json
import urllib.parse

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest

from api import ACCOUNT, PORT, ROOT_ID, ROOT_SECRET, Api, sign

LIST = "/v20190125/meshes"


def ago(**span):
    return datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(**span)


def refused(answer, error, words):
    assert (answer.status, answer.error) == (403, error), answer.text
    assert answer.json["__type"] == error and words in answer.json["message"], answer.text
    assert answer.headers["x-amzn-RequestId"] and answer.headers["Date"]


def test_a_signed_request_is_served_with_an_id_and_a_date(api):
    answer = api.signed("GET", LIST)
    assert (answer.status, answer.json) == (200, {"meshes": []})
    assert answer.headers["Content-Type"] == "application/json"
    assert len(answer.headers["x-amzn-RequestId"]) == 36 and answer.headers["Date"].endswith("GMT")


def test_a_request_without_a_signature_is_refused(api):
    refused(api.send("GET", LIST), "MissingAuthenticationTokenException", "Authentication Token")


@pytest.mark.parametrize("now, words", [({"minutes": 6}, "expired"), ({"minutes": -6}, "not yet current"), ({"days": 2}, "expired")])
def test_a_signature_of_another_time_is_refused(api, now, words):
    refused(api.signed("GET", LIST, now=ago(**now)), "InvalidSignatureException", words)


@pytest.mark.parametrize("minutes", [4, -4])
def test_clocks_may_differ_by_five_minutes(api, minutes):
    assert api.signed("GET", LIST, now=ago(minutes=minutes)).status == 200


def test_whatever_is_changed_after_signing_is_noticed(api):
    body = json.dumps({"meshName": "m"}).encode()
    headers = sign("PUT", LIST, body)
    refused(api.send("PUT", LIST, body.replace(b"m\"}", b"n\"}"), headers), "InvalidSignatureException", "does not match")
    refused(api.send("PUT", LIST + "/m", body, headers), "InvalidSignatureException", "does not match")
    refused(api.send("PUT", LIST + "?limit=1", body, headers), "InvalidSignatureException", "does not match")
    refused(api.send("PUT", LIST, body, {**headers, "authorization": headers["authorization"][:-1] + "0"[:1]}) if
            headers["authorization"][-1] != "0" else api.send("PUT", LIST, body, {**headers, "authorization": headers["authorization"][:-1] + "1"}),
            "InvalidSignatureException", "does not match")
    assert api.signed("GET", LIST).json == {"meshes": []}


def test_unknown_keys_and_wrong_secrets_are_refused(api):
    refused(api.signed("GET", LIST, key=("AKIANOBODY", ROOT_SECRET)), "UnrecognizedClientException", "AKIANOBODY")
    refused(api.signed("GET", LIST, key=(ROOT_ID, "another/secret")), "InvalidSignatureException", "does not match")


def test_a_body_must_be_signed(api):
    for value in ("UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"):
        refused(api.signed("GET", LIST, headers={"x-amz-content-sha256": value}), "InvalidSignatureException", "X-Amz-Content-Sha256")


def test_every_amz_header_must_be_signed(api):
    refused(api.send("GET", LIST, headers={**sign("GET", LIST), "x-amz-thing": "1"}), "InvalidSignatureException", "x-amz-thing")


@pytest.mark.parametrize("name", ["a b", "a%20b", "ü", "a~b-c_d.e", "a+b", "a&b=c", "a:b@c", "'\"<>", "a?b", "a#b"])
def test_odd_names_are_signed_and_served(api, name):
    assert api.signed("PUT", LIST, {"meshName": name}).json["meshName"] == name
    quoted = urllib.parse.quote(name, safe="")
    assert api.signed("GET", f"{LIST}/{quoted}").json["meshName"] == name
    assert api.client().describe_mesh(meshName=name)["mesh"]["meshName"] == name


@pytest.mark.parametrize("path", ["/v20190125//meshes", "/v20190125/meshes/", "/v20190125/./meshes", "/v20190125/meshes/..", "/v20190125/meshes/%2e",
                                  "/v20190125/meshes/%2E%2e/x", "//"])
def test_paths_that_could_be_read_in_two_ways_are_refused(api, path):
    refused(api.signed("GET", path), "InvalidSignatureException", "segment that is empty, '.' or '..'")


def presign(target, expires, now=None, key=(ROOT_ID, ROOT_SECRET)):
    request = botocore.awsrequest.AWSRequest("GET", f"http://127.0.0.1:{PORT}{target}")
    auth = botocore.auth.SigV4QueryAuth(botocore.credentials.Credentials(*key), "appmesh", "us-east-1", expires)
    auth.add_auth(request)
    return request.url.split(str(PORT), 1)[1]


def test_a_presigned_url_is_served_until_it_expires(api):
    assert api.send("GET", presign(LIST, 60)).json == {"meshes": []}
    assert api.send("GET", presign(LIST + "?limit=5", 604800)).status == 200
    refused(api.send("GET", presign(LIST, 604801)), "IncompleteSignatureException", "X-Amz-Expires")
    refused(api.send("GET", presign(LIST, 60) + "&limit=5"), "InvalidSignatureException", "does not match")
    refused(api.send("PUT", presign(LIST, 60)), "InvalidSignatureException", "does not match")


def test_errors_of_sts_are_xml(api):
    body = b"Action=GetCallerIdentity&Version=2011-06-15"
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = api.send("POST", "/", body, sign("POST", "/", body, service="sts", key=(ROOT_ID, "wrong-secret"), headers=headers))
    assert (answer.status, answer.headers["Content-Type"]) == (403, "text/xml")
    assert b"<Code>SignatureDoesNotMatch</Code>" in answer.text
    answer = api.send("POST", "/", body, sign("POST", "/", body, service="sts", headers=headers))
    assert answer.status == 200 and f"<Account>{ACCOUNT}</Account>".encode() in answer.text


def test_keys_are_made_used_stopped_and_deleted_over_the_local_socket(api):
    made = api.local("POST", "/v1/access-keys", {"userName": "ci"}).json
    key = (made["accessKeyId"], made["secretAccessKey"])
    assert api.signed("GET", LIST, key=key).status == 200
    assert api.client(service="sts", key=key).get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/ci"
    listed = api.local("GET", "/v1/access-keys").json["accessKeys"]
    assert [(one["accessKeyId"], one["userName"], one["status"]) for one in listed] == [(ROOT_ID, "", "Active"), (key[0], "ci", "Active")]
    assert all("secretAccessKey" not in one for one in listed) and listed[1]["lastUsedAt"]

    assert api.local("PUT", f"/v1/access-keys?accessKeyId={key[0]}", {"status": "Inactive"}).status == 200
    refused(api.signed("GET", LIST, key=key), "UnrecognizedClientException", key[0])
    assert api.local("PUT", f"/v1/access-keys?accessKeyId={key[0]}", {"status": "Active"}).status == 200
    assert api.signed("GET", LIST, key=key).status == 200
    assert api.local("DELETE", f"/v1/access-keys?accessKeyId={key[0]}").status == 200
    refused(api.signed("GET", LIST, key=key), "UnrecognizedClientException", key[0])
    assert api.local("DELETE", f"/v1/access-keys?accessKeyId={key[0]}").status == 404
    assert api.local("DELETE", f"/v1/access-keys?accessKeyId={ROOT_ID}").status == 400
    # the network sees nothing of it
    assert api.signed("GET", "/v1/access-keys").error == "UnknownOperationException"


def test_refusals_are_counted_by_reason(api):
    def counted():
        return api.local("GET", "/v1/api").json["refused"].get("no-signature", 0)
    before = counted()
    api.send("GET", LIST)
    assert counted() == before + 1


def test_only_the_listed_regions_are_served():
    with Api("--region", "eu-west-1,eu-central-1") as api:
        assert api.signed("GET", LIST, region="eu-central-1").status == 200
        refused(api.signed("GET", LIST, region="us-east-1"), "InvalidSignatureException", "eu-west-1")
        # short names, and root, are at home in the first one
        made = api.local("PUT", LIST, {"meshName": "m"}).json
        assert made["metadata"]["arn"] == f"arn:aws:appmesh:eu-west-1:{ACCOUNT}:mesh/m"
        assert api.local("GET", f"{LIST}/m", headers={"X-Weft-Region": "eu-central-1"}).status == 404
        assert api.local("GET", f"{LIST}/m", headers={"X-Weft-Region": "us-east-1"}).status == 400


def test_an_address_that_others_reach_is_refused_unless_it_is_meant():
    with Api() as api:
        api.kill_agent()
        api.options[1] = "0.0.0.0:9080"
        with pytest.raises(AssertionError, match="--api-plaintext"):
            api.start_agent()
        api.options.append("--api-plaintext")
        api.start_agent()
        assert api.signed("GET", LIST).status == 200


def test_the_root_key_is_made_and_kept_where_none_is_given():
    with Api() as api:
        api.kill_agent()
        api.agent_wrapper = []
        api.start_agent()
        file = api.state / "credentials"
        assert file.stat().st_mode & 0o777 == 0o600
        words = dict(line.split(" = ") for line in file.read_text().splitlines() if " = " in line)
        key = (words["aws_access_key_id"], words["aws_secret_access_key"])
        assert api.signed("GET", LIST, key=key).status == 200
        api.kill_agent()
        api.start_agent()
        assert api.signed("GET", LIST, key=key).status == 200
