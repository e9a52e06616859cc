"""Writers of many processes on one SQLite file."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import textwrap

import psutil
import pytest
from django.db import connection

from tests import live

WRITER = textwrap.dedent(
    """
    import sys, threading, time
    from django.conf import settings
    settings.configure(DATABASES={"default": {
        "ENGINE": "incidentops.sqlite", "NAME": sys.argv[1],
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20,
                    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"},
    }})
    import django
    django.setup()
    from django.db import connection, connections, transaction

    class Undo(Exception): ...

    def write():
        for turn in range(50):
            try:
                with transaction.atomic(), connection.cursor() as cursor:
                    cursor.execute("SELECT n FROM counter")
                    (n,) = cursor.fetchone()
                    cursor.execute("UPDATE counter SET n = %s", [n + 1])
                    if turn % 10 == 9:
                        raise Undo
            except Undo:
                connection.close()
        connections.close_all()

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    """
)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="SQLite only")
def test_readers_that_go_on_to_write_lose_no_update_in_any_process(tmp_path):
    path = tmp_path / "counter.sqlite3"
    create = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]);"
        "c.execute('CREATE TABLE counter (n)'); c.execute('INSERT INTO counter VALUES (0)');"
        "c.commit()"
    )
    subprocess.run([sys.executable, "-c", create, str(path)], check=True)
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    for writer in writers:
        _, errors = writer.communicate(timeout=90)
        assert writer.returncode == 0, errors.decode()
        assert not errors, errors.decode()
    count = "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).execute('SELECT n FROM counter').fetchone())"
    counted = subprocess.run(
        [sys.executable, "-c", count, str(path)], check=True, capture_output=True, text=True
    )
    assert int(counted.stdout) == 3 * 4 * 45


OPENER = textwrap.dedent(
    """
    import sys
    from django.conf import settings
    options = {"init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;", "timeout": 20}
    default = {"ENGINE": "incidentops.sqlite", "NAME": sys.argv[1], "OPTIONS": options}
    settings.configure(DATABASES={"default": default})
    import django
    django.setup()
    from django.db import connection
    with connection.cursor() as cursor:
        print(*cursor.execute("PRAGMA journal_mode").fetchone())
    """
)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="SQLite only")
def test_who_opens_a_new_database_waits_for_who_writes_to_it(tmp_path):
    path = tmp_path / "new.sqlite3"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("CREATE TABLE t (n)")
    other.execute("BEGIN IMMEDIATE")
    opener = subprocess.Popen(
        [sys.executable, "-c", OPENER, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def has_tried() -> bool:
        if opener.poll() is not None:
            return True
        return str(path) in {one.path for one in psutil.Process(opener.pid).open_files()}

    live.wait_for(has_tried, within=60)
    other.execute("COMMIT")
    assert opener.communicate(timeout=60) == ("wal\n", "")
    other.close()


KEEPER = textwrap.dedent(
    """
    import os, pathlib, sqlite3, sys
    from django.conf import settings
    path = sys.argv[1]
    settings.configure(DATABASES={"default": {"ENGINE": "incidentops.sqlite", "NAME": path}})
    import django
    django.setup()
    from django.db import connection

    def rows():
        with connection.cursor() as cursor:
            return cursor.execute("SELECT n FROM t ORDER BY n").fetchall()

    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("CREATE TABLE t (n)")
        cursor.executemany("INSERT INTO t VALUES (%s)", [[1], [2]])
    first = connection.connection
    half_read = connection.cursor().execute("SELECT n FROM t")
    half_read.fetchone()
    connection.close()

    # Kept for the next user, who does not see the past that the last one was reading.
    other = sqlite3.connect(path)
    other.execute("INSERT INTO t VALUES (3)")
    other.commit()
    assert rows() == [(1,), (2,), (3,)], rows()
    assert connection.connection is first

    # Not kept in the middle of a transaction.
    connection.set_autocommit(False)
    connection.cursor().execute("INSERT INTO t VALUES (4)")
    connection.close()
    assert rows() == [(1,), (2,), (3,)], rows()
    assert connection.connection is not first
    connection.close()

    # A child has a connection of its own.
    kept = connection.connection
    pid = os.fork()
    if not pid:
        connection.ensure_connection()
        os._exit(0 if len(rows()) == 3 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

    # Another file at the same place is another database.
    other.close()
    for name in pathlib.Path(path).parent.glob("*.sqlite3*"):
        name.unlink()
    sqlite3.connect(path).execute("CREATE TABLE t (n)")
    assert rows() == [], rows()
    print("kept")
    """
)


def test_closed_connections_are_kept_for_the_next_user_and_only_for_one_who_may_have_them(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", KEEPER, str(tmp_path / "kept.sqlite3")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "kept\n"), done.stderr
