"""What EC2's refusals mean for who asked: come back, ask for something else, or fetch a person.

The codes: "Error codes for the Amazon EC2 API" in Amazon's reference. A quota counts as sold out: it frees itself when
machines go, it is one per family, so that the next type may be inside another, and another pool may serve meanwhile.
"""

from typing import Any

from executors.errors import Lost, ProviderError, Refused, SoldOut, Throttled

SOLD_OUT = {
    "InsufficientInstanceCapacity",
    "InsufficientCapacity",
    "InsufficientHostCapacity",
    "InsufficientCapacityOnHost",
    "InsufficientReservedInstanceCapacity",
    "InsufficientFreeAddressesInSubnet",
    "InsufficientAddressCapacity",
    "InsufficientVolumeCapacity",
    "UnfulfillableCapacity",
    "Unsupported",  # this type is not sold in this zone
}
QUOTAS = {
    "InstanceLimitExceeded",
    "VcpuLimitExceeded",
    "MaxSpotInstanceCountExceeded",
    "VolumeLimitExceeded",
    "MaxIOPSLimitExceeded",
}
THROTTLED = {
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "EC2ThrottledException",
    "TooManyRequestsException",
    "BandwidthLimitExceeded",
    "PriorRequestNotComplete",
    "ConcurrentTagAccess",
    "SlowDown",
    "ServiceUnavailable",
    "Unavailable",
}
UNCERTAIN = {"InternalError", "InternalFailure", "RequestTimeout", "RequestTimeoutException"}
GONE = {"InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed"}
OTHER_WORDS = "IdempotentParameterMismatch"
ENDED_BEFORE = "IdempotentInstanceTerminated"

_CREDENTIALS = "look at the credentials that `farm up` was given: its environment, ~/.aws or `profile`"
_ADVICE = {
    "AuthFailure": _CREDENTIALS,
    "InvalidClientTokenId": _CREDENTIALS,
    "SignatureDoesNotMatch": _CREDENTIALS,
    "ExpiredToken": _CREDENTIALS,
    "RequestExpired": f"the clock of this machine may be wrong, else {_CREDENTIALS}",
    "UnauthorizedOperation": "the policy in docs/ec2.md is what the farm needs",
    "AccessDenied": "the policy in docs/ec2.md is what the farm needs",
    "InvalidAMIID": "look at `image`: it must be one of this region that this account may use",
    "InvalidSubnetID": "look at `subnet`",
    "InvalidGroup": "look at `security_groups`: ids of the subnet's own VPC",
    "InvalidGroupId": "look at `security_groups`: ids of the subnet's own VPC",
    "InvalidKeyPair": "look at `key_name`",
    "VPCIdNotSpecified": "there is no default VPC: name a `subnet`",
    "InvalidParameterValue": "look at `instance_types` and `image`",
}


class Unknown(ProviderError):
    """There is no such instance, or not yet."""


class TokenTaken(ProviderError):
    """This client token has bought before, in other words or a machine that has ended since."""


def remedy(error: Exception) -> ProviderError:
    """A botocore error as what to do next."""
    response = getattr(error, "response", None)
    return _said(response) if isinstance(response, dict) else _unsaid(error)


def _said(response: dict[str, Any]) -> ProviderError:
    """EC2 has answered."""
    code = str(response.get("Error", {}).get("Code", ""))
    text = f"EC2 says {code}: {str(response.get('Error', {}).get('Message', '')).rstrip('. ')}"
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in GONE:
        return Unknown(text)
    if code in (OTHER_WORDS, ENDED_BEFORE):
        return TokenTaken(text)
    if code in SOLD_OUT:
        return SoldOut(text)
    if code in QUOTAS:
        return SoldOut(f"{text}; ask Amazon for a higher quota, or lower the pool's ceiling")
    if code in THROTTLED or status in (429, 503):
        return Throttled(text)
    if code in UNCERTAIN or status >= 500:
        return Lost(text)
    advice = _ADVICE.get(code) or _ADVICE.get(code.partition(".")[0])
    return Refused(f"{text}; {advice}" if advice else text)


def _unsaid(error: Exception) -> ProviderError:
    """No answer came, or nothing was sent. Raises what is no error of botocore's."""
    from botocore.exceptions import BotoCoreError, ConnectionError, HTTPClientError, SSLError
    from botocore.parsers import ResponseParserError

    text = f"EC2 can't be asked: {error}"
    if isinstance(error, HTTPClientError | ResponseParserError):
        return Lost(text)
    if isinstance(error, ConnectionError) and not isinstance(error, SSLError):
        return Throttled(text)  # it was never reached
    if isinstance(error, BotoCoreError):
        return Refused(f"{text.rstrip('.')}; {_CREDENTIALS}" if "Credential" in type(error).__name__ else text)
    raise error
