# SPDX-License-Identifier: Apache-2.0
"""Pools of listeners while one weft-proxy serves what it had beside its successor: a limit holds for both together."""
import os
import signal
from collections import Counter

import pytest

from test_l7_inbound import Unmanaged, World
from test_l7_upgrade import ended, requests, upgrade_by_hand
from weft import Node, wait_for

pytestmark = pytest.mark.one_kernel


@pytest.fixture
def world():
    with Node() as node:
        yield World(node)


def active(world):
    """Requests that the application has, asked for past weft-proxy."""
    return world.beside.ask("127.0.0.1")["told"]["active"] - 1


def release(world, *names):
    for name in names:
        assert world.beside.ask("127.0.0.1", headers={"x-release": name})["status"] == 200


class Asked:
    """Requests at the same time, each by a client of its own, whose answers come later."""

    def __init__(self, world, count, **headers):
        self.client = Unmanaged(world.node, world.client)
        self.client.worker.start("result = at_once(*arguments[0], **arguments[1])", (count, world.server.ipv4),
                                 {"headers": {name.replace("_", "-"): value for name, value in headers.items()}, "timeout_s": 60})

    def answers(self):
        return self.client.worker.answer()

    def statuses(self):
        return Counter(answer.get("status", answer.get("error")) for answer in self.answers())


def configure(world, pool):
    """With patience: what is held is not given up."""
    before = world.node.status()["configuration"]["generation"]
    world.configure(pool, timeout={"http": {"perRequest": {"unit": "s", "value": 300}}})

    def told():
        status = world.node.status()
        return before < status["configuration"]["generation"] == status["proxy"]["configuration"]["generation"]
    wait_for(told, "weft-proxy is told")


def hold(world, *names):
    """A request for each, which the application does not answer before it is released."""
    before = active(world)
    held = [Asked(world, 1, x_hold=name) for name in names]
    wait_for(lambda: active(world) == before + len(names), "they are there")
    return held


def proxy_has(world, count):
    wait_for(lambda: requests(world.node)["requestsActive"] == count, f"weft-proxy has {count} requests")


def test_a_former_one_and_its_successor_have_the_places_of_one(world):
    configure(world, (2, 1))
    old, held = world.node.proxy_pid(), hold(world, "a", "b")
    upgrade_by_hand(world.node)
    asked = Asked(world, 3)
    proxy_has(world, 1)  # two are refused, one waits
    assert active(world) == 2
    release(world, "a")
    answers = asked.answers()
    assert Counter(answer["status"] for answer in answers) == {200: 1, 503: 2}
    assert [answer["told"]["active"] for answer in answers if answer["status"] == 200] == [2], "with the one that is held still"
    assert held[0].statuses() == {200: 1}
    assert world.storm(3) == {200: 2, 503: 1}, "one place is the former one's"
    assert not ended(world.node, old)
    release(world, "b")
    assert held[1].statuses() == {200: 1}
    wait_for(lambda: ended(world.node, old), "the former one ended")
    assert world.storm(4) == {200: 3, 503: 1}


def test_clients_between_two_requests_are_held_to_the_pool_by_the_successor_that_they_went_to(world):
    configure(world, (1, 1))
    old = world.node.proxy_pid()
    for i in range(4):
        assert world.outside.ask(world.server.ipv4, keep=i)["status"] == 200
    ports = world.outside.worker.run("result = [kept[i].sock.getsockname()[1] for i in range(4)]")
    upgrade_by_hand(world.node)
    wait_for(lambda: ended(world.node, old), "they are the successor's")
    answers = world.outside.worker.run("""
result = [None] * 4
def again(i):
    result[i] = ask(arguments[0], keep=i, headers={"x-wait": "0.5"})
threads = [threading.Thread(target=again, args=(i,)) for i in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
""", world.server.ipv4)
    assert Counter(answer["status"] for answer in answers) == {200: 2, 503: 2}
    assert {answer["told"]["active"] for answer in answers if answer["status"] == 200} == {1}
    assert world.outside.worker.run("result = [kept[i].sock and kept[i].sock.getsockname()[1] for i in range(4)]") == ports, "they go on"


