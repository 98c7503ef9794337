#!/bin/sh
# Runs once for each fresh book, when it is open; it finds the port in LABWRIGHT_PORT.
exec curl --silent --show-error --fail --output /dev/null \
  --data-urlencode "name=the lab" --data-urlencode "text=be the first to write" "http://127.0.0.1:$LABWRIGHT_PORT/"
