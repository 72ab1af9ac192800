"""SkyRL's server of the Tinker API on this machine's CPU, for tests/tinker_run.py: `serve MODEL FOLDER PORT`.

SkyRL itself starts its engine by `uv run`, on Python 3.11 its types need typing_extensions' TypedDict, and before
3.11.4 it can't unpack its own archives."""

from __future__ import annotations

import runpy
import sys
import tarfile
import typing
from typing import Any

import typing_extensions

ENGINE = "skyrl.tinker.engine"


class Archive(tarfile.TarFile):
    """Takes the argument of later versions."""

    def extractall(self, path: Any, *, filter: str = "") -> None:  # type: ignore[override]
        super().extractall(path)


def serve(model: str, folder: str, port: str) -> None:
    import uvicorn
    from skyrl.tinker import api
    from skyrl.tinker.config import EngineConfig, config_to_argv

    def command(_: list[str], config: EngineConfig) -> list[str]:
        return [sys.executable, __file__, ENGINE, *config_to_argv(config)]

    api._build_uv_run_cmd_engine = command
    api.app.state.engine_config = EngineConfig(
        base_model=model, checkpoints_base=f"{folder}/checkpoints", database_url=f"sqlite:///{folder}/tinker.db"
    )
    uvicorn.run(api.app, host="127.0.0.1", port=int(port))


if __name__ == "__main__":
    typing.TypedDict = typing_extensions.TypedDict
    if not hasattr(tarfile, "data_filter"):
        tarfile.open = Archive.open
    if sys.argv[1] == "serve":
        serve(*sys.argv[2:])
    else:
        del sys.argv[0]
        runpy.run_module(ENGINE, run_name="__main__", alter_sys=True)
