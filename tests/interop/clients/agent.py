"""An agent on opentelemetry-opamp-client, the OpenTelemetry project's client for Python (plain HTTP only).

    agent.py URL NAME

It takes every configuration but one with "nosuch" in it, which it refuses.  This client reads JSON and no
other configuration, says nothing of health, and its heartbeats are its polls.  Standard output has one JSON
object a line for what happens; standard input takes "stop".  It ends with its standard input.
"""
import json
import sys

from opentelemetry._opamp.agent import OpAMPAgent
from opentelemetry._opamp.callbacks import OpAMPCallbacks
from opentelemetry._opamp.client import OpAMPClient
from opentelemetry._opamp.proto import opamp_pb2 as opamp


def say(**what):
    print(json.dumps(what), flush=True)


class Acting(OpAMPCallbacks):
    def on_connect_failed(self, agent, client, error):
        say(event="no connection", why=str(error))

    def on_error(self, agent, client, error_response):
        say(event="error", why=error_response.error_message)

    def on_message(self, agent, client, message):
        offer = message.remote_config
        if offer is None:
            return
        say(event="offer", hash=offer.config_hash.hex())
        taken = dict(client.decode_remote_config(offer))
        status, why = opamp.RemoteConfigStatuses_APPLIED, ""
        if "nosuch" in json.dumps(taken):
            status, why = opamp.RemoteConfigStatuses_FAILED, "there is nothing of the name nosuch"
        else:
            client.update_effective_config(taken, "application/json")
        if client.update_remote_config_status(offer.config_hash, status, why) is not None:
            agent.send(client.build_full_state_message())


def main():
    url, name = sys.argv[1:]
    client = OpAMPClient(endpoint=url, agent_identifying_attributes={"service.name": name, "service.version": "0.5b0"},
                         agent_non_identifying_attributes={"os.type": "linux"})
    agent = OpAMPAgent(interval=0.5, initial_backoff=0.2, callbacks=Acting(), client=client)
    agent.start()
    # it has no way to be given one: what it made is looked at
    say(event="started", uid=client._instance_uid.hex())  # pylint: disable=protected-access
    for line in sys.stdin:
        if line.strip() == "stop":
            break
    agent.stop()


main()
