"""The SSH keys of the current user, through the broker or the API.

Invariant: on the bastion the broker changes them, for the user whom the kernel names; elsewhere it takes rights on
DevServerUsers, which administrators have.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from devctl import broker_client
from devctl.output import console
from devctl.output.errors import from_api
from devctl.resources.people import user_ssh_keys, users_api
from devctl.resources.people.user_ssh_keys import Key, expiry_warnings
from devservers_core.client.paths import user_path
from devservers_core.errors import REFUSED, ApiError, CommandError
from devservers_core.protocol.broker import KeysRequest

if TYPE_CHECKING:
    from devctl.context import Context


def own_keys(context: Context) -> list[Key]:
    """List the current user's keys. Raises CommandError."""
    if context.broker:
        _refuse_other_users(context)
        return user_ssh_keys.list_keys(broker_client.send_request(context.broker, KeysRequest()).spec)
    return user_ssh_keys.list_keys(_user(context).get("spec") or {})


def change_own_keys(context: Context, request: dict[str, Any]) -> None:
    """Add or remove a key of the current user; see users_api.change_keys.

    Raises CommandError.
    """
    if context.broker:
        _refuse_other_users(context)
        broker_client.send_request(context.broker, KeysRequest(request))
        return
    try:
        users_api.change_keys(context.kube, context.user, request)
    except ApiError as error:
        raise _explain(error, context) from None
    except user_ssh_keys.LastKeyError as failure:
        failure.remedy = f"`devctl user suspend {context.user}` takes all of them out of force"
        raise


def print_expiry_warnings(context: Context) -> None:
    """On the bastion, print which keys end soon on stderr; a failure is ignored."""
    if not context.broker:
        return
    try:
        print_lines(
            expiry_warnings(
                user_ssh_keys.list_keys(broker_client.send_request(context.broker, KeysRequest()).spec),
                datetime.now(UTC),
            )
        )
    except (CommandError, LookupError, TypeError):
        return


def print_lines(lines: list[str]) -> None:
    """Print messages without control characters on stderr."""
    for line in lines:
        console.info(console.printable(line))


def _refuse_other_users(context: Context) -> None:
    """Raise CommandError for `--user OTHER`: the broker changes the caller's own keys only."""
    user, account = context.flags.get("user"), context.environ.get("DEVCTL_USER")
    if user and user != account:
        raise CommandError(
            f"the bastion shows and changes your own keys only, not those of {user[:80]!r}",
            "an administrator does that with credentials of their own: `devctl keys ... --user NAME`",
            REFUSED,
        )


def _user(context: Context) -> dict[str, Any]:
    try:
        return context.kube.get(user_path(context.user))
    except ApiError as error:
        raise _explain(error, context) from None


def _explain(error: ApiError, context: Context) -> CommandError:
    failure = from_api(error, f"change the keys of {context.user}")
    if error.status == 403:
        failure.remedy = "your own keys are changed on the bastion: `ssh USER@BASTION devctl keys ...`"
    return failure
