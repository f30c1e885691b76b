"""What can go wrong, as one small family. Each error says what happened, to what, and what to do.

Docker's, git's and model servers' own exceptions are turned into these once, at the edge where they enter
(`sandbox/engine.py`, `models/openai.py`, ...); everything above sees only this family. `except Exception`
appears at two places only, the boundaries of an attempt (`run/attempt.py`) and of a grade (`run/grading.py`).
"""


class ForagerError(Exception):
    """Base of every error a user can meet. `str(error)` is one clear line."""

    exit_code = 1


class UsageError(ForagerError):
    """The command, a flag, or a file the user gave is wrong; doing it again will not help."""

    exit_code = 2


class UnfitError(ForagerError):
    """The environment is not fit (no engine, no rights, no disk) or a fault would hit every attempt
    (401, 404, no API key): the run stops with this line and stays resumable."""

    exit_code = 3


class InfrastructureError(ForagerError):
    """Something under an attempt broke through no fault of the agent: retried, never scored."""


class ModelError(InfrastructureError):
    """The model server failed one request for good (its retries are used up, or it refused it)."""


class PromptRefused(ModelError):
    """The server refused this one prompt (its content filter, a request it cannot take); another may do."""


class SandboxError(InfrastructureError):
    """The container or the engine failed: died, killed from outside, connection lost."""

    def __init__(self, message: str, engine_status: int | None = None) -> None:
        super().__init__(message)
        self.engine_status = engine_status
        """The HTTP status the engine answered with, if it answered."""


class ContextOverflow(ForagerError):
    """The prompt does not fit the model's context window (the server said so)."""


class CapExceeded(ForagerError):
    """The agent broke its own container (its limits, or the harness's shell in it) so that it cannot go on."""

    def __init__(self, what: str, detail: str) -> None:
        super().__init__(detail)
        self.what = what
        """`memory`, `disk` or `control`."""


class BuildError(ForagerError):
    """An image could not be built. `log` holds the build's output."""

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log


class ForageError(ForagerError):
    """A repository did not become tasks: no tests, failing suite, unknown package ..."""
