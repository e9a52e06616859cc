"""What the database itself refuses: unlawful changes of status and rewritten history.

SQLite drops a table's triggers when a migration rebuilds the table; such a migration calls
`install` again.
"""

from __future__ import annotations

from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from incidentops.incidents.models import TRANSITIONS

INCIDENT, TIMELINE = "incidents_incident", "incidents_timelineentry"


def install(schema_editor: BaseDatabaseSchemaEditor) -> None:
    remove(schema_editor)
    for statement in _statements(schema_editor.connection.vendor):
        schema_editor.execute(statement)


def remove(schema_editor: BaseDatabaseSchemaEditor) -> None:
    on_table = schema_editor.connection.vendor == "postgresql"
    for trigger, table in (
        ("incident_transition", INCIDENT),
        ("timeline_update", TIMELINE),
        ("timeline_delete", TIMELINE),
    ):
        where = f" ON {table}" if on_table else ""
        schema_editor.execute(f"DROP TRIGGER IF EXISTS {trigger}{where}")


def _lawful() -> str:
    """The transition table as an SQL condition on OLD and NEW."""
    rows = [
        f"(OLD.status = '{before.value}' AND NEW.status IN "
        f"({', '.join(repr(after.value) for after in sorted(afters))}))"
        for before, afters in TRANSITIONS.items()
    ]
    return " OR ".join(["OLD.status = NEW.status", *rows])


def _statements(vendor: str) -> list[str]:
    if vendor == "sqlite":
        return [
            f"CREATE TRIGGER incident_transition BEFORE UPDATE OF status ON {INCIDENT} "
            f"WHEN NOT ({_lawful()}) "
            "BEGIN SELECT RAISE(ABORT, 'unlawful incident transition'); END",
            *(
                f"CREATE TRIGGER timeline_{verb} BEFORE {verb.upper()} ON {TIMELINE} "
                "BEGIN SELECT RAISE(ABORT, 'the timeline is only ever added to'); END"
                for verb in ("update", "delete")
            ),
        ]
    return [
        # `check_violation` reaches Django as IntegrityError, as SQLite's RAISE(ABORT) does.
        "CREATE OR REPLACE FUNCTION incidents_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ "
        "BEGIN RAISE EXCEPTION '%%', TG_ARGV[0] USING ERRCODE = 'check_violation'; END $$",
        f"CREATE TRIGGER incident_transition BEFORE UPDATE OF status ON {INCIDENT} "
        f"FOR EACH ROW WHEN (NOT ({_lawful()})) "
        "EXECUTE FUNCTION incidents_refuse('unlawful incident transition')",
        *(
            f"CREATE TRIGGER timeline_{verb} BEFORE {verb.upper()} ON {TIMELINE} FOR EACH ROW "
            "EXECUTE FUNCTION incidents_refuse('the timeline is only ever added to')"
            for verb in ("update", "delete")
        ),
    ]
