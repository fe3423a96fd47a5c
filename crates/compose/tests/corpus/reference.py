"""The resolved form of compose files, by docker-compose 1.29 (Debian's package).

Reads from standard input a JSON list of {"folder", "files", "environment"}, and writes a JSON list
of {"resolved": ...} or {"refused": "why"}. One process does them all, since its start takes half
a second. The command's own `config` is called; only its output is taken aside.
"""

import contextlib
import io
import json
import logging
import os
import sys

import yaml

from compose.cli.command import get_config_from_options
from compose.config import ConfigurationError
from compose.config.serialize import serialize_config


def resolved(case):
    os.chdir(case["folder"])
    os.environ.clear()
    os.environ.update(case["environment"])
    config = get_config_from_options(".", {"--file": case["files"]})
    return yaml.safe_load(serialize_config(config))


def answer(case):
    try:
        return {"resolved": resolved(case)}
    except (ConfigurationError, yaml.YAMLError) as error:
        return {"refused": str(error)}
    except Exception as error:  # It gives up on some files without saying why.
        return {"refused": f"{type(error).__name__}: {error}"}


logging.disable(logging.CRITICAL)
cases = json.load(sys.stdin)
with contextlib.redirect_stdout(io.StringIO()):
    answers = [answer(case) for case in cases]
json.dump(answers, sys.stdout, default=str)
