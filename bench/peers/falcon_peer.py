"""The greeting as Falcon's own tutorial would write it."""

import os

import falcon

GREETING = os.environ["GREETING"]


class Greeting:
    """The only resource."""

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the greeting."""
        resp.media = {"response": GREETING}


app = falcon.App()
app.add_route("/", Greeting())
