"""FedAvg, with SecAgg+ or without. Prints how long each round takes, and whether the average is right."""

import time

import numpy as np
from flwr.common import ndarrays_to_parameters, parameters_to_ndarrays
from flwr.server import LegacyContext, ServerConfig
from flwr.server.strategy import FedAvg
from flwr.server.workflow import DefaultWorkflow, SecAggPlusWorkflow
from flwr.server.workflow.default_workflows import default_fit_workflow
from flwr.serverapp import ServerApp

from .client import STEP

app = ServerApp()


class Checked(FedAvg):
    """FedAvg that compares each model with what the nodes must have made of it."""

    def aggregate_fit(self, server_round, results, failures):
        parameters, metrics = super().aggregate_fit(server_round, results, failures)
        error = max(
            float(np.max(np.abs(tensor - server_round * STEP)))
            for tensor in parameters_to_ndarrays(parameters)
        )
        print(f"round {server_round}: off by {error:.1e} at most", flush=True)
        return parameters, metrics


@app.main()
def main(grid, context):
    config = context.run_config
    nodes, secure = int(config["nodes"]), config["secure"]
    average = default_fit_workflow
    if secure:
        # The fewest that can undo one node's loss.
        average = SecAggPlusWorkflow(num_shares=nodes, reconstruction_threshold=nodes - 1)

    def timed(grid, context):
        begun = time.monotonic()
        average(grid, context)
        kind = "SecAgg+" if secure else "plain"
        print(f"{kind}: {time.monotonic() - begun:.2f} s", flush=True)

    strategy = Checked(
        fraction_evaluate=0.0,
        min_fit_clients=nodes,
        min_available_clients=nodes,
        initial_parameters=ndarrays_to_parameters(
            [np.zeros(int(config["parameters"]), np.float32)]
        ),
    )
    server = ServerConfig(num_rounds=int(config["rounds"]))
    legacy = LegacyContext(context=context, config=server, strategy=strategy)
    DefaultWorkflow(fit_workflow=timed)(grid, legacy)
