"""Migration steps that build indexes without blocking writers: the tables can have millions of rows.

A migration with such steps is not atomic. A run that was stopped can be repeated: each step does what is left.
"""

from typing import Any

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState


class AddIndexMeanwhile(migrations.AddIndex):
    """Add an index while others go on writing (PostgreSQL; a SQLite file is locked for as long)."""

    atomic = False

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Make the index anew: a run that was stopped may have left half of it."""
        _drop(schema_editor, self.index.name)
        if schema_editor.connection.vendor != "postgresql":
            super().database_forwards(app_label, schema_editor, from_state, to_state)
            return
        model = to_state.apps.get_model(app_label, self.model_name)
        schema_editor.execute(self.index.create_sql(model, schema_editor, concurrently=True), params=None)


class RemoveIndexMeanwhile(migrations.RemoveIndex):
    """Remove an index by its name, where it is still there."""

    atomic = False

    def database_forwards(
        self, _app_label: str, schema_editor: BaseDatabaseSchemaEditor, _from: ProjectState, _to: ProjectState
    ) -> None:
        """Remove it."""
        _drop(schema_editor, str(self.name))


class DropCoveredIndex(Operation):
    """Drop the plain index that Django made over one column by itself, since another index serves as well.

    ``field``: what the models say of the column from now on, where that changes.
    """

    atomic = False
    reversible = True

    def __init__(self, model_name: str, name: str, field: "models.Field[Any, Any] | None" = None) -> None:
        self.model_name = model_name
        self.name = name
        self.field = field

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Take up the field."""
        if self.field is not None:
            state.alter_field(app_label, self.model_name.lower(), self.name, self.field, preserve_default=True)

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, _from: ProjectState, to_state: ProjectState
    ) -> None:
        """Find the index by its column, and drop it."""
        meta = to_state.apps.get_model(app_label, self.model_name)._meta  # noqa: SLF001 - Django's Model._meta API
        column = meta.get_field(self.name).column
        connection = schema_editor.connection
        with connection.cursor() as cursor:
            found = connection.introspection.get_constraints(cursor, meta.db_table)
        for name, told in found.items():
            plain = told["index"] and not (told["unique"] or told["primary_key"] or told["foreign_key"])
            if plain and told["columns"] == [column]:
                _drop(schema_editor, name)

    def database_backwards(self, *_arguments: object) -> None:
        """Leave it dropped: nothing needs it."""

    def describe(self) -> str:
        """Return what the step does."""
        return f"Drop the index that others cover on {self.name} of {self.model_name}"


def _drop(schema_editor: BaseDatabaseSchemaEditor, name: str) -> None:
    meanwhile = "CONCURRENTLY " if schema_editor.connection.vendor == "postgresql" else ""
    schema_editor.execute(f"DROP INDEX {meanwhile}IF EXISTS {schema_editor.quote_name(name)}")
