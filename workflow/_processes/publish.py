"""Publishes the definition of a running workflow in the catalog: others show and steer it without its code."""

import asyncio

from .._declare.info import workflow_info
from .._engine.engine import Engine
from .._engine.error_text import safe_str
from ..errors import BackendNotOpen
from ..options import DEFAULTS

EVERY = 60.0
"""Seconds between publications: a definition that is not published any more is of a release that is gone."""
RETRY = 5.0
"""Seconds before a publication that failed is tried again."""


async def publish(engine: Engine) -> None:
    """Publish until cancelled. A store that is away is no reason to stop: the catalog is for people."""
    options = engine.settings.default_options.over(DEFAULTS)
    info = workflow_info(engine.definition, options, release=engine.release)
    while True:
        try:
            await engine.records.publish(info)
            await asyncio.sleep(EVERY)
        except BackendNotOpen:
            return
        except Exception as error:  # noqa: BLE001 - reported; missing rights on the catalog must not end the workflow
            extra = {"workflow": engine.name}
            engine.logger.warning("the definition could not be published: %s", safe_str(error), extra=extra)
            await asyncio.sleep(RETRY)
