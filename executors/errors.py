"""Errors named by what the caller does next."""


class ProviderError(Exception):
    """Something a source of executors said; the subclass is the remedy."""


class SoldOut(ProviderError):
    """No capacity here now: try another offer or pool; come back after the breaker closes."""


class Throttled(ProviderError):
    """The same call will go through later: wait and repeat it with the same token."""


class Refused(ProviderError):
    """A person must look: credentials, quota, a wrong option."""


class Lost(ProviderError):
    """The machine or its answer is gone: count it as dead and replace it."""
