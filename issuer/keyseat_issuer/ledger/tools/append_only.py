"""Append-only rows: licences and audit events are written once; changing or deleting one is a programming error."""

from collections.abc import Iterable
from typing import Any, NoReturn, TypeVar

from django.db import models

Row = TypeVar("Row", bound=models.Model)


class AppendOnlyError(TypeError):
    """Code tried to change or delete a row that must stay as it was written."""


class AppendOnlyQuerySet(models.QuerySet[Row]):
    """A query set that reads and adds, and refuses to change or delete."""

    def update(self, **_values: Any) -> NoReturn:  # noqa: ANN401 - Django's signature
        """Refuse.

        Raises:
            AppendOnlyError: always.
        """
        raise AppendOnlyError(f"{self.model.__name__} rows are never changed")

    def bulk_update(self, objs: Iterable[Row], fields: Iterable[str], batch_size: int | None = None) -> NoReturn:  # noqa: ARG002 - as above
        """Refuse.

        Raises:
            AppendOnlyError: always.
        """
        raise AppendOnlyError(f"{self.model.__name__} rows are never changed")

    def delete(self) -> NoReturn:
        """Refuse.

        Raises:
            AppendOnlyError: always.
        """
        raise AppendOnlyError(f"{self.model.__name__} rows are never deleted")


class AppendOnlyModel(models.Model):
    """A model whose rows can be added and read only."""

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{type(self).__name__} {self.pk}"

    def save(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - Django's signature
        """Add the row.

        Raises:
            AppendOnlyError: where it has been added before.
        """
        if not self._state.adding:
            raise AppendOnlyError(f"{type(self).__name__} rows are never changed")
        super().save(*arguments, **options | {"force_insert": True})

    def delete(self, *_arguments: Any, **_options: Any) -> NoReturn:  # noqa: ANN401 - as above
        """Refuse.

        Raises:
            AppendOnlyError: always.
        """
        raise AppendOnlyError(f"{type(self).__name__} rows are never deleted")
