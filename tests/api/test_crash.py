# SPDX-License-Identifier: Apache-2.0
"""weftd killed in the middle of writes: what it acknowledged is there, and nothing is half written."""
import collections
import concurrent.futures
import http.client
import itertools
import signal
import threading
import urllib.parse

from api import Api, wait_for

CREATES, CLIENTS, CRASHES, MESHES = 2000, 8, 20, 12  # 167 virtual nodes a mesh: below the quota


class Writers:
    """Clients that create virtual nodes, one after the other, and begin again with what was not answered, with the same token."""

    def __init__(self, api):
        self.api = api
        self.numbers = itertools.count()
        self.up = threading.Event()
        self.acknowledged = {}  # (mesh, name) -> uid
        self.repeated = 0

    def create(self, number):
        mesh, name = f"m{number % MESHES}", f"n{number}"
        answer = self.api.signed("PUT", f"/v20190125/meshes/{mesh}/virtualNodes",
                                 {"virtualNodeName": name, "spec": {}, "clientToken": f"token-{number}", "tags": [{"key": "n", "value": name}]})
        assert answer.status == 200, answer.text
        metadata = answer.json["metadata"]
        assert metadata["version"] == 1
        self.acknowledged[mesh, name] = metadata["uid"]

    def run(self):
        while (number := next(self.numbers)) < CREATES:
            while True:
                assert self.up.wait(60)
                try:
                    self.create(number)
                    break
                except (OSError, http.client.HTTPException):
                    self.repeated += 1


def names_of(api):
    found = set()
    for mesh in (f"m{i}" for i in range(MESHES)):
        token = ""
        while token is not None:
            more = token and f"&nextToken={urllib.parse.quote(token, safe='')}"
            page = api.local("GET", f"/v20190125/meshes/{mesh}/virtualNodes?limit=100{more}").json
            found |= {(mesh, one["virtualNodeName"]) for one in page["virtualNodes"]}
            token = page.get("nextToken")
    return found


def uid_of(api, mesh, name):
    node = api.local("GET", f"/v20190125/meshes/{mesh}/virtualNodes/{name}").json
    assert node["metadata"]["version"] == 1
    tags = api.local("GET", f"/v20190125/tags?resourceArn={node['metadata']['arn']}").json["tags"]
    assert tags == [{"key": "n", "value": name}]
    return node["metadata"]["uid"]


def records_of(api):
    """How often the audit trail says that a node was created."""
    counts, following = collections.Counter(), ""
    while following is not None:
        page = api.local("GET", f"/v1/audit?limit=1000{following and '&next=' + following}").json
        for record in page["Records"]:
            if record["eventName"] == "CreateVirtualNode" and "errorCode" not in record:
                parameters = record["requestParameters"]
                counts[parameters["meshName"], parameters["virtualNodeName"]] += 1
        following = page["next"]
    return counts


def test_acknowledged_creates_outlive_twenty_crashes_and_each_is_there_once_with_its_record():
    with Api() as api:
        for i in range(MESHES):
            assert api.signed("PUT", "/v20190125/meshes", {"meshName": f"m{i}"}).status == 200
        writers = Writers(api)
        checked = set()
        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
            running = [pool.submit(writers.run) for _ in range(CLIENTS)]
            for crash in range(1, CRASHES + 1):
                writers.up.set()
                wait_for(lambda: len(writers.acknowledged) >= crash * CREATES // (CRASHES + 1), f"creates before crash {crash}", 60)
                writers.up.clear()
                api.kill_agent(signal.SIGKILL)
                acknowledged = dict(writers.acknowledged)
                api.start_agent()
                there = names_of(api)
                assert set(acknowledged) <= there
                assert len(there) <= len(acknowledged) + CLIENTS  # those whose answer was lost
                assert set(records_of(api)) == there
                for place in set(acknowledged) - checked:
                    assert uid_of(api, *place) == acknowledged[place]
                checked |= set(acknowledged)
            writers.up.set()
            for one in running:
                one.result()
        assert len(writers.acknowledged) == CREATES
        assert names_of(api) == set(writers.acknowledged)
        assert all(uid_of(api, *place) == uid for place, uid in writers.acknowledged.items() if place not in checked)
        assert records_of(api) == collections.Counter(writers.acknowledged.keys())
        wait_for(lambda: api.local("GET", "/v1/api").json["audit"]["records"] == CREATES + MESHES, "the records are counted")
        assert writers.repeated  # some were under way when it was killed
