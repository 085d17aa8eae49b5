"""The command that serves the page and the HTTP interface."""

from __future__ import annotations

import threading
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from tumortrace.commands.options import ModelOption
from tumortrace.commands.output import choose_model, console, log
from tumortrace.errors import ConfigError, require_extra
from tumortrace.interruption import exit_program


def serve(
    host: Annotated[
        str, typer.Option("--host", metavar="HOST", help="Address to listen on; only this machine by default.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="PORT", min=0, max=65535, help="Port; 0 takes a free one.")
    ] = 8080,
    model: ModelOption = None,
    runs: Annotated[
        Path | None, typer.Option("--runs", metavar="DIR", help="Folder of runs whose curves the page shows.")
    ] = None,
    *,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Serve the web page and the HTTP interface on this machine.

    Nothing that is sent is stored. Anyone who reaches the address can use it: there are no accounts.

    Example: tumortrace serve --open
    """
    require_extra("web", purpose="serve the page")
    from tumortrace.web.engine import Engine
    from tumortrace.web.guard import is_loopback
    from tumortrace.web.server import serve as run_server

    if runs is not None and not runs.is_dir():
        raise ConfigError(f"{runs}: no folder; give the folder that holds your run folders")

    def announce(address: str) -> None:
        console.print(f"tumortrace on {address} (research use only, not a medical device); end it with Ctrl-C")
        if not is_loopback(host):
            log.print(f"{host} is open to the network: whoever reaches it can use it, and scans travel unencrypted")
        if open_page:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()  # it may wait for a browser

    run_server(Engine(choose_model(model)), host=host, port=port, announce=announce, runs=runs)
    exit_program(0)
