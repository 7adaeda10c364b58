# Drives the Python SDK: one command a line, one answer a line.
import json
import sys

from featureflags.client import CfClient
from featureflags.config import with_base_url, with_events_url
from featureflags.evaluations.auth_target import Target

url, key = sys.argv[1:3]
client = CfClient(key, with_base_url(url), with_events_url(url))
client.wait_for_initialization()
target = Target(identifier="james", name="james", attributes={"email": "james@x.io", "age": 30})


def answer(words):
    if words[0] == "ready":
        return client.is_initialized()
    if words[0] == "bool":
        return client.bool_variation(words[1], target, words[2] == "true")
    if words[0] == "string":
        return client.string_variation(words[1], target, "default")
    if words[0] == "number":
        return client.number_variation(words[1], target, -1)
    if words[0] == "json":
        return client.json_variation(words[1], target, {})
    if words[0] == "close":
        client.close()
        return "closed"
    raise ValueError(words)


for line in sys.stdin:
    print(json.dumps(answer(line.split())), flush=True)
