from __future__ import annotations

from pathlib import Path

from . import base


class System(base.System):
    """Jobs wait in MariaDB."""

    def drop(self) -> None:
        with self.connection._nodb_cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {self.connection.settings_dict['NAME']}")

    def clear(self) -> None:
        for table in self.tables:
            self.execute(f"DELETE FROM {table}")

    def analyze(self) -> None:
        self.execute(f"ANALYZE TABLE {', '.join(self.tables)}")

    def server_pids(self, own: bool) -> list[int]:
        """One process serves all."""
        return [int(Path(self.execute("SELECT @@pid_file")[0]).read_text())]

    def server_version(self) -> str:
        return f"MariaDB {self.execute('SELECT version()')[0].partition('-')[0]}"
