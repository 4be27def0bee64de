"""nginx (Debian) as a forward to one upstream, with the credential in its configuration."""

import shutil
from typing import Final

from bench.ground import Place
from bench.peers.subject import Credentials, Owes, Program, Subject

MISSING: Final = "" if shutil.which("nginx") else "nginx is not installed: apt-get install nginx"

CONFIGURATION: Final = """
daemon off;
worker_processes 1;
error_log stderr error;
pid FOLDER/nginx.pid;
events { worker_connections 4096; }
http {
  access_log off;
  keepalive_timeout 600s;
  keepalive_requests 1000000000;
  client_max_body_size 0;
  client_body_temp_path FOLDER/body;
  proxy_temp_path FOLDER/proxy;
  fastcgi_temp_path FOLDER/fastcgi;
  uwsgi_temp_path FOLDER/uwsgi;
  scgi_temp_path FOLDER/scgi;
  upstream there { server ADDRESS:443; keepalive 256; keepalive_requests 1000000000; keepalive_timeout 600s; }
  server {
    listen 127.0.0.1:PORT ssl backlog=4096;
    server_name HOST;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_certificate CHAIN;
    ssl_certificate_key KEY;
    location / {
      proxy_pass https://there;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host HOST;
      proxy_set_header Authorization "Bearer TOKEN";
      proxy_ssl_verify on;
      proxy_ssl_trusted_certificate AUTHORITY;
      proxy_ssl_server_name on;
      proxy_ssl_name HOST;
      proxy_ssl_protocols TLSv1.2 TLSv1.3;
      # Bodies stream both ways, and no disk is touched.
      proxy_request_buffering off;
      proxy_max_temp_file_size 0;
    }
  }
}
"""


def program(place: Place, credentials: Credentials) -> Program:
    words = {
        "FOLDER": str(place.folder), "ADDRESS": place.address, "PORT": str(place.port), "HOST": place.host,
        "CHAIN": str(place.certificate.chain), "KEY": str(place.certificate.key),
        "AUTHORITY": str(place.authority), "TOKEN": credentials.token,
    }  # fmt: skip
    text = CONFIGURATION
    for word, value in words.items():
        text = text.replace(word, value)
    file = place.folder / "nginx.conf"
    file.write_text(text)
    file.chmod(0o644)
    return Program(["nginx", "-e", "stderr", "-c", str(file)])


SUBJECTS: Final = (Subject("nginx", "nginx", Owes.BEARER, program, MISSING),)
