"""What the subjects forward to: nginx over TLS, with small answers, large files, and room for uploads."""

import json
from pathlib import Path
from typing import Final

from tests.upstream_authority import UpstreamCertificate

BUCKET: Final = "bench"
JSON_BYTES: Final = 1024

CONFIGURATION: Final = """
daemon off;
user root;
worker_processes 1;
error_log stderr error;
pid FOLDER/nginx.pid;
events { worker_connections 4096; }
http {
  log_format seen escape=json '{"method":"$request_method","target":"$request_uri","host":"$http_host",'
    '"authorization":"$http_authorization","x-amz-date":"$http_x_amz_date",'
    '"x-amz-content-sha256":"$http_x_amz_content_sha256",'
    '"accept-encoding":"$http_accept_encoding","content-length":"$http_content_length",'
    '"x-request-id":"$http_x_request_id","cipher":"$ssl_cipher"}';
  access_log off;
  sendfile on;
  # As fast as it can: the subjects keep their connections.
  keepalive_timeout 600s;
  keepalive_requests 1000000000;
  client_max_body_size 0;
  client_body_buffer_size 1m;
  client_body_temp_path BODIES;
  proxy_temp_path FOLDER/proxy;
  fastcgi_temp_path FOLDER/fastcgi;
  uwsgi_temp_path FOLDER/uwsgi;
  scgi_temp_path FOLDER/scgi;
  server {
    listen 443 ssl backlog=4096;
    ssl_certificate CHAIN;
    ssl_certificate_key KEY;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:tls:10m;
    default_type application/octet-stream;
    location /BUCKET/small { default_type application/json; return 200 'SMALL'; }
    location /BUCKET/check {
      default_type application/json;
      access_log FOLDER/seen seen;
      return 200 '{}';
    }
    location /BUCKET/object- { root FOLDER/files; }
    # The body is read to its end (into memory) before the next server, which says 200, is asked without it.
    location /BUCKET/sink { proxy_pass http://127.0.0.1:81; proxy_pass_request_body off;
      proxy_set_header Content-Length ""; }
  }
  server { listen 127.0.0.1:81; location / { return 200; } }
}
"""


def configuration(folder: Path, certificate: UpstreamCertificate) -> str:
    filling = json.dumps({"object": "chat.completion", "text": ""})
    small = json.dumps({"object": "chat.completion", "text": "x" * (JSON_BYTES - len(filling))})
    words = {
        "FOLDER": str(folder),
        "BODIES": str(folder / "bodies"),
        "BUCKET": BUCKET,
        "SMALL": small,
        "CHAIN": str(certificate.chain),
        "KEY": str(certificate.key),
    }
    text = CONFIGURATION
    for word, value in words.items():
        text = text.replace(word, value)
    return text
