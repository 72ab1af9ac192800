"""`rlsp serve-reward`: a recipe's reward over HTTP, for any trainer."""

from __future__ import annotations

import importlib.util
import os
import secrets
import signal
from pathlib import Path
from typing import Annotated

import typer

from rlsp.cli.options import DeadlineOption, RecipeArgument, SetOption, TrustOption, judging
from rlsp.cli.progress import console
from rlsp.cli.terminal import say
from rlsp.config import Recipe, load
from rlsp.config.exploration import is_loopback
from rlsp.errors import InputError
from rlsp.files import read_records
from rlsp.types import Problem
from rlsp.verifiers.settings import STRICT

TOKEN = "RLSP_REWARD_TOKEN"
SHORTEST = 16
GRACE_SECONDS = 30
BACKLOG = 2048


def serve_reward(
    recipe: RecipeArgument,
    settings: SetOption = None,
    problems: Annotated[
        Path | None, typer.Option(help="JSONL of the problems, for trainers that send no labels.")
    ] = None,
    host: Annotated[str, typer.Option(help="Where to listen; beyond this machine only if you say so.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8100,
    queued: Annotated[int, typer.Option(min=1, help="So many responses may wait; more are told to come again.")] = 8192,
    seconds: Annotated[float, typer.Option(min=0.1, help="For one request.")] = 120.0,
    deadline: DeadlineOption = STRICT.deadline_seconds,
    trust: TrustOption = False,
) -> None:
    """Serve the recipe's reward until Ctrl-C. The token that requests must carry is read from RLSP_REWARD_TOKEN; on a
    terminal one is made where there is none."""
    if importlib.util.find_spec("uvicorn") is None or importlib.util.find_spec("prometheus_client") is None:
        raise InputError("serve-reward needs starlette, uvicorn and prometheus-client: pip install 'rlsp[serve]'")
    chosen = load(Recipe, recipe, settings or [])
    if chosen.reward.schedule.kind == "accuracy":
        raise InputError("reward.schedule 'accuracy' follows rlsp's own held-out probe: use linear or cosine")
    token = _token(host)
    import uvicorn

    from rlsp.integrations.scorer import Scorer
    from rlsp.integrations.server import Limits, RewardServer
    from rlsp.integrations.texts import Texts
    from rlsp.models import load_tokenizer

    known = read_records(problems, Problem) if problems else ()
    texts = Texts(chosen, load_tokenizer(chosen.model.path), known)
    server = RewardServer(
        Scorer(chosen, judging(deadline=deadline, trusted_code=trust)), texts, token, Limits(queued, seconds)
    )
    config = uvicorn.Config(
        server.app, host, port, log_level="warning", access_log=False, timeout_graceful_shutdown=GRACE_SECONDS
    )
    listening = config.bind_socket()
    listening.listen(BACKLOG)  # whoever reads the address may connect at once
    say(f"reward of {chosen.name}: http://{host}:{listening.getsockname()[1]}/get_reward")
    for asked in (signal.SIGINT, signal.SIGTERM):  # uvicorn takes them, and raises them again once it has ended
        signal.signal(asked, lambda *_: None)
    uvicorn.Server(config).run(sockets=[listening])
    say("the reward server has ended")


def _token(host: str) -> str:
    given = os.environ.get(TOKEN, "").strip()
    if given:
        if len(given) < SHORTEST or not (given.isascii() and given.isprintable()):
            raise InputError(f"{TOKEN} has to be at least {SHORTEST} printable ASCII characters: make a longer one")
        return given
    if not is_loopback(host) or not console.is_terminal:
        raise InputError(
            f"set {TOKEN}, the token that requests must carry: beyond a terminal on this machine none is made"
        )
    made = secrets.token_urlsafe(16)
    say(f"token: {made}")
    return made
