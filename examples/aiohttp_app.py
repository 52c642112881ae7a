"""Orders over HTTP with aiohttp: the workflow runs inside the service, for as long as the service does.

python -m examples.aiohttp_app 8080
"""

import os
import sys
from collections.abc import AsyncIterator
from datetime import timedelta

from aiohttp import web

from examples.slow_order import Order, Status, builder
from workflow import RecordNotFound, Workflow, WorkflowInProgress
from workflow_adapters.sqlite import SQLiteBackend

DRAIN = timedelta(seconds=5)
"""How long handlers in flight may take when the service is stopped."""

WF = web.AppKey("wf", Workflow[Order, Status])

routes = web.RouteTableDef()


async def run_workflow(app: web.Application) -> AsyncIterator[None]:
    path = os.environ.get("ORDERS_DB", "orders.db")
    async with SQLiteBackend(path, lease_time=timedelta(seconds=2)) as backend, builder.build(backend).running() as wf:
        app[WF] = wf
        yield
        # aiohttp handles the signals and then comes here. Whoever sent SIGTERM will send SIGKILL after a while (docker
        # after 10 s, Kubernetes after 30 s), so handlers get less than that; the others are cancelled and start again
        # elsewhere.
        await wf.stop(drain=DRAIN)


@routes.post("/orders/{order_id}")
async def place(request: web.Request) -> web.Response:
    order = Order(seconds=float(request.query.get("seconds", "0")))
    try:
        run_id = await request.app[WF].trigger(request.match_info["order_id"], order)
    except WorkflowInProgress as error:
        raise web.HTTPConflict(text=str(error)) from error
    return web.json_response({"run_id": run_id}, status=202)


@routes.get("/orders/{order_id}")
async def show(request: web.Request) -> web.Response:
    try:
        run = await request.app[WF].latest(request.match_info["order_id"])
    except RecordNotFound as error:
        raise web.HTTPNotFound(text=str(error)) from error
    body = {"run_id": run.run_id, "status": run.status.name, "run_state": str(run.run_state), "tries": run.object.tries}
    return web.json_response(body)


def app() -> web.Application:
    application = web.Application()
    application.add_routes(routes)
    application.cleanup_ctx.append(run_workflow)
    return application


if __name__ == "__main__":
    web.run_app(app(), host="127.0.0.1", port=int(sys.argv[1]))
