"""The greeting as Falcon's tutorial for ASGI would write it; apart from the other one, which then imports less."""

import os

import falcon
import falcon.asgi

GREETING = os.environ["GREETING"]


class Greeting:
    """The only resource."""

    async def on_get(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Answer with the greeting."""
        resp.media = {"response": GREETING}


app = falcon.asgi.App()
app.add_route("/", Greeting())
