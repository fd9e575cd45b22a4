"""The name under which the past stands beside its replays."""

AS_IT_WAS = "as it was"
