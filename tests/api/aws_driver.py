#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Many commands of Debian's aws in one process, which spares its start for each: a line of JSON, the arguments, is answered with one,
{"status", "out", "err"}."""
import contextlib
import io
import json
import sys

import awscli.clidriver

for line in sys.stdin:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = awscli.clidriver.create_clidriver().main(json.loads(line))
    print(json.dumps({"status": status, "out": out.getvalue(), "err": err.getvalue()}), flush=True)