def test_places_of_a_former_one_that_is_killed_come_back(world):
    configure(world, (2, 1))
    old, held = world.node.proxy_pid(), hold(world, "a", "b")
    upgrade_by_hand(world.node)
    waiting = Asked(world, 1)
    proxy_has(world, 1)
    os.kill(old, signal.SIGKILL)
    assert waiting.statuses() == {200: 1}, "it has one of them"
    release(world, "a", "b")
    assert all("error" in answer for asked in held for answer in asked.answers())
    assert world.storm(4) == {200: 3, 503: 1}


def test_places_of_one_that_is_killed_are_its_successors(world):
    configure(world, (2, 1))
    old = world.node.proxy_pid()
    hold(world, "a", "b")
    os.kill(old, signal.SIGKILL)
    wait_for(lambda: world.node.status()["proxy"].get("pid") not in (None, old), "weftd has started the next one")
    world.wait_pool(2, 1)


def test_requests_that_wait_count_for_both_and_those_of_the_former_one_are_not_left_behind(world):
    configure(world, (1, 4))
    world.node.kill_agent()
    old, held = world.node.proxy_pid(), hold(world, "a")
    first = Asked(world, 2)
    proxy_has(world, 3)
    upgrade_by_hand(world.node)
    second = Asked(world, 3)
    proxy_has(world, 2)  # the third is refused: two wait with the former one
    release(world, "a")
    assert held[0].statuses() == {200: 1}
    answers = first.answers() + second.answers()
    assert Counter(answer["status"] for answer in answers) == {200: 4, 503: 1}
    assert {answer["told"]["active"] for answer in answers if answer["status"] == 200} == {1}
    wait_for(lambda: ended(world.node, old), "the former one ended")


def test_under_load_no_more_than_the_pool_has_get_through_and_everybody_is_served(world):
    """Requests that wait in either of them, one upgrade after the other."""
    configure(world, (3,))  # any number waits
    world.node.kill_agent()
    stop = world.node.directory / "stop"
    world.outside.worker.start("""
result = {}
lock = threading.Lock()
def client():
    while not os.path.exists(arguments[1]):
        answer = ask(arguments[0], headers={"x-wait": "0.01"}, timeout_s=60)
        key = f"{answer.get('status', answer.get('error'))} {answer.get('told', {}).get('active')}"
        with lock:
            result[key] = result.get(key, 0) + 1
threads = [threading.Thread(target=client) for _ in range(16)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
""", world.server.ipv4, str(stop))
    for _ in range(3):
        old, before = world.node.proxy_pid(), requests(world.node)["requests"]
        wait_for(lambda: requests(world.node)["requests"] > before + 50, "requests go on")
        upgrade_by_hand(world.node)
        wait_for(lambda: ended(world.node, old), "the former one ended")
    stop.touch()
    result = world.outside.worker.answer()
    print(result)
    assert set(result) <= {"200 1", "200 2", "200 3"} and result["200 3"] > 50, result


def test_a_limit_that_is_changed_holds_for_a_former_one_as_well(world):
    configure(world, (1, 4))
    hold(world, "a")
    waiting = Asked(world, 1, x_hold="b")
    proxy_has(world, 2)
    old = world.node.proxy_pid()
    upgrade_by_hand(world.node)
    configure(world, (3, 4))
    wait_for(lambda: world.outside.ask(world.server.ipv4)["status"] == 200, "the successor has it")
    wait_for(lambda: active(world) == 2, "and so does the former one, where one waited")
    release(world, "a", "b")
    assert waiting.statuses() == {200: 1}
    wait_for(lambda: ended(world.node, old), "the former one ended")
