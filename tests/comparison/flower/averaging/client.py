"""A node whose update is there at once."""

import numpy as np
from flwr.client import NumPyClient
from flwr.client.mod import secaggplus_mod
from flwr.clientapp import ClientApp

EXAMPLES = 100
STEP = np.float32(0.001)


class Node(NumPyClient):
    def fit(self, parameters, config):
        return [tensor + STEP for tensor in parameters], EXAMPLES, {}


def client(_context):
    return Node().to_client()


def secured_if_asked(message, context, call_next):
    if context.run_config["secure"]:
        return secaggplus_mod(message, context, call_next)
    return call_next(message, context)


app = ClientApp(client_fn=client, mods=[secured_if_asked])
