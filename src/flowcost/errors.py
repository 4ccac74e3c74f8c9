"""Errors are for the operator; trouble in data is a finding.

Every error names the thing, the place, and the way out. Exit codes: 0 ok, 1 findings over a
threshold, 2 usage or configuration, 3 environment.
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_FINDINGS = 1
EXIT_USAGE = 2
EXIT_ENVIRONMENT = 3


class FlowcostError(Exception):
    """Something the operator must change before Flowcost can go on.

    Attributes:
        code: stable kebab-case name, one line each in `docs/reference/errors.md`.
        message: what is wrong and where (file, row, field).
        hint: the way out.
        exit_code: process exit code when the error reaches the command line.
    """

    exit_code = EXIT_USAGE
    code = "error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class UsageError(FlowcostError):
    """A command was called with arguments that cannot be taken."""

    code = "usage"


class ConfigError(FlowcostError):
    """The configuration cannot be taken; every fault is listed with its place."""

    code = "config"


class FilterError(FlowcostError):
    """A filter expression cannot be read; `position` is the offending column, from 0."""

    code = "filter"

    def __init__(self, message: str, *, position: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.position = position


class SourceError(FlowcostError):
    """A file of flows cannot be read as what it claims to be (file, row and field are named)."""

    code = "source"


class InventoryError(FlowcostError):
    """An inventory file is malformed."""

    code = "inventory"


class RateError(FlowcostError):
    """A rate book is malformed: a gap, an overlap, an unknown meter, a bad price."""

    code = "rate-book"


class LedgerError(FlowcostError):
    """The ledger cannot be written or read as it stands; nothing was changed."""

    code = "ledger"


class BillError(FlowcostError):
    """A bill cannot be read as what it claims to be."""

    code = "bill"


class NotSupportedError(FlowcostError):
    """This machine lacks a feature (a kernel, a capability, a library extra)."""

    code = "not-supported"
    exit_code = EXIT_ENVIRONMENT


class NotPermittedError(FlowcostError):
    """The operating system or the cloud refused; the missing permission is named."""

    code = "not-permitted"
    exit_code = EXIT_ENVIRONMENT


class UnreachableError(FlowcostError):
    """A server that was asked does not answer, or answers with an error."""

    code = "unreachable"
    exit_code = EXIT_ENVIRONMENT


class SegmentError(FlowcostError):
    """A posted body is no segment, or not one that its sender may post."""

    code = "segment"


class LabError(FlowcostError):
    """A program inside a pod of the lab failed; its own words are in the message."""

    code = "lab"
    exit_code = EXIT_ENVIRONMENT


class UnauthenticatedError(FlowcostError):
    """A request does not say who asks, or what it says does not hold."""

    code = "unauthenticated"


class ForbiddenError(FlowcostError):
    """Who asks is known, and may not do this."""

    code = "forbidden"


class NotFoundError(FlowcostError):
    """There is nothing at this address, or nothing that the asker may see."""

    code = "not-found"


class RequestError(FlowcostError):
    """A request's parameters or body cannot be taken; each one is named.

    Attributes:
        parameters: parameter or body field -> what is wrong with it.
    """

    code = "request"

    def __init__(self, parameters: dict[str, str], *, hint: str = "") -> None:
        super().__init__("; ".join(f"{k}: {v}" for k, v in parameters.items()), hint=hint)
        self.parameters = parameters


class TooLargeError(FlowcostError):
    """A request's body is larger than the server takes."""

    code = "too-large"


class BusyError(FlowcostError):
    """The server has as much work as it can hold; ask again after `retry_after_s` seconds."""

    code = "busy"
    exit_code = EXIT_ENVIRONMENT

    def __init__(self, message: str, *, retry_after_s: int = 5, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class TooManyError(BusyError):
    """One asker has as much under way as one may have; ask again after `retry_after_s` seconds."""

    code = "too-many"


class InternalError(FlowcostError):
    """The server failed at something that is its own fault; its log says at what."""

    code = "internal"
    exit_code = EXIT_ENVIRONMENT
