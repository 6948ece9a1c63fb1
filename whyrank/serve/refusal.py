"""Why a request is not answered: a status of HTTP, a sentence, and nothing that is nobody's business outside."""

from dataclasses import dataclass, field

from whyrank.errors import BadInput, BudgetSpent, EngineError, NotFound, WhyrankError

KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    404: "not_found_error",
    413: "request_too_large",
    415: "unsupported_media_type",
    421: "misdirected_request",
    429: "rate_limit_error",
    500: "server_error",
    502: "model_error",
    503: "overloaded_error",
}


@dataclass(eq=False)
class Refused(WhyrankError):
    """A request that is not answered.

    Attributes:
        status: of HTTP. Load is 429 and a dead model 502: clients send three or four tries on these, and up to thirty
            on 500, 503 and 504.
        message: what, where, and how to mend it.
        param: the field that is wrong, where it is one.
        retry_after: seconds after which it may be tried again.
        log: what only the server's log tells.
    """

    status: int
    message: str
    param: str | None = None
    retry_after: int | None = None
    log: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        """Hold the text as every error does, without secrets."""
        super().__init__(self.message)
        self.message = str(self)


def refusal(error: BaseException) -> Refused:
    """What is told of an error: bad input as it is, and of what is ours that it happened."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, BudgetSpent):
        return Refused(402, "the limit that this server was given on cost or tokens is reached", log=str(error))
    if isinstance(error, EngineError):
        return Refused(502, "the model behind this server cannot be used; its log says why", log=str(error))
    if isinstance(error, BadInput):
        return Refused(400, str(error))
    if isinstance(error, NotFound):
        return Refused(404, str(error))
    told = f"{type(error).__name__}: {error}"
    return Refused(500, "a fault of the server's: its log has it under the id of this answer", log=told)


def error_body(error: Refused, id: str, family: str = "") -> dict[str, object]:
    """The body in which every client finds the sentence, whatever it looks for."""
    kind = KINDS.get(error.status, "error")
    if family == "tei":
        return {"error": error.message, "error_type": kind}
    if family == "dify":
        return {"error_code": {401: 1002, 404: 2001}.get(error.status, error.status), "error_msg": error.message}
    inner = {"message": error.message, "type": kind, "param": error.param, "code": error.status}
    return {"id": id, "message": error.message, "detail": error.message, "error": inner}
