from __future__ import annotations

import subprocess

from incidentops import embedded, instance


def test_the_server_keeps_its_data_in_a_directory_of_any_name(tmp_path):
    directory = tmp_path / 'my "own" \\ things'
    port, password = embedded.free_port(), embedded.new_password()
    command = embedded.server_command(directory, port=port, password=password)
    server = subprocess.Popen(command)
    try:
        instance.wait_for_redis(embedded.server_url(port=port, password=password))
        assert (directory / "appendonlydir").is_dir()
    finally:
        server.terminate()
        server.wait()
