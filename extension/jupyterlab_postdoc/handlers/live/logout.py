"""Jupyter's logout ends the tickets of who logs out: it clears a cookie in the browser, and a ticket needs none."""

from __future__ import annotations

from jupyter_server.auth.identity import IdentityProvider
from jupyter_server.base.handlers import JupyterHandler

from jupyterlab_postdoc.handlers.base import user_of

from .tickets import tickets_of


class EndsTickets(JupyterHandler):
    """Goes before the server's own logout handler, which does all the rest."""

    def on_finish(self) -> None:
        """Once it is done, all of the person's tickets end, in every browser: a page whose login still holds gets a
        new one by itself. Who has shown no login ends nobody's.
        """
        super().on_finish()
        if self.get_status() < 400 and self.current_user is not None and self.identity_provider.auth_enabled:
            tickets_of(self.settings).leave(user_of(self).name)


def logout_routes(provider: IdentityProvider) -> list[tuple[str, type]]:
    """``/logout`` as this provider has it, and the tickets' end; none when it has no logout (of Jupyter's kind)."""
    known = provider.logout_handler_class
    if not provider.logout_available or not isinstance(known, type) or not issubclass(known, JupyterHandler):
        return []
    return [("/logout", type(known.__name__, (EndsTickets, known), {}))]
