"""The greeting as FastAPI's own tutorial would write it."""

import os

from fastapi import FastAPI

app = FastAPI()
GREETING = os.environ["GREETING"]


@app.get("/")
async def greet() -> dict[str, str]:
    """Answer with the greeting."""
    return {"response": GREETING}
