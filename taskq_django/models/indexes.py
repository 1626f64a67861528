"""Indexes of the hot table."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models.sql.compiler import SQLCompiler

from ..states import State


class Said(models.Value):
    """A status that stands in the statement itself: a plan for any parameter cannot use the index of one status."""

    def __init__(self, status: State) -> None:
        super().__init__(status.value, models.CharField())

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> tuple[str, tuple[str | int, ...]]:
        return f"'{self.value}'", ()


class StatusIndex(models.Index):
    """Of the rows that have this status. Where a database has no partial indexes it is of all rows, by their status.

    A row that changes its status leaves the one index for the other; a full index with the status among its columns
    would be written for every change.
    """

    def __init__(self, *fields: str, status: str, name: str) -> None:
        super().__init__(fields=fields, name=name)
        self.status = status

    def deconstruct(self) -> tuple[str, Any, dict[str, Any]]:
        path, _, named = super().deconstruct()
        fields = named.pop("fields")
        return path, fields, {**named, "status": self.status}

    def create_sql(
        self, model: type[models.Model], schema_editor: BaseDatabaseSchemaEditor, using: str = "", **named: Any
    ) -> Any:
        if schema_editor.connection.features.supports_partial_indexes:
            like = models.Index(fields=self.fields, name=self.name, condition=models.Q(status=self.status))
        else:
            like = models.Index(fields=[self.fields[0], "status", *self.fields[1:]], name=self.name)
        return like.create_sql(model, schema_editor, using, **named)
