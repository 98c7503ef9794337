#!/bin/sh
# Hands the file to whoever stands in for the database; `LABWRIGHT_PORT` is where that listens.
exec ../../../target/debug/examples/stand_in load "$LABWRIGHT_PORT" settings.redis
