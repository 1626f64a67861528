"""Which store this is, for an engine that must carry the jobs of one store only; and when its beats were last seen."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from .moments import MomentField


class StoreIdentity(models.Model):
    """One row, which `migrate` makes: no transaction of a user can take it back after an engine has heard of it."""

    id = models.SmallIntegerField(primary_key=True, default=1, editable=False)
    uuid = models.UUIDField(_("UUID"))
    beat_seen_at = MomentField(_("beat seen at"), null=True, editable=False)  # of any beat; None: there was none yet

    class Meta:
        verbose_name = _("identity of the store")
        verbose_name_plural = _("identity of the store")
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.uuid}"
