# SPDX-License-Identifier: Apache-2.0
"""nginx: a server and an upstream for each service, tries with the next, a buffered log, its counters. A change is a reload."""

import shutil
from pathlib import Path

from harness import PROXY_CPU, TRAFFIC_CPU, wait_for
from mesh import PORT, SERVICE
from peers.peer import GROUP, Peer

PROGRAM = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin")


def places(directory):
    return "\n".join(f"    {kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))


def upstream(name, endpoints):
    servers = "".join(f" server {address}{f' weight={weight}' if weight else ' down'};" for address, weight in endpoints)
    return f"    upstream {name} {{{servers} keepalive 128; keepalive_requests 1000000000; }}"


class Nginx(Peer):
    name, program = "nginx", PROGRAM

    def server(self, host, action):
        return f"""    server {{
        listen {self.listen}:{PORT};
        server_name {host};
        location / {{ {action} }}
    }}"""

    def text(self, weights):
        upstreams = [upstream("weighted", zip(self.endpoints, weights)), upstream("beta", [(self.endpoints[1], 1)])]
        upstreams += [upstream(host, [(address, 1)]) for host, address in self.others.items()]
        servers = [self.server(SERVICE, "proxy_pass http://$group;"), *(self.server(host, f"proxy_pass http://{host};") for host in self.others)]
        return "\n".join([f"""daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {self.directory}/pid;
error_log {self.directory}/error.log;
events {{ worker_connections 16000; }}
http {{
{places(self.directory)}
    access_log {self.log} combined buffer=64k flush=10s;
    server_tokens off;
    keepalive_timeout 1h;
    keepalive_requests 1000000000;
    server_names_hash_max_size 4096;
    server_names_hash_bucket_size 128;
    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header Connection "";
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Request-Id $request_id;
    proxy_connect_timeout 1s;
    proxy_read_timeout 15s;
    proxy_next_upstream error timeout http_502 http_503 http_504;
    proxy_next_upstream_tries 3;
    map $http_{GROUP.replace('-', '_')} $group {{ default weighted; beta beta; }}
    server {{ listen {self.listen}:9902; location / {{ stub_status; }} }}""", *upstreams, *servers, "}\n"])

    def configure(self, weights):
        (self.directory / "nginx.conf").write_text(self.text(weights))

    def command(self):
        return [self.program, "-c", self.directory / "nginx.conf", "-e", self.directory / "error.log"]

    def pids(self):
        """Its worker's; while it reloads there are more."""
        pid = self.process.pid
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def change(self, weights, tag):
        following = self.directory / "next.conf"
        following.write_text(self.text(weights))
        return f"rename {following} {self.directory / 'nginx.conf'} {tag} 30 {self.process.pid}"


def start_server(node, address, tag, prefix=()):
    """An application: an answer of 0 bytes at once, from one process without a log."""
    directory = node.directory / f"server-{address}"
    directory.mkdir()
    config = directory / "nginx.conf"
    config.write_text(f"""daemon off;
master_process off;
pid {directory}/pid;
error_log {directory}/error.log;
events {{ worker_connections 4096; }}
http {{
{places(directory)}
    access_log off;
    server_tokens off;
    keepalive_timeout 1h;
    keepalive_requests 1000000000;
    server {{
        listen {address}:{PORT};
        location / {{ add_header x-tag {tag}; return 200; }}
    }}
}}
""")
    process = node.start([*prefix, PROGRAM, "-c", config, "-e", directory / "error.log"], TRAFFIC_CPU)
    wait_for(lambda: (directory / "pid").exists() and (directory / "pid").stat().st_size, "a server")
    return process
