"""The greeting as a plain FastAPI handler, and as one that runs in the event loop."""

import os

from fastapi import FastAPI

GREETING = os.environ["GREETING"]

app = FastAPI()
app_async = FastAPI()


@app.get("/")
def greet() -> dict[str, str]:
    """Answer with the greeting, from FastAPI's pool of threads."""
    return {"response": GREETING}


@app_async.get("/")
async def greet_async() -> dict[str, str]:
    """Answer with the greeting, from the event loop."""
    return {"response": GREETING}
