"""Orders over HTTP with FastAPI: the workflow runs inside the service, for as long as the service does.

uvicorn examples.fastapi_app:app
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from fastapi import FastAPI, HTTPException, Request

from examples.slow_order import Order, Status, builder
from workflow import RecordNotFound, Workflow, WorkflowInProgress
from workflow_adapters.sqlite import SQLiteBackend

DRAIN = timedelta(seconds=5)
"""How long handlers in flight may take when the service is stopped."""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    path = os.environ.get("ORDERS_DB", "orders.db")
    async with SQLiteBackend(path, lease_time=timedelta(seconds=2)) as backend, builder.build(backend).running() as wf:
        app.state.wf = wf
        yield
        # uvicorn handles the signals and then comes here. Whoever sent SIGTERM will send SIGKILL after a while (docker
        # after 10 s, Kubernetes after 30 s), so handlers get less than that; the others are cancelled and start again
        # elsewhere.
        await wf.stop(drain=DRAIN)


app = FastAPI(lifespan=lifespan)


def workflow_of(request: Request) -> Workflow[Order, Status]:
    wf: Workflow[Order, Status] = request.app.state.wf
    return wf


@app.post("/orders/{order_id}", status_code=202)
async def place(request: Request, order_id: str, seconds: float = 0.0) -> dict[str, str]:
    try:
        return {"run_id": await workflow_of(request).trigger(order_id, Order(seconds=seconds))}
    except WorkflowInProgress as error:
        raise HTTPException(409, str(error)) from error


@app.get("/orders/{order_id}")
async def show(request: Request, order_id: str) -> dict[str, str | int]:
    try:
        run = await workflow_of(request).latest(order_id)
    except RecordNotFound as error:
        raise HTTPException(404, str(error)) from error
    return {"run_id": run.run_id, "status": run.status.name, "run_state": str(run.run_state), "tries": run.object.tries}
